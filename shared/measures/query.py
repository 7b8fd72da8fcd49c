"""The queries of measures: models that become the parameters of a route and of ``kith report``. Pure."""

import re
from datetime import date
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shared.access.lineage import DerivedFrom
from shared.contracts.events import Currency, Kind, Rating, ShortText
from shared.http.caller import RELATIONS_READ
from shared.http.parameters import BadParameter
from shared.http.paths import QueryId
from shared.http.scopes import Scoped
from shared.measures.days import Span, Unit, day_of, name_of

#: The most days of a period that is listed by day, week or month.
MAX_DAYS = 3_660
#: The most days of a period whose cohorts are listed: their table grows with the square.
MAX_COHORT_DAYS: dict[Unit, int] = {"day": 366, "week": MAX_DAYS, "month": MAX_DAYS}
#: How far back buckets start when `from` is not given.
DEFAULT_DAYS: dict[Unit, int] = {"day": 30, "week": 12 * 7, "month": 365}
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class BadMeasure(BadParameter):
    """A parameter of a measure is invalid."""


class NotInstalled(Exception):
    """A measure needs a library that this installation lacks."""


def _day(value: Any) -> Any:
    if isinstance(value, str):
        try:
            if _DAY.fullmatch(value) and 1970 <= (day := date.fromisoformat(value)).year < 9000:
                return day
        except ValueError:
            pass
        raise ValueError("must be a day such as 2026-11-21")
    return value


Day = Annotated[date, BeforeValidator(_day)]
#: Filters, with the fields that their use reveals.
OfKind = Annotated[Kind | None, DerivedFrom("kind")]
#: A category is data of providers.
OfCategory = Annotated[ShortText | None, DerivedFrom("categories"), Scoped(RELATIONS_READ)]
OfCurrency = Annotated[Currency | None, DerivedFrom("currency")]
OfRating = Annotated[Rating | None, DerivedFrom("rating")]


class PeriodQuery(BaseModel):
    """A period of whole UTC days."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    #: Length of the period when `from` is not given; None: from the first relation on.
    days: ClassVar[int | None] = None

    from_: Annotated[Day | None, DerivedFrom("time")] = Field(
        None, alias="from", description="First day of the period, such as 2026-11-21 (UTC)."
    )
    to: Annotated[Day | None, DerivedFrom("time")] = Field(
        None, description="The day after the last day of the period. Default: tomorrow, so that today counts."
    )

    @classmethod
    def default_period(cls) -> str:
        """The period where neither `from` nor `to` is given."""
        return "all time" if cls.days is None else f"the last {cls.days} days, with today"

    def span(self, today: int, days: int | None = None) -> Span:
        """The period, by default ``days`` long (None: from 1970 on). Raises BadMeasure."""
        end = today + 1 if self.to is None else day_of(self.to)
        first = 0 if days is None else max(0, end - days)
        if self.from_ is not None:
            first = day_of(self.from_)
        if first >= end:
            raise BadMeasure("to", f"must be later than from; it would be {name_of(first)} to {name_of(end)}")
        return Span(first, end)


class FilterQuery(PeriodQuery):
    """A period, and a filter of relations."""

    kind: OfKind = Field(None, description="Only relations of this kind: purchase, review …")
    category: OfCategory = Field(
        None, description="Only relations with providers of this category. Needs `relations:read`."
    )
    provider_id: Annotated[QueryId | None, DerivedFrom("provider_id")] = Field(
        None, description="Only relations with this provider."
    )

    @property
    def filtered(self) -> bool:
        return self.kind is not None or self.category is not None or self.provider_id is not None


class MoneyQuery(FilterQuery):
    currency: OfCurrency = Field(
        None, description="The currency to count. Default: that of most orders; the answer lists the others."
    )


class BucketQuery(PeriodQuery):
    unit: Unit = Field("week", description="The size of a bucket; weeks begin on Monday.")

    @classmethod
    def default_period(cls) -> str:
        lengths = {
            "day": f"{DEFAULT_DAYS['day']} days",
            "week": f"{DEFAULT_DAYS['week'] // 7} weeks",
            "month": "a year",
        }
        return f"by day the last {lengths['day']}, by week {lengths['week']}, by month {lengths['month']}"


class ScaleQuery(BaseModel):
    lowest: OfRating = Field(
        None,
        description="The worst rating of the scale. Default: KITH_RATING_SCALES, otherwise the data.",
    )
    highest: OfRating = Field(None, description="The best rating of the scale. Default: as for `lowest`.")


Limit = Annotated[int, Field(ge=1, le=1000, description="Maximum number of items.")]


def listed(span: Span, limit: int = MAX_DAYS) -> Span:
    """The span, if it is short enough to list its parts. Raises BadMeasure."""
    if len(span) > limit:
        raise BadMeasure("from", f"the period would have {len(span):,} days, and {limit:,} is the most for this")
    return span


def bucketed(query: PeriodQuery, unit: Unit, today: int, *, square: bool = False) -> Span:
    """The whole buckets of a query's period. Raises BadMeasure for too many. ``square``: the answer is a table of
    every bucket against every bucket."""
    span = query.span(today, DEFAULT_DAYS[unit])
    return listed(span, MAX_COHORT_DAYS[unit] if square else MAX_DAYS).whole(unit)
