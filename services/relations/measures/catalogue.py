"""The measures of relations, their parameters, and how each is computed from a source."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from services.relations.measures.distribution import RatingDistribution, distribution
from services.relations.measures.facts import Orders
from services.relations.measures.geography import Geography, Level, Side, geography
from services.relations.measures.lifetime import Lifetime, LifetimeOrder, LifetimeRequest
from services.relations.measures.repeat import Repeat, repeat
from services.relations.measures.revenue import Revenue, revenue
from services.relations.measures.rfm import Rfm, RfmConsumers, Scored, Segment, rfm, rfm_consumers, scored
from shared.access.lineage import DerivedBy, DerivedFrom
from shared.http.caller import CONSUMERS_READ, PERSONAL_READ
from shared.measures.activity import LOOK_BACK, Activity, activity
from shared.measures.answer import stated
from shared.measures.cohorts import Cohorts, cohorts
from shared.measures.days import Span, Unit
from shared.measures.lifecycle import Lifecycle, lifecycle
from shared.measures.query import (
    BucketQuery,
    FilterQuery,
    Limit,
    MoneyQuery,
    NotInstalled,
    OfCurrency,
    OfRating,
    ScaleQuery,
    bucketed,
    listed,
)
from shared.measures.spec import Measure, measure
from shared.runtime.protocols import Document

if TYPE_CHECKING:
    from services.relations.measures.source import Source


#: The fields that groups of places and an order of customers reveal.
LEVEL = DerivedBy(
    "level",
    {
        "country": ("location.country",),
        "region": ("location.country", "location.region"),
        "city": ("location.country", "location.region", "location.city"),
    },
)
LISTED = DerivedBy("by", {"value": ("amount",), "risk": ()})


class ActivityQuery(FilterQuery):
    days: ClassVar[int | None] = 30


class BucketedQuery(BucketQuery, FilterQuery):
    pass


class RfmQuery(MoneyQuery):
    days: ClassVar[int | None] = 365


class RfmConsumersQuery(RfmQuery):
    segment: Segment | None = Field(None, description="Only consumers of this class.")
    limit: Limit = 100


class RepeatQuery(FilterQuery):
    currency: OfCurrency = Field(
        None, description="Only orders in this currency. Default: orders in any currency."
    )


class RevenueQuery(FilterQuery):
    days: ClassVar[int | None] = 365

    unit: Unit = Field("month", description="Size of a bucket. Weeks begin on Monday.")
    currency: OfCurrency = Field(None, description="Only this currency. Default: each currency separately.")


class DistributionQuery(ScaleQuery, FilterQuery):
    positive_from: OfRating = Field(
        None, description="Lowest good rating. Default: the uppermost quarter of the scale."
    )


class GeographyQuery(FilterQuery):
    side: Annotated[Side, DerivedFrom()] = Field(
        "consumer",
        description="Group by the location of consumers or of providers. Consumers need `consumers:read`, and"
        " their cities `personal:read`.",
    )
    level: Annotated[Level, LEVEL] = Field("region", description="Granularity of the locations.")
    limit: Limit = 100


class LifetimeQuery(MoneyQuery):
    """`from` leaves out consumers whose first order is earlier."""

    horizon_weeks: int = Field(52, ge=1, le=520, description="Length of the horizon in weeks.")
    discount: float = Field(0, ge=0, le=1, description="Yearly discount rate of later money: 0.1 is 10 %.")
    by: Annotated[LifetimeOrder, LISTED] = Field(
        "value", description="Order of the list: by expected value or by churn risk."
    )
    risk_from: float = Field(0, ge=0, le=1, description="List only repeaters with at least this churn risk.")
    risk_to: float = Field(1, ge=0, le=1, description="List only repeaters with at most this churn risk.")
    limit: Limit = 100


def _activity(source: "Source", query: ActivityQuery) -> Activity:
    span = listed(query.span(source.today, query.days))
    return stated(activity(source.visits(query, Span(span.first - LOOK_BACK, span.end)), span), span)


def _lifecycle(source: "Source", query: BucketedQuery) -> Lifecycle:
    span = bucketed(query, query.unit, source.today)
    return stated(lifecycle(source.visits(query, Span(0, span.end)), span, query.unit, source.today), span)


def _cohorts(source: "Source", query: BucketedQuery) -> Cohorts:
    span = bucketed(query, query.unit, source.today, square=True)
    return stated(cohorts(source.visits(query, Span(0, span.end)), span, query.unit, source.today), span)


def _orders(source: "Source", query: MoneyQuery, span: Span) -> tuple[Orders, dict[str, int]]:
    """The relations that are orders. Unless the request names a currency, also the orders by currency; the first
    counts."""
    of_kind = query.kind is not None
    if query.currency is not None:
        return Orders(query.currency, of_kind), {}
    found = source.currencies(query, span)
    return Orders(next(iter(found), None), of_kind), found


def _scored(source: "Source", query: RfmQuery) -> tuple[Scored, Span, dict[str, int]]:
    span = query.span(source.today, query.days)
    orders, found = _orders(source, query, span)
    # Facts without money are orders only if the request filters by their kind.
    wanted: Document = {"amount": {"$exists": True}} if query.kind is None else {}
    return scored(source.pieces(query, span, wanted), orders, span.end), span, found


def _rfm(source: "Source", query: RfmQuery) -> Rfm:
    all, span, found = _scored(source, query)
    return stated(rfm(all), span, found)


def _rfm_consumers(source: "Source", query: RfmConsumersQuery) -> RfmConsumers:
    all, span, found = _scored(source, query)
    return stated(rfm_consumers(all, query.segment, query.limit), span, found)


def _repeat(source: "Source", query: RepeatQuery) -> Repeat:
    span = query.span(source.today, query.days)
    orders = Orders(query.currency, query.kind is not None, mixed=True)
    return stated(repeat(source.histories(query, span), orders), span)


def _revenue(source: "Source", query: RevenueQuery) -> Revenue:
    span = listed(query.span(source.today, query.days))
    return stated(revenue(source.takings(query, span, query.currency), query.unit), span)


def _distribution(source: "Source", query: DistributionQuery) -> RatingDistribution:
    span = query.span(source.today, query.days)
    scale = source.scale(query.lowest, query.highest)
    return stated(distribution(source.rating_counts(query, span), scale, query.positive_from), span)


def _geography(source: "Source", query: GeographyQuery) -> Geography:
    span = query.span(source.today, query.days)
    pieces = source.pieces(query, span)
    return stated(geography(pieces, source.atlas(query.side, query.level), query.side, query.limit), span)


def _personal_places(query: GeographyQuery) -> tuple[str, ...]:
    # The center of a region with a single consumer reveals where this consumer lives.
    return ("city", "lat", "lon") if query.side == "consumer" else ()


def _scopes_of_places(query: GeographyQuery) -> tuple[str, ...]:
    """Where consumers live is in their profiles, and their city is personal: grouping by it reveals who shares
    one."""
    if query.side != "consumer":
        return ()
    return (CONSUMERS_READ, PERSONAL_READ) if query.level == "city" else (CONSUMERS_READ,)


def _lifetime(source: "Source", query: LifetimeQuery) -> Lifetime:
    try:
        # numpy and scipy are heavy, and only this measure needs them.
        from services.relations.measures.valuing import lifetime
    except ImportError:
        raise NotInstalled("lifetime values need numpy and scipy: install Kith's extra measures") from None
    span = query.span(source.today, query.days)
    request = LifetimeRequest(
        query.horizon_weeks, query.discount, query.by, query.risk_from, query.risk_to, query.limit
    )
    orders, found = _orders(source, query, span)
    if orders.currency is None:
        # No order of the period has money, but the histories before it may have several currencies.
        orders, found = _orders(source, query, Span(0, span.end))
    return stated(lifetime(source.histories(query, Span(0, span.end)), orders, span, request), span, found)


MEASURES: "tuple[Measure[Source], ...]" = (
    measure("activity", ActivityQuery, Activity, _activity),
    measure("lifecycle", BucketedQuery, Lifecycle, _lifecycle),
    measure("cohorts", BucketedQuery, Cohorts, _cohorts),
    measure("rfm", RfmQuery, Rfm, _rfm),
    measure("rfm-consumers", RfmConsumersQuery, RfmConsumers, _rfm_consumers),
    measure("repeat", RepeatQuery, Repeat, _repeat),
    measure("revenue", RevenueQuery, Revenue, _revenue),
    measure("rating-distribution", DistributionQuery, RatingDistribution, _distribution),
    measure("geography", GeographyQuery, Geography, _geography, _personal_places, _scopes_of_places),
    measure("lifetime", LifetimeQuery, Lifetime, _lifetime),
)
