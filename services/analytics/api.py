"""The HTTP interface of analytics: routes over the queries."""

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response

from services.analytics.answers import MEASURED, AggregatePage, Top
from services.analytics.measures.catalogue import MEASURES
from services.analytics.measures.source import Source
from services.analytics.parameters import Bucket, By, Measure, period
from services.analytics.queries import AnalyticsQueries
from shared.access.app import guarded_app
from shared.access.guard import Access, TenantOf
from shared.access.lineage import KEY, DerivedFrom
from shared.contracts.events import Currency
from shared.contracts.spelling import nfc
from shared.http.caller import ANALYTICS_READ
from shared.http.parameters import BadParameter
from shared.http.scopes import needs
from shared.http.server import problem, problems
from shared.measures.http import add_measures

DESCRIPTION = """\
Aggregates of the relations between consumers and providers, kept exact: an amendment, a retraction or a late
event moves the very hours and days that it belongs to.

Money is in minor units (cents) by currency, ratings are a count and a sum, days and hours are in UTC by the
time that a relation happened. A bucket in which nothing happened is left out.

What a credential may not see is shown as `•••`, whatever its type, and named by the member `masked` of the answer.
"""

From = Annotated[
    str | None,
    DerivedFrom("time", "day"),
    Query(
        alias="from",
        description="Begin of the period, inclusive: a day (`2026-11-21`, from its midnight in UTC) or a time"
        " with its offset (RFC 3339: `2026-11-21T07:00:00Z`). Left out: from the first relation on.",
    ),
]
To = Annotated[
    str | None,
    DerivedFrom("time", "day"),
    Query(description="End of the period, exclusive, written as `from` is. Left out: to the last relation."),
]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many items at most.")]

_FAILURES = problems(
    {
        400: "A parameter cannot be used; detail says which and why.",
        422: "A parameter is missing or not of its form; detail says which.",
        503: "MongoDB is unavailable or too slow. Retry after the seconds in Retry-After.",
    }
)


def create_app(
    queries: AnalyticsQueries,
    ready: Callable[[], Sequence[str]],
    measures: Callable[[str], Source] | None = None,
    *,
    access: Access,
) -> FastAPI:
    """Analytics as an ASGI application. ``ready`` gives the reasons why it cannot do its work now; ``measures``
    opens what the measures of a tenant are read from, and without it there are none; ``access`` decides who may
    ask."""
    app = guarded_app("Kith analytics", DESCRIPTION, access, ready)

    @app.get(
        "/v1/aggregates",
        tags=["analytics"],
        summary="What happened, hour by hour or day by day.",
        responses=_FAILURES,
    )
    @needs(ANALYTICS_READ)
    def get_aggregates(
        tenant: TenantOf,
        by: Annotated[By, Query(description="What to count apart.")] = "total",
        key: Annotated[
            str | None,
            KEY,
            Query(
                description="One kind, provider_id, consumer_id, or `provider_id:kind` for provider_kind."
                " Left out: all of them. The total has none."
            ),
        ] = None,
        bucket: Annotated[Bucket, Query(description="The size of a bucket of time.")] = "day",
        from_: From = None,
        to: To = None,
        limit: Limit = 100,
        cursor: Annotated[
            str | None,
            Query(description="`next` of the page before, with all else the same. Left out: page one."),
        ] = None,
    ) -> AggregatePage:
        """Whole buckets: each one that the period touches, ordered by bucket, then by key."""
        return queries.aggregates(tenant, by, nfc(key) if key else None, bucket, period(from_, to), limit, cursor)

    @app.get(
        "/v1/top",
        tags=["analytics"],
        summary="Who or what comes first in a period.",
        responses=_FAILURES,
    )
    @needs(ANALYTICS_READ)
    def get_top(
        tenant: TenantOf,
        by: Annotated[By, Query(description="What to rank.")] = "provider",
        measure: Annotated[
            Measure,
            MEASURED,
            Query(
                description="`count`: relations; `amount`: money in one currency; `rating`: the mean rating;"
                " `consumers`: distinct consumers of the whole period, for providers only."
            ),
        ] = "count",
        currency: Annotated[
            Currency | None,
            DerivedFrom("currency"),
            Query(description="For the measure `amount`: which one, when several occur in the period."),
        ] = None,
        from_: From = None,
        to: To = None,
        limit: Limit = 100,
    ) -> Top:
        """Over whole days: each one that the period touches. Equal values come by key, equal mean ratings by
        the number of ratings first. What has nothing of the measure is left out."""
        return queries.top(tenant, by, measure, currency, period(from_, to), limit)

    if measures is not None:
        add_measures(app, MEASURES, measures, ANALYTICS_READ)

    @app.exception_handler(BadParameter)
    async def bad_parameter(_: Request, error: BadParameter) -> Response:
        return problem(400, str(error), errors=[{"field": error.name, "detail": error.detail}])

    return app
