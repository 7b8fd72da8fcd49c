"""Routes of relationships: pages of them, and one with its sums."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query

from services.relations import answers
from services.relations.consent import consenting
from services.relations.parameters import FAILURES, ConsumerId, Cursor, Limit, ProviderId, Purpose
from services.relations.queries import Queries
from services.relations.strength import Strength
from shared.access.guard import CallerOf, CursorsOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.http.caller import RELATIONS_READ
from shared.http.costs import Cost, costs
from shared.http.paths import QueryId
from shared.http.purposes import GRANTED, GRANTED_ITSELF
from shared.http.scopes import needs
from shared.http.server import json_response, problems


def add_relationships(app: FastAPI, queries: Queries, strength: Strength, clock: Callable[[], datetime]) -> None:
    """Add the routes of relationships. ``clock`` returns the present time."""

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
        cursor: Annotated[Cursor, DerivedFrom("strength", "score", "consumer_id", "provider_id")] = None,
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
        return json_response(consenting(queries, tenant, page, caller, purpose))

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
