"""The figures of a period, day by day, from aggregates alone: a few documents per day, whatever the facts."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pymongo.collection import Collection
from pymongo.database import Database

from services.analytics.partials import plus
from services.analytics.projection import AGGREGATES
from shared.access.lineage import Count, DerivedFrom, OrderedBy
from shared.contracts.events import Kind, document_id
from shared.contracts.money import PUSHED, Money, add_stored, store
from shared.measures.days import date_of, day_of
from shared.measures.mongo import aggregated, providers_of
from shared.measures.query import OfCategory, PeriodQuery, listed
from shared.mongo.errors import translated
from shared.mongo.store import POSITIONS
from shared.runtime.protocols import Document

DAYS = 30


class FiguresQuery(PeriodQuery):
    """Takes the last 30 days by default."""

    kind: Annotated[Kind | None, DerivedFrom("kind")] = Field(
        None, description="Only relations of this kind: purchase, review …"
    )
    category: OfCategory = Field(
        None, description="Only relations with providers of this category. Needs `relations:read`."
    )


class ExtentQuery(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Annotated[Kind | None, DerivedFrom("kind")] = Field(
        None, description="Only relations of this kind: purchase, review …"
    )
    category: OfCategory = Field(
        None, description="Only relations with providers of this category. Needs `relations:read`."
    )


class Extent(BaseModel):
    """Where the data begins and ends."""

    first: Annotated[date | None, DerivedFrom("time")] = Field(
        description="The first day that has relations (UTC); null when there are none."
    )
    last: Annotated[date | None, DerivedFrom("time")] = Field(
        description="The last day that has relations; null when there are none."
    )


class Sums(BaseModel):
    count: Count = Field(description="Relations.")
    amount: Annotated[dict[str, int], DerivedFrom("amount", "currency")] = Field(
        description="Money by currency (ISO 4217), in minor units."
    )
    rating_count: Count = Field(description="Relations that carry a rating.")
    rating_sum: Annotated[int, DerivedFrom("rating")] = Field(description="Sum of these ratings.")


class DayFigures(Sums):
    day: Annotated[date, DerivedFrom("time")] = Field(description="UTC.")
    consumers: Count | None = Field(description="Distinct consumers of the day; null with a kind or category.")


class Figures(BaseModel):
    first: Annotated[date, DerivedFrom()] = Field(description="First day of the period.")
    last: Annotated[date, DerivedFrom()] = Field(description="Its last day.")
    total: Sums = Field(description="Of the whole period.")
    kinds: Annotated[list[str], DerivedFrom("kind")] = Field(
        description="Kinds that occur in the period, whatever the filter."
    )
    days: Annotated[list[DayFigures], OrderedBy("time")] = Field(description="Days that have relations, in order.")


class FiguresReader:
    """Reads figures. ``names`` and ``relations_names`` return the present full names of collections of analytics
    and of relations, ``clock`` the time. Every method raises Unavailable while MongoDB is unavailable."""

    def __init__(
        self,
        database: Database[Document],
        names: Callable[[str], str],
        relations_names: Callable[[str], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._names = names
        self._relations_names = relations_names
        self._clock = clock

    def mark(self) -> tuple[object, ...]:
        """Differs whenever what is stored, or the day, does: how far analytics has come with each partition."""
        with translated():
            positions = self._database[POSITIONS].find({"_id": {"$regex": "^analytics@"}}, {"next": 1})
            places = sorted((place["_id"], place.get("next")) for place in positions)
        return (self._clock().astimezone(UTC).date(), self._names(AGGREGATES), *places)

    def read(self, tenant: str, query: FiguresQuery) -> Figures:
        """The figures of a tenant. Raises BadMeasure."""
        span = listed(query.span(day_of(self._clock().astimezone(UTC)), DAYS))
        first, end = span.names
        period: Document = {"tenant": tenant, "day": {"$gte": first, "$lt": end}}
        sums: Document = {name: {"$sum": f"${name}"} for name in ("count", "rating_count", "rating_sum")}
        grouped = {"_id": "$day", **sums, "consumers": {"$sum": "$consumers"}, "amounts": {"$push": PUSHED}}
        days, total = [], Document()
        for day in aggregated(
            self._aggregates,
            {"$match": {**period, **self._selection(tenant, query)}},
            {"$group": grouped},
            {"$sort": {"_id": 1}},
        ):
            # The currencies are unknown beforehand, so the amounts are added up here.
            money: Money = {}
            for one in day["amounts"]:
                add_stored(money, one)
            store(money, day["count"], day)
            # A fact added in one partition and removed in another leaves partial sums that cancel out.
            if not (stored := plus(day, {})):
                continue
            total = plus(total, stored)
            narrowed = query.kind is not None or query.category is not None
            days.append(
                DayFigures(
                    day=date.fromisoformat(day["_id"]),
                    consumers=None if narrowed else day["consumers"],
                    **_sums(stored).model_dump(),
                )
            )
        return Figures(
            first=date_of(span.first),
            last=date_of(span.end - 1),
            total=_sums(total),
            kinds=self._kinds(period),
            days=days,
        )

    def extent(self, tenant: str, query: ExtentQuery) -> Extent:
        """The first and the last day of a tenant's relations. Raises BadMeasure."""
        found = aggregated(
            self._aggregates,
            {"$match": {"tenant": tenant, **self._selection(tenant, query)}},
            # Partials of one day may cancel out, so a document is not yet a day with relations.
            {"$group": {"_id": "$day", "count": {"$sum": "$count"}}},
            {"$match": {"count": {"$gt": 0}}},
            {"$group": {"_id": None, "first": {"$min": "$_id"}, "last": {"$max": "$_id"}}},
        )
        ends = next(found, {"first": None, "last": None})
        return Extent(first=ends["first"], last=ends["last"])

    def _selection(self, tenant: str, query: FiguresQuery | ExtentQuery) -> Document:
        if query.category is None:
            return {"by": "total", "key": ""} if query.kind is None else {"by": "kind", "key": query.kind}
        providers = self._database[self._relations_names("providers")]
        keys = providers_of(providers, tenant, query.category)
        if query.kind is None:
            return {"by": "provider", "key": {"$in": list(keys)}}
        return {"by": "provider_kind", "key": {"$in": [document_id(provider, query.kind) for provider in keys]}}

    def _kinds(self, period: Document) -> list[str]:
        found = aggregated(
            self._aggregates,
            {"$match": {**period, "by": "kind"}},
            {"$group": {"_id": "$key", "count": {"$sum": "$count"}}},
            {"$match": {"count": {"$gt": 0}}},
            {"$sort": {"_id": 1}},
        )
        return [kind["_id"] for kind in found]

    @property
    def _aggregates(self) -> Collection[Document]:
        return self._database[self._names(AGGREGATES)]


def _sums(stored: Document) -> Sums:
    return Sums(
        count=stored.get("count", 0),
        amount=stored.get("amount", {}),
        rating_count=stored.get("rating_count", 0),
        rating_sum=stored.get("rating_sum", 0),
    )
