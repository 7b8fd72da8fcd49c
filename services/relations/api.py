"""The query API of the relations service: routes over queries."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path, Query

from services.relations import answers
from services.relations.measures.catalogue import MEASURES
from services.relations.naming import add_names
from services.relations.queries import Queries
from services.relations.redaction import redactor
from services.relations.strength import Strength
from shared.access.app import guarded_app
from shared.access.guard import Access, AccessOf, CallerOf, CursorsOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.access.masks import hides
from shared.contracts.events import Kind, Name
from shared.http.caller import CONSUMERS_READ, PERSONAL_READ, RELATIONS_READ, Caller
from shared.http.costs import Cost, costs
from shared.http.paths import PathId, QueryId
from shared.http.problems.client import HIDDEN_FIELD, NOT_ENCRYPTED, PURPOSE_NOT_GRANTED
from shared.http.purposes import GRANTED, GRANTED_ITSELF, IMPERSONAL
from shared.http.scopes import Scoped, needs
from shared.http.server import Refusal, json_response, problems
from shared.measures.computing import Compute
from shared.measures.http import add_measures
from shared.runtime.protocols import Document
from shared.vault.fields import PERSONAL_OF_CONSUMER, PERSONAL_OF_RELATION
from shared.vault.keys import Vault

DESCRIPTION = """\
Consumers, providers, the relations between them and how strong they are.

A field that the credential may not see is shown as `•••`, whatever its type. The member `masked` of the answer
names it.
"""
Limit = Annotated[int, Query(ge=1, le=1000, description="Maximum number of items of a page.")]
Cursor = Annotated[str | None, Query(max_length=3000, description="The value of `next` of the previous page.")]
Purpose = Annotated[
    Name | None,
    DerivedFrom("consent"),
    Scoped(CONSUMERS_READ),
    Query(
        description="Only consumers who have granted this purpose. A page then lacks the others and may be "
        "empty; `left_out` is true if it lacks any. Needs `consumers:read`."
    ),
]
ConsumerId = Annotated[PathId, DerivedFrom("consumer_id"), Path()]
ProviderId = Annotated[PathId, DerivedFrom("provider_id"), Path()]
FAILURES = problems(
    {
        422: "A parameter is missing or malformed; detail names it.",
        503: "MongoDB is unavailable. Retry after the seconds in Retry-After.",
    }
)
NOT_GRANTED = problems({403: "The credential lacks a scope, or the consumer has not granted the purpose."})
NOT_FOUND = FAILURES | problems({404: "No profile or fact has this id."})


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

    def check(tenant: str, consumer_id: str, purpose: str | None) -> None:
        page = {"items": [{"consumer_id": consumer_id}]}
        if queries.consenting(tenant, page, purpose).get("left_out"):
            raise Refusal(PURPOSE_NOT_GRANTED, f"the consumer has not granted the purpose {purpose}")

    def profile(collection: str, tenant: str, id: str) -> Document:
        if (found := queries.profile(collection, tenant, id)) is None:
            raise unknown(collection)
        return found

    def unknown(collection: str) -> HTTPException:
        return HTTPException(404, f"no {collection[:-1]} is known under this id")

    def not_left_out(tenant: str, page: Document, caller: Caller, purpose: str | None) -> Document:
        # For a credential that is bound to the purpose, the page was read without the others: nobody is missing.
        return page if caller.purpose is not None else queries.consenting(tenant, page, purpose)

    @app.get("/v1/consumers/{consumer_id}", response_model=answers.Consumer, responses=NOT_FOUND | NOT_GRANTED)
    @needs(CONSUMERS_READ, purpose=GRANTED)
    @costs(Cost.DOCUMENT)
    def consumer(
        consumer_id: ConsumerId,
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        purpose: Purpose = None,
    ) -> Any:
        """The profile of a consumer."""
        found = profile("consumers", tenant, consumer_id)
        if not queries.granted(tenant, consumer_id, caller.purpose):
            raise unknown("consumers")
        check(tenant, consumer_id, purpose)
        shown, fields = presented(found, PERSONAL_OF_CONSUMER, caller)
        access.reading(caller, {"consumer_id": consumer_id}, fields)
        return json_response(shown)

    @app.get(
        "/v1/consumers",
        response_model=answers.ConsumerList,
        responses=FAILURES
        | problems(
            {
                400: "The query contains neither or both of email and phone.",
                403: "The credential lacks one of the scopes `personal:read` and `consumers:read`, or the field "
                "is hidden from it.",
                409: "Nothing is encrypted here (KITH_ENCRYPTION=off), so there is no index to search.",
            }
        ),
    )
    @needs(PERSONAL_READ, CONSUMERS_READ, purpose=GRANTED)
    def consumers(
        tenant: TenantOf,
        caller: CallerOf,
        access: AccessOf,
        email: Annotated[str | None, Query(max_length=1000, description="Case-insensitive.")] = None,
        phone: Annotated[
            str | None, Query(max_length=1000, description="Only digits and a leading + (or 00) count.")
        ] = None,
        limit: Limit = 100,
        purpose: Purpose = None,
    ) -> Any:
        """The consumers who have this e-mail address or phone number, by id. Needs `consumers:read`, too."""
        if (email is None) == (phone is None):
            raise HTTPException(400, "the query needs exactly one of email and phone")
        if vault is None:
            raise Refusal(NOT_ENCRYPTED, "nothing is encrypted here (KITH_ENCRYPTION=off), so there is no index")
        field, value = ("email", email) if email is not None else ("phone", phone)
        if hides(caller.masks, f"personal.{field}"):
            raise Refusal(HIDDEN_FIELD, f"{field} is hidden from this credential, and the answer would reveal it")
        word = vault.blind(tenant, field, value or "")
        found = queries.consumers(tenant, field, word, limit, caller.purpose)
        found = not_left_out(tenant, found, caller, purpose)
        shown, fields = presented(found, PERSONAL_OF_CONSUMER, caller)
        # Recorded for an empty answer, too: that no consumer (or none who consented) has an address is
        # information.
        access.reading(caller, {"searched_by": field}, fields or [f"personal.{field}"])
        return json_response(shown)

    @app.get("/v1/providers/{provider_id}", response_model=answers.Provider, responses=NOT_FOUND)
    @needs(RELATIONS_READ, purpose=IMPERSONAL)
    @costs(Cost.DOCUMENT)
    def provider(provider_id: ProviderId, tenant: TenantOf) -> Any:
        """The profile of a provider."""
        return json_response(profile("providers", tenant, provider_id))

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
        page = not_left_out(tenant, page, caller, purpose)
        shown, fields = presented(page, PERSONAL_OF_RELATION, caller)
        asked = {"consumer_id": consumer_id, "provider_id": provider_id, "kind": kind}
        access.reading(caller, {name: value for name, value in asked.items() if value is not None}, fields)
        return json_response(shown)

    @app.get(
        "/v1/relationships",
        response_model=answers.RelationshipPage,
        responses=FAILURES
        | problems(
            {
                400: "The query contains neither or both of consumer_id and provider_id, or the "
                "cursor of another query."
            }
        ),
    )
    @needs(RELATIONS_READ, purpose=GRANTED)
    def relationships(
        tenant: TenantOf,
        caller: CallerOf,
        cursors: CursorsOf,
        consumer_id: Annotated[QueryId | None, DerivedFrom("consumer_id"), Query()] = None,
        provider_id: Annotated[QueryId | None, DerivedFrom("provider_id"), Query()] = None,
        limit: Limit = 100,
        cursor: Annotated[Cursor, DerivedFrom("strength", "consumer_id", "provider_id")] = None,
        purpose: Purpose = None,
    ) -> Any:
        """The relationships of a consumer or of a provider, strongest first.

        Each page is read when it is requested. A relationship that becomes stronger between two requests can move
        to a page that was already read, and is then missed; one that becomes weaker can appear twice. To read all
        of them as of one moment, export them, or page through the OData feed."""
        if (consumer_id is None) == (provider_id is None):
            raise HTTPException(400, "the query needs exactly one of consumer_id and provider_id")
        side, id = ("consumer_id", consumer_id) if consumer_id is not None else ("provider_id", provider_id)
        assert id is not None
        after = cursors.decode(cursor)
        page = queries.relationships(tenant, side, id, limit, after, clock(), caller.purpose)
        page = {**page, "next": cursors.encode(page["next"])}
        return json_response(not_left_out(tenant, page, caller, purpose))

    @app.get(
        "/v1/relationships/{consumer_id}/{provider_id}",
        response_model=answers.Relationship,
        responses=FAILURES | problems({404: "The consumer and the provider have no relations."}),
    )
    @needs(RELATIONS_READ, purpose=GRANTED_ITSELF)
    @costs(Cost.DOCUMENT)
    def relationship(
        tenant: TenantOf,
        caller: CallerOf,
        consumer_id: ConsumerId,
        provider_id: ProviderId,
        half_life_months: Annotated[
            float | None,
            DerivedFrom("strength"),
            Query(ge=0.01, le=1200, description="Half-life to use instead of the configured one."),
        ] = None,
    ) -> Any:
        """One relationship: its sums, its strength now, each kind's share, and the relations that weigh most."""
        other = None if half_life_months is None else Strength(strength.weights, half_life_months)
        known = queries.granted(tenant, consumer_id, caller.purpose)
        found = queries.relationship(tenant, consumer_id, provider_id, clock(), other) if known else None
        if found is None:
            raise HTTPException(404, "there are no relations between this consumer and this provider")
        return json_response(found)

    @app.get(
        "/v1/relationships/{consumer_id}/{provider_id}/cells",
        response_model=answers.CellPage,
        responses=FAILURES
        | problems({400: "The cursor of another query.", 404: "The consumer and the provider have no relations."}),
    )
    @needs(RELATIONS_READ, purpose=GRANTED_ITSELF)
    def cells(
        tenant: TenantOf,
        caller: CallerOf,
        cursors: CursorsOf,
        consumer_id: ConsumerId,
        provider_id: ProviderId,
        limit: Limit = 100,
        cursor: Annotated[Cursor, DerivedFrom("kind", "time")] = None,
    ) -> Any:
        """The sums of one relationship by kind and month, however many there are.

        Each page is read when it is requested."""
        after = cursors.decode(cursor)
        known = queries.granted(tenant, consumer_id, caller.purpose)
        page = queries.cells(tenant, consumer_id, provider_id, limit, after) if known else None
        if page is None:
            raise HTTPException(404, "there are no relations between this consumer and this provider")
        return json_response({**page, "next": cursors.encode(page["next"])})

    add_names(app, queries, presented)
    if measures is not None:
        add_measures(app, MEASURES, measures, RELATIONS_READ)
    return app
