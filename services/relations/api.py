"""The query API of the relations service: routes over queries."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Path, Query

from services.relations import answers
from services.relations.measures.catalogue import MEASURES
from services.relations.measures.source import Source
from services.relations.queries import BadCursor, Queries
from services.relations.strength import Strength
from shared.events import Id, Kind, Tenant
from shared.http import add_health, add_problem_handlers, json_response, problems
from shared.measures.http import add_measures
from shared.paths import EncodedSlashes, PathId

TenantHeader = Annotated[Tenant, Header(alias="Kith-Tenant", description="Whose data to read.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most items of a page.")]
Cursor = Annotated[str | None, Query(max_length=3000, description="`next` of the page before.")]
FAILURES = problems(
    {
        422: "A parameter is missing or not of its form; detail says which.",
        503: "MongoDB is away; try again after Retry-After seconds.",
    }
)
NOT_FOUND = FAILURES | problems({404: "Nothing is known under this id."})


def create_app(
    queries: Queries,
    strength: Strength,
    ready: Callable[[], Sequence[str]],
    clock: Callable[[], datetime],
    measures: Callable[[str], Source] | None = None,
) -> FastAPI:
    """The app. ``ready`` gives the reasons why the service cannot do its work; ``clock`` says what "now" is;
    ``measures`` opens what the measures of a tenant are read from, and without it there are none."""
    app = FastAPI(
        title="Kith relations",
        version="1",
        description="Consumers, providers, the relations between them and how strong they are.",
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(EncodedSlashes)
    add_problem_handlers(app)
    add_health(app, ready)

    def profile(collection: str, tenant: str, id: str) -> Any:
        if (found := queries.profile(collection, tenant, id)) is None:
            raise HTTPException(404, f"nothing is known of this {collection[:-1]}")
        return json_response(found)

    @app.get("/v1/consumers/{consumer_id}", response_model=answers.Consumer, responses=NOT_FOUND)
    def consumer(consumer_id: Annotated[PathId, Path()], tenant: TenantHeader = "default") -> Any:
        """What is known of a consumer."""
        return profile("consumers", tenant, consumer_id)

    @app.get("/v1/providers/{provider_id}", response_model=answers.Provider, responses=NOT_FOUND)
    def provider(provider_id: Annotated[PathId, Path()], tenant: TenantHeader = "default") -> Any:
        """What is known of a provider."""
        return profile("providers", tenant, provider_id)

    @app.get(
        "/v1/relations",
        response_model=answers.RelationPage,
        responses=FAILURES | problems({400: "Neither consumer_id nor provider_id, or a foreign cursor."}),
    )
    def relations(
        consumer_id: Annotated[Id | None, Query()] = None,
        provider_id: Annotated[Id | None, Query()] = None,
        kind: Annotated[Kind | None, Query()] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
        tenant: TenantHeader = "default",
    ) -> Any:
        """The relations of a consumer, of a provider or between both, latest first, without retracted ones."""
        if consumer_id is None and provider_id is None:
            raise HTTPException(400, "say whose: consumer_id, provider_id or both")
        with_cursor = _cursor_checked(queries.relations)
        return json_response(with_cursor(tenant, consumer_id, provider_id, kind, limit, cursor))

    @app.get(
        "/v1/relationships",
        response_model=answers.RelationshipPage,
        responses=FAILURES
        | problems({400: "Not exactly one of consumer_id and provider_id, or a foreign cursor."}),
    )
    def relationships(
        consumer_id: Annotated[Id | None, Query()] = None,
        provider_id: Annotated[Id | None, Query()] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
        tenant: TenantHeader = "default",
    ) -> Any:
        """The relationships of a consumer or of a provider, strongest first."""
        if (consumer_id is None) == (provider_id is None):
            raise HTTPException(400, "say whose: either consumer_id or provider_id")
        side, id = ("consumer_id", consumer_id) if consumer_id is not None else ("provider_id", provider_id)
        assert id is not None
        with_cursor = _cursor_checked(queries.relationships)
        return json_response(with_cursor(tenant, side, id, limit, cursor, clock()))

    @app.get(
        "/v1/relationships/{consumer_id}/{provider_id}",
        response_model=answers.Relationship,
        responses=FAILURES | problems({404: "There is nothing between the two."}),
    )
    def relationship(
        consumer_id: Annotated[PathId, Path()],
        provider_id: Annotated[PathId, Path()],
        half_life_months: Annotated[
            float | None, Query(ge=0.01, le=1200, description="Instead of the configured half-life.")
        ] = None,
        tenant: TenantHeader = "default",
    ) -> Any:
        """One relationship: its sums, how strong it is now, each kind's share, and what weighs most."""
        other = None if half_life_months is None else Strength(strength.weights, half_life_months)
        found = queries.relationship(tenant, consumer_id, provider_id, clock(), other)
        if found is None:
            raise HTTPException(404, "there is nothing between these two")
        return json_response(found)

    if measures is not None:
        add_measures(app, MEASURES, measures)
    return app


def _cursor_checked(query: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*arguments: Any) -> Any:
        try:
            return query(*arguments)
        except BadCursor:
            raise HTTPException(400, "cursor: is not one that this list gave as next") from None

    return checked
