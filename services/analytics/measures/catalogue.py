"""The measures of analytics, their parameters, and how each is computed from a source."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from services.analytics.measures import ranking as rank
from services.analytics.measures.ratings import RatingOrder, Ratings, ratings
from services.analytics.measures.rising import Direction, Rising, rising
from services.analytics.measures.sketches import RELATIVE_ERROR, distinct
from shared.measures.activity import LOOK_BACK, Activity, activity, merged_activity
from shared.measures.answer import stated
from shared.measures.cohorts import Cohorts, cohorts
from shared.measures.days import Span
from shared.measures.lifecycle import Lifecycle, lifecycle
from shared.measures.query import (
    MAX_DAYS,
    BadMeasure,
    BucketQuery,
    Limit,
    OfCategory,
    OfCurrency,
    OfKind,
    PeriodQuery,
    ScaleQuery,
    bucketed,
    listed,
)
from shared.measures.spec import Measure, measure

if TYPE_CHECKING:
    from services.analytics.measures.source import Source

#: Above this number of consumer days, the method "auto" estimates.
EXACT_VISITS = 1_000_000


class ActivityQuery(PeriodQuery):
    days: ClassVar[int | None] = 30

    method: Literal["auto", "exact", "sketch"] = Field(
        "auto",
        description="exact: exact counts. sketch: estimates within 1.6 %, from stored and merged sketches of days."
        " auto: exact up to a million consumer days.",
    )


class BucketedQuery(BucketQuery):
    pass


class KindQuery(PeriodQuery):
    kind: OfKind = Field(None, description="Only relations of this kind: purchase, review …")
    category: OfCategory = Field(None, description="Only providers of this category. Needs `relations:read`.")


class ProviderQuery(KindQuery):
    limit: Limit = 10


class ConcentrationQuery(KindQuery):
    days: ClassVar[int | None] = 30

    measure: Annotated[Literal["count", "amount"], rank.MEASURED] = Field(
        "count", description="Relations, or net money in one currency."
    )
    currency: OfCurrency = Field(
        None,
        description="Currency of the money, for `measure` amount. Default: the currency of most orders; the"
        " answer lists the others.",
    )


class TopQuery(ConcentrationQuery):
    limit: Limit = 10


class RisingQuery(ProviderQuery):
    days: ClassVar[int | None] = 7

    baseline_days: int = Field(28, ge=1, le=MAX_DAYS, description="Length of the baseline, before the period.")
    direction: Direction = Field("rising", description="Which providers to list: rising or falling ones.")
    minimum: int = Field(
        5, ge=1, le=1_000_000, description="Minimum number of relations of a provider, in both together."
    )


class RatingsQuery(ScaleQuery, ProviderQuery):
    by: RatingOrder = Field("bayesian", description="The average that orders the list.")
    weight: float = Field(
        10, ge=0, le=1e6, description="Number of ratings at the overall mean that the Bayesian average adds."
    )


def _activity(source: "Source", query: ActivityQuery) -> Activity:
    span = listed(query.span(source.today, query.days))
    wide = Span(span.first - LOOK_BACK, span.end)
    if query.method == "exact":
        return stated(activity(source.visits(wide), span), span)
    daily = source.daily(wide)
    if query.method == "auto" and sum(consumers for _, consumers in daily.values()) <= EXACT_VISITS:
        return stated(activity(source.visits(wide), span), span)
    made = {day: source.sketch(day, sums) for day, sums in daily.items()}
    merged = merged_activity(
        [daily.get(day, (0, 0))[1] for day in range(span.first, span.end)],
        lambda first, end: distinct(made[day] for day in range(first, end) if day in made),
        span,
        RELATIVE_ERROR,
    )
    return stated(merged, span)


def _lifecycle(source: "Source", query: BucketedQuery) -> Lifecycle:
    span = bucketed(query, query.unit, source.today)
    return stated(lifecycle(source.visits(Span(0, span.end)), span, query.unit, source.today), span)


def _cohorts(source: "Source", query: BucketedQuery) -> Cohorts:
    span = bucketed(query, query.unit, source.today, square=True)
    return stated(cohorts(source.visits(Span(0, span.end)), span, query.unit, source.today), span)


def _values(
    source: "Source", query: ConcentrationQuery, span: Span
) -> tuple[dict[str, int], dict[str, Any], dict[str, int]]:
    """Ranked values by provider; fields that describe them; orders by currency, unless the request names one."""
    if query.measure == "count":
        if query.currency is not None:
            raise BadMeasure("currency", "is of money, and measure count is of relations; choose measure amount")
        found = source.providers(span, query.kind, query.category)
        return {provider: sums["count"] for provider, sums in found.items()}, {}, {}
    known = {} if query.currency is not None else source.currencies(span, query.kind, query.category)
    currency = query.currency or next(iter(known), None)
    found = {} if currency is None else source.providers(span, query.kind, query.category, currency)
    left_out = sum(bool(sums["elsewhere"]) for sums in found.values())
    how = {"money": True, "currency": currency, "left_out": left_out}
    return {provider: sums["amount"] for provider, sums in found.items() if sums["paid"]}, how, known


def _top(source: "Source", query: TopQuery) -> rank.TopProviders:
    span = query.span(source.today, query.days)
    values, how, known = _values(source, query, span)
    return stated(rank.top_providers(values, query.limit, **how), span, known)


def _concentration(source: "Source", query: ConcentrationQuery) -> rank.Concentration:
    span = query.span(source.today, query.days)
    values, how, known = _values(source, query, span)
    return stated(rank.concentration(values.values(), **how), span, known)


def _rising(source: "Source", query: RisingQuery) -> Rising:
    span = query.span(source.today, query.days)
    before = Span(span.first - query.baseline_days, span.first)
    if before.first < 0:
        raise BadMeasure("from", "leaves no room for a baseline; choose a later day")
    current, baseline = (
        {provider: sums["count"] for provider, sums in source.providers(part, query.kind, query.category).items()}
        for part in (span, before)
    )
    found = rising(current, baseline, len(span), len(before), query.direction, query.minimum, query.limit)
    return stated(found, span)


def _ratings(source: "Source", query: RatingsQuery) -> Ratings:
    span = query.span(source.today, query.days)
    scale = source.scale(query.lowest, query.highest)
    found = source.providers(span, query.kind, query.category)
    sums = {provider: (sums["rating_count"], sums["rating_sum"]) for provider, sums in found.items()}
    return stated(ratings(sums, scale, query.weight, query.by, query.limit), span)


MEASURES: "tuple[Measure[Source], ...]" = (
    measure("activity", ActivityQuery, Activity, _activity),
    measure("lifecycle", BucketedQuery, Lifecycle, _lifecycle),
    measure("cohorts", BucketedQuery, Cohorts, _cohorts),
    measure("top-providers", TopQuery, rank.TopProviders, _top),
    measure("rising", RisingQuery, Rising, _rising),
    measure("concentration", ConcentrationQuery, rank.Concentration, _concentration),
    measure("ratings", RatingsQuery, Ratings, _ratings),
)
