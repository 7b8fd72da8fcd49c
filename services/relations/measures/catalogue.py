"""The measures of relations, their parameters, and how each is put together from a source."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from services.relations.measures.distribution import RatingDistribution, distribution
from services.relations.measures.facts import Orders
from services.relations.measures.geography import Geography, Level, Side, geography
from services.relations.measures.lifetime import Lifetime, LifetimeOrder, LifetimeRequest
from services.relations.measures.repeat import Repeat, repeat
from services.relations.measures.revenue import Revenue, revenue
from services.relations.measures.rfm import Rfm, RfmConsumers, Scored, Segment, rfm, rfm_consumers, scored
from shared.access.lineage import DerivedBy, DerivedFrom
from shared.contracts.events import Rating
from shared.measures.activity import LOOK_BACK, Activity, activity
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
    bucketed,
    listed,
)
from shared.measures.spec import Measure, measure
from shared.runtime.protocols import Document

if TYPE_CHECKING:
    from services.relations.measures.source import Source


#: What groups of places reveal, and an order of customers.
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
    """By default the last 30 days."""


class BucketedQuery(FilterQuery, BucketQuery):
    """By default the last 12 weeks or months, or 30 days."""


class RfmQuery(MoneyQuery):
    """By default the last 365 days."""


class RfmConsumersQuery(RfmQuery):
    segment: Segment | None = Field(None, description="Only this class.")
    limit: Limit = 100


class RepeatQuery(FilterQuery):
    """By default all time."""

    currency: OfCurrency = Field(None, description="Only orders in this one. Left out: in any.")


class RevenueQuery(FilterQuery):
    """By default the last 365 days."""

    unit: Unit = Field("month", description="The size of a bucket; weeks begin on Monday.")
    currency: OfCurrency = Field(None, description="Only this one. Left out: each apart.")


class DistributionQuery(FilterQuery):
    """By default all time."""

    positive_from: Annotated[Rating, DerivedFrom("rating")] = Field(
        4, description="A rating of at least this is good."
    )


class GeographyQuery(FilterQuery):
    """By default all time."""

    side: Annotated[Side, DerivedFrom()] = Field(
        "consumer", description="By the place of consumers, or of providers."
    )
    level: Annotated[Level, LEVEL] = Field("region", description="How finely places are told apart.")
    limit: Limit = 100


class LifetimeQuery(MoneyQuery):
    """By default all time; `from` leaves out consumers whose first order is earlier."""

    horizon_weeks: int = Field(52, ge=1, le=520, description="How far to look ahead.")
    discount: float = Field(
        0, ge=0, le=1, description="Yearly rate by which later money counts less: 0.1 is 10 %."
    )
    by: Annotated[LifetimeOrder, LISTED] = Field(
        "value", description="What orders the list: expected value, or churn risk."
    )
    risk_from: float = Field(0, ge=0, le=1, description="List only repeaters with at least this churn risk.")
    risk_to: float = Field(1, ge=0, le=1, description="List only repeaters with at most this churn risk.")
    limit: Limit = 100


def _activity(source: "Source", query: ActivityQuery) -> Activity:
    span = listed(query.span(source.today, 30))
    return activity(source.visits(query, Span(span.first - LOOK_BACK, span.end)), span)


def _lifecycle(source: "Source", query: BucketedQuery) -> Lifecycle:
    span = bucketed(query, query.unit, source.today)
    return lifecycle(source.visits(query, Span(0, span.end)), span, query.unit, source.today)


def _cohorts(source: "Source", query: BucketedQuery) -> Cohorts:
    span = bucketed(query, query.unit, source.today, square=True)
    return cohorts(source.visits(query, Span(0, span.end)), span, query.unit, source.today)


def _orders(query: MoneyQuery) -> Orders:
    return Orders(query.currency, query.kind is not None)


def _scored(source: "Source", query: RfmQuery) -> Scored:
    span = query.span(source.today, 365)
    wanted: Document = {}
    # Facts without money are orders only where they are of a kind that is asked for.
    if query.kind is None:
        wanted = {"amount": {"$exists": True}} if query.currency is None else {"currency": query.currency}
    return scored(source.pieces(query, span, wanted), _orders(query), span.end)


def _rfm(source: "Source", query: RfmQuery) -> Rfm:
    return rfm(_scored(source, query))


def _rfm_consumers(source: "Source", query: RfmConsumersQuery) -> RfmConsumers:
    return rfm_consumers(_scored(source, query), query.segment, query.limit)


def _repeat(source: "Source", query: RepeatQuery) -> Repeat:
    return repeat(
        source.histories(query, query.span(source.today)),
        Orders(query.currency, query.kind is not None, mixed=True),
    )


def _revenue(source: "Source", query: RevenueQuery) -> Revenue:
    span = listed(query.span(source.today, 365))
    return revenue(source.takings(query, span, query.currency), query.unit)


def _distribution(source: "Source", query: DistributionQuery) -> RatingDistribution:
    return distribution(source.rating_counts(query, query.span(source.today)), query.positive_from)


def _geography(source: "Source", query: GeographyQuery) -> Geography:
    pieces = source.pieces(query, query.span(source.today))
    return geography(pieces, source.atlas(query.side, query.level), query.side, query.limit)


def _personal_places(query: GeographyQuery) -> tuple[str, ...]:
    # Where one consumer alone is in a region, its middle is where they live.
    return ("city", "lat", "lon") if query.side == "consumer" else ()


def _lifetime(source: "Source", query: LifetimeQuery) -> Lifetime:
    try:
        # numpy and scipy are heavy, and only this measure needs them.
        from services.relations.measures.valuing import lifetime
    except ImportError:
        raise NotInstalled("lifetime values need numpy and scipy: install kith[measures]") from None
    span = query.span(source.today)
    wish = LifetimeRequest(
        query.horizon_weeks, query.discount, query.by, query.risk_from, query.risk_to, query.limit
    )
    return lifetime(source.histories(query, Span(0, span.end)), _orders(query), span, wish)


MEASURES: "tuple[Measure[Source], ...]" = (
    measure("activity", ActivityQuery, Activity, _activity),
    measure("lifecycle", BucketedQuery, Lifecycle, _lifecycle),
    measure("cohorts", BucketedQuery, Cohorts, _cohorts),
    measure("rfm", RfmQuery, Rfm, _rfm),
    measure("rfm-consumers", RfmConsumersQuery, RfmConsumers, _rfm_consumers),
    measure("repeat", RepeatQuery, Repeat, _repeat),
    measure("revenue", RevenueQuery, Revenue, _revenue),
    measure("rating-distribution", DistributionQuery, RatingDistribution, _distribution),
    measure("geography", GeographyQuery, Geography, _geography, _personal_places),
    measure("lifetime", LifetimeQuery, Lifetime, _lifetime),
)
