"""The route of relations."""

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query

from services.relations import answers
from services.relations.consent import consenting
from services.relations.parameters import FAILURES, Cursor, Limit, Purpose
from services.relations.queries import Queries
from services.relations.redaction import Redactor
from shared.access.guard import AccessOf, CallerOf, CursorsOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.contracts.events import Kind
from shared.http.caller import RELATIONS_READ
from shared.http.paths import QueryId
from shared.http.purposes import GRANTED
from shared.http.scopes import needs
from shared.http.server import json_response, problems
from shared.vault.fields import PERSONAL_OF_RELATION


def add_relations(app: FastAPI, queries: Queries, presented: Redactor) -> None:
    @app.get(
        "/v1/relations",
        response_model=answers.RelationPage,
        responses=FAILURES
        | problems(
            {400: "The query contains neither consumer_id nor provider_id, or the cursor of another query."}
        ),
    )
    @needs(RELATIONS_READ, purpose=GRANTED)
    def relations(
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        cursors: CursorsOf,
        consumer_id: Annotated[QueryId | None, DerivedFrom("consumer_id"), Query()] = None,
        provider_id: Annotated[QueryId | None, DerivedFrom("provider_id"), Query()] = None,
        kind: Annotated[Kind | None, DerivedFrom("kind"), Query()] = None,
        limit: Limit = 100,
        cursor: Annotated[Cursor, DerivedFrom("time", "consumer_id", "relation_id")] = None,
        purpose: Purpose = None,
    ) -> Any:
        """The relations of a consumer, of a provider or between both, latest first, without retracted ones."""
        if consumer_id is None and provider_id is None:
            raise HTTPException(400, "the query needs consumer_id, provider_id or both")
        after = cursors.decode(cursor)
        page = queries.relations(tenant, consumer_id, provider_id, kind, limit, after, caller.purpose)
        page = {**page, "next": cursors.encode(page["next"])}
        page = consenting(queries, tenant, page, caller, purpose)
        shown, fields = presented(page, PERSONAL_OF_RELATION, caller)
        asked = {"consumer_id": consumer_id, "provider_id": provider_id, "kind": kind}
        access.reading(caller, {name: value for name, value in asked.items() if value is not None}, fields)
        return json_response(shown)
