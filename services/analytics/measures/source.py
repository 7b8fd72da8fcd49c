"""Reads the data of the measures of analytics: aggregates, and the categories of providers."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise
from operator import itemgetter

from pymongo.collection import Collection
from pymongo.database import Database

from services.analytics.measures.sketches import DaySketches
from services.analytics.projection import AGGREGATES
from shared.contracts.events import EPOCH
from shared.contracts.money import facts_in, facts_with_money, summed
from shared.measures.days import Span, day_named, day_of, name_of
from shared.measures.mongo import aggregated, currencies_of, providers_of, ratings_of
from shared.measures.query import BadMeasure
from shared.measures.scale import Scale
from shared.measures.scales import Scales
from shared.measures.visits import PORTION, Days, Visits
from shared.runtime.protocols import Document

#: The maximum number of consumer days that one answer reads.
MAX_VISITS = 5_000_000
_NUMBERS = ("count", "rating_count", "rating_sum")


class Measures:
    """Opens sources. ``names`` and ``relations_names`` return the current names of the collections of analytics
    and of relations, ``clock`` returns the time. ``scales`` contains the configured rating scales by tenant."""

    def __init__(
        self,
        database: Database[Document],
        names: Callable[[str], str],
        relations_names: Callable[[str], str],
        clock: Callable[[], datetime],
        scales: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self.scales = Scales(
            scales or {}, lambda tenant: ratings_of(database[relations_names("relations")], tenant)
        )
        self.database = database
        self.names = names
        self.relations_names = relations_names
        self.clock = clock
        self.sketches = DaySketches()

    def of(self, tenant: str) -> "Source":
        return Source(self, tenant)


class Source:
    """The data of one tenant. Every method raises Unavailable while MongoDB is unavailable or too slow."""

    def __init__(self, measures: Measures, tenant: str) -> None:
        self._measures = measures
        self._tenant = tenant
        self.today = day_of(measures.clock().astimezone(UTC))
        self.sketches = measures.sketches

    def daily(self, span: Span) -> dict[int, tuple[int, int]]:
        """Day → (relations, distinct consumers), for days with relations."""
        totals: dict[int, list[int]] = {}
        fields: Document = {"_id": 0, "day": 1, "count": 1, "consumers": 1}
        for partial in self._read({"$match": self._scope("total", span)}, {"$project": fields}):
            total = totals.setdefault(day_named(partial["day"]), [0, 0])
            total[0] += partial["count"]
            total[1] += partial.get("consumers", 0)
        return {day: (count, consumers) for day, (count, consumers) in sorted(totals.items()) if count > 0}

    def visits(self, span: Span) -> Visits:
        """The days with a relation, each with its consumers. Raises BadMeasure for more than MAX_VISITS."""
        daily = self.daily(span)
        number = sum(consumers for _, consumers in daily.values())
        if number > MAX_VISITS:
            raise BadMeasure(
                # When a measure needs all history, only an earlier end reduces it.
                "from" if span.first > 0 else "to",
                f"asks for {number:,} days of consumers, and {MAX_VISITS:,} is the most; choose a shorter period",
            )
        parts = -(-number // PORTION)
        if parts <= 1:
            return [self._days(span)]
        # The busiest day is the sample for the cuts. Any cuts put each consumer into exactly one part.
        busiest = max(daily, key=lambda day: daily[day][1])
        known = sorted(self._members(busiest))
        cuts: list[str | None] = [
            None,
            *(known[len(known) * at // parts] for at in range(1, parts) if known),
            None,
        ]
        return (self._days(span, begin, end) for begin, end in pairwise(cuts))

    def _days(self, span: Span, begin: str | None = None, end: str | None = None) -> Days:
        """The days of the consumers from ``begin`` until before ``end``. The index alone answers it, in its own
        order. MongoDB's $group by consumer would take longer than everything else together."""
        scope, ends = self._scope("consumer", span), {"$gte": begin, "$lt": end}
        if keys := {operator: key for operator, key in ends.items() if key is not None}:
            scope["key"] = keys
        rows = self._read(
            {"$match": scope},
            {"$sort": {"day": 1, "key": 1}},
            {"$project": {"_id": 0, "day": 1, "key": 1, "count": 1}},
        )
        for day, partials in groupby(rows, key=itemgetter("day")):
            # Partitions have partial counts, which may cancel out, so a document is not yet a visit.
            counts: dict[str, int] = {}
            for partial in partials:
                consumer = partial["key"]
                counts[consumer] = counts.get(consumer, 0) + partial["count"]
            yield day_named(day), [consumer for consumer, count in counts.items() if count > 0]

    def sketch(self, day: int, sums: tuple[int, int]) -> bytes:
        """The sketch of a day's consumers; ``sums`` are the day's sums from ``daily``."""
        return self.sketches.of(self._tenant, day, sums, lambda: self._members(day))

    def _members(self, day: int) -> Iterator[str]:
        for _, consumers in self._days(Span(day, day + 1)):
            yield from consumers

    def providers(
        self, span: Span, kind: str | None, category: str | None, currency: str | None = None
    ) -> dict[str, Document]:
        """Provider → count, rating_count, rating_sum, of the providers with a relation in the span. With a
        currency also ``amount``, ``paid``, the number of relations with it, and ``elsewhere``, which is true for
        money in other currencies only. Raises BadMeasure."""
        scope = self._scope("provider" if kind is None else "provider_kind", span)
        if kind is not None:
            # A kind contains neither ":" nor special characters of regular expressions.
            scope["key"] = {"$regex": f":{kind}$"}
        sums: Document = {name: {"$sum": f"${name}"} for name in _NUMBERS}
        if currency is not None:
            sums["amount"] = {"$sum": f"$amount.{currency}"}
            sums |= {"paid": {"$sum": facts_in(currency)}, "money": {"$sum": facts_with_money()}}
        wanted = None if category is None else set(self._among(category))
        found = {}
        for document in self._read({"$match": scope}, {"$group": {"_id": "$key", **sums}}):
            provider = document.pop("_id")
            if currency is not None:
                document["elsewhere"] = document["paid"] == 0 < document.pop("money")
            if kind is not None:
                provider = provider.removesuffix(f":{kind}")
            if document["count"] > 0 and (wanted is None or provider in wanted):
                found[provider] = document
        return found

    def currencies(self, span: Span, kind: str | None, category: str | None) -> dict[str, int]:
        """Currency → orders, most first. Aggregates contain the currencies, but not their numbers of orders.
        Several currencies, or a category, need the facts. A single currency gets the number 0."""
        facts: Document = {"tenant": self._tenant, "retracted": False}
        facts["time"] = {"$gte": EPOCH + timedelta(days=span.first), "$lt": EPOCH + timedelta(days=span.end)}
        if kind is not None:
            facts["kind"] = kind
        relations = self._measures.database[self._measures.relations_names("relations")]
        if category is not None:
            return currencies_of(relations, {**facts, "provider_id": {"$in": self._among(category)}})
        scope = self._scope("total" if kind is None else "kind", span)
        if kind is not None:
            scope["key"] = kind
        fields = {"_id": 0, "amount": 1, "amount_count": 1, "count": 1}
        seen = summed(self._read({"$match": {**scope, "amount": {"$exists": True}}}, {"$project": fields})).keys()
        # The facts may be newer than the aggregates, and the answer comes from the aggregates.
        known = currencies_of(relations, facts) if len(seen) > 1 else {}
        found = {currency: orders for currency, orders in known.items() if currency in seen}
        return found | dict.fromkeys(sorted(seen - found.keys()), 0)

    def _among(self, category: str) -> list[str]:
        providers = self._measures.database[self._measures.relations_names("providers")]
        return list(providers_of(providers, self._tenant, category))

    def scale(self, lowest: int | None, highest: int | None) -> Scale | None:
        """The scale of ratings for requests that state none. Raises BadMeasure."""
        return self._measures.scales.of(self._tenant, lowest, highest)

    def _scope(self, by: str, span: Span) -> Document:
        first, end = name_of(span.first), name_of(span.end)
        return {"tenant": self._tenant, "by": by, "day": {"$gte": first, "$lt": end}}

    def _read(self, *stages: Document) -> Iterator[Document]:
        return aggregated(self._collection, *stages)

    @property
    def _collection(self) -> Collection[Document]:
        return self._measures.database[self._measures.names(AGGREGATES)]
