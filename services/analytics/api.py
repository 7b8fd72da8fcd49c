"""The HTTP interface of analytics: routes over the queries."""

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import FastAPI, Query

from services.analytics.answers import MEASURED, AggregatePage, Top
from services.analytics.measures.catalogue import MEASURES
from services.analytics.parameters import Bucket, By, Measure, period
from services.analytics.queries import AnalyticsQueries
from shared.access.app import guarded_app
from shared.access.guard import Access, CursorsOf, TenantOf
from shared.access.lineage import GROUPED, KEY, DerivedFrom
from shared.contracts.events import Currency
from shared.contracts.spelling import nfc
from shared.http.caller import ANALYTICS_READ
from shared.http.costs import Cost, costs
from shared.http.purposes import SUMS
from shared.http.scopes import needs
from shared.http.server import problems
from shared.measures.computing import Compute
from shared.measures.http import add_measures

DESCRIPTION = """\
Exact aggregates of the relations between consumers and providers: an amendment, a retraction or a late event
changes the hours and days that it belongs to.

Money is in minor units (cents) by currency, ratings are a count and a sum. Days and hours are in UTC, by the time
of the relation. Empty buckets are left out.

A field that the credential may not see is shown as `•••`, whatever its type. The member `masked` of the answer
names it.
"""

From = Annotated[
    str | None,
    DerivedFrom("time", "day"),
    Query(
        alias="from",
        description="Start of the period, inclusive: a day (`2026-11-21`, from its midnight in UTC) or a time"
        " with its offset (RFC 3339: `2026-11-21T07:00:00Z`). Default: the first relation.",
    ),
]
To = Annotated[
    str | None,
    DerivedFrom("time", "day"),
    Query(description="End of the period, exclusive, in the form of `from`. Default: the last relation."),
]
Limit = Annotated[int, Query(ge=1, le=1000, description="Maximum number of items.")]

_FAILURES = problems(
    {
        400: "A parameter cannot be used; detail contains its name and the reason.",
        422: "A parameter is missing or malformed; detail names it.",
        503: "MongoDB is unavailable or too slow. Retry after the seconds in Retry-After.",
    }
)


def create_app(
    queries: AnalyticsQueries,
    ready: Callable[[], Sequence[str]],
    measures: Compute | None = None,
    *,
    access: Access,
) -> FastAPI:
    """Analytics as an ASGI application. ``ready`` returns the reasons why it cannot work now. ``measures``
    computes measures; without it there are none. ``access`` decides on each request."""
    app = guarded_app("Kith analytics", DESCRIPTION, access, ready)

    @app.get(
        "/v1/aggregates",
        tags=["analytics"],
        summary="Relations by hour or day: counts, money, ratings.",
        responses=_FAILURES,
    )
    @needs(ANALYTICS_READ, purpose=SUMS)
    def get_aggregates(
        tenant: TenantOf,
        cursors: CursorsOf,
        by: Annotated[By, GROUPED, Query(description="The dimension of the sums.")] = "total",
        key: Annotated[
            str | None,
            KEY,
            Query(
                description="One kind, provider_id, consumer_id, or `provider_id:kind` for provider_kind."
                " Default: all of them. The total has none."
            ),
        ] = None,
        bucket: Annotated[Bucket, Query(description="The size of a time bucket.")] = "day",
        from_: From = None,
        to: To = None,
        limit: Limit = 100,
        cursor: Annotated[
            str | None,
            DerivedFrom("time"),
            KEY,
            Query(
                description="`next` of the page before, with the other parameters unchanged. Default: page one."
            ),
        ] = None,
    ) -> AggregatePage:
        """Every whole bucket that the period touches, ordered by bucket, then by key."""
        place = cursors.decode(cursor)
        found = queries.aggregates(
            tenant, by, None if key is None else nfc(key), bucket, period(from_, to), limit, place
        )
        return AggregatePage(items=found.items, next=cursors.encode(found.next))

    @app.get(
        "/v1/top",
        tags=["analytics"],
        summary="The top kinds, providers or consumers of a period.",
        responses=_FAILURES,
    )
    @needs(ANALYTICS_READ, purpose=SUMS)
    @costs(Cost.QUERY)
    def get_top(
        tenant: TenantOf,
        by: Annotated[By, GROUPED, Query(description="What to rank.")] = "provider",
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
            Query(description="For the measure `amount`: the currency, if several occur in the period."),
        ] = None,
        from_: From = None,
        to: To = None,
        limit: Limit = 100,
    ) -> Top:
        """Over every whole day that the period touches. Equal values are ordered by key, equal mean ratings by the
        number of ratings first. Keys without the measure are left out."""
        return queries.top(tenant, by, measure, currency, period(from_, to), limit)

    if measures is not None:
        add_measures(app, MEASURES, measures, ANALYTICS_READ)

    return app
