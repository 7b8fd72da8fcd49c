"""The query API of the relations service: routes over queries."""

from collections.abc import Callable, Sequence
from datetime import datetime

from fastapi import FastAPI

from services.relations.measures.catalogue import MEASURES
from services.relations.naming import add_names
from services.relations.profile_routes import add_consumers, add_providers
from services.relations.queries import Queries
from services.relations.redaction import redactor
from services.relations.relation_routes import add_relations
from services.relations.relationship_routes import add_relationships
from services.relations.strength import Strength
from shared.access.app import guarded_app
from shared.access.guard import Access
from shared.http.caller import RELATIONS_READ
from shared.measures.computing import Compute
from shared.measures.http import add_measures
from shared.vault.keys import Vault

DESCRIPTION = """\
Consumers, providers, the relations between them and how strong they are.

A field that the credential may not see is shown as `•••`, whatever its type. The member `masked` of the answer
names it.
"""


def create_app(
    queries: Queries,
    strength: Strength,
    ready: Callable[[], Sequence[str]],
    clock: Callable[[], datetime],
    measures: Compute | None = None,
    *,
    access: Access,
    vault: Vault | None = None,
) -> FastAPI:
    """The app. ``ready`` returns the reasons why the service cannot work, ``clock`` the present time. ``measures``
    computes measures; without it there are none. ``access`` decides on each request.
    ``vault`` decrypts sealed values."""
    presented = redactor(vault)
    app = guarded_app("Kith relations", DESCRIPTION, access, ready, ids_in_paths=True)

    add_consumers(app, queries, presented, vault)
    add_providers(app, queries)
    add_relations(app, queries, presented)
    add_relationships(app, queries, strength, clock)
    add_names(app, queries, presented)
    if measures is not None:
        add_measures(app, MEASURES, measures, RELATIONS_READ)
    return app
