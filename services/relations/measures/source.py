"""Reads the data of the measures of relations: facts, and the locations and categories of profiles."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from operator import itemgetter

from pymongo.collection import Collection
from pymongo.database import Database

from services.relations.measures.facts import Fact
from services.relations.measures.geography import Atlas, Level, Side
from services.relations.measures.revenue import Takings
from shared.contracts.events import EPOCH
from shared.measures.days import Span, day_named, day_of
from shared.measures.mongo import aggregated, currencies_of, providers_of, ratings_of, tenant_ids
from shared.measures.query import BadMeasure, FilterQuery
from shared.measures.scale import Scale
from shared.measures.scales import Scales
from shared.measures.visits import Visits, by_day
from shared.mongo.errors import translated
from shared.runtime.protocols import Document
from shared.vault.keys import Vault
from shared.vault.sealing import opener

#: The maximum number of facts, or profiles, that one answer reads.
MAX_FACTS = 5_000_000
MAX_PROFILES = 2_000_000
_BATCH = 5_000
#: Size of the sample that estimates the selected fraction, and the fraction from which the whole collection is
#: read.
_SAMPLE, _MUCH = 300, 0.15
_FACT: Document = {"_id": 0, "consumer_id": 1, "provider_id": 1, "time": 1, "amount": 1, "currency": 1}


class Measures:
    """Opens sources. ``names`` returns the current name of a collection, ``clock`` the time. ``scales`` contains
    the configured rating scales by tenant."""

    def __init__(
        self,
        database: Database[Document],
        names: Callable[[str], str],
        clock: Callable[[], datetime],
        vault: Vault | None = None,
        scales: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self.scales = Scales(scales or {}, lambda tenant: ratings_of(database[names("relations")], tenant))
        self.open = opener(vault)
        self.database = database
        self.names = names
        self.clock = clock

    def of(self, tenant: str) -> "Source":
        return Source(self, tenant)


class Source:
    """The data of one tenant. Every method raises Unavailable while MongoDB is unavailable or too slow."""

    def __init__(self, measures: Measures, tenant: str) -> None:
        self._measures = measures
        self._tenant = tenant
        self.today = day_of(measures.clock().astimezone(UTC))

    def histories(self, query: FilterQuery, span: Span) -> Iterator[tuple[str, list[Fact]]]:
        """Each consumer with their live facts of the span that match the query, earliest first. A stream
        in the order of the index. Raises BadMeasure beyond MAX_FACTS."""
        # The index stores the latest first. Reading it backwards returns the earliest of each consumer first.
        order = [("consumer_id", -1), ("time", 1), ("_id", 1)]
        with (
            translated(),
            self._collection("relations")
            .find(self._wanted(query, span), _FACT, batch_size=_BATCH, allow_disk_use=True)
            .sort(order) as found,
        ):
            for consumer, facts in groupby(_counted(found), key=itemgetter("consumer_id")):
                yield (
                    consumer,
                    [
                        Fact(fact["provider_id"], fact["time"], fact.get("amount"), fact.get("currency"))
                        for fact in facts
                    ],
                )

    def pieces(
        self, query: FilterQuery, span: Span, wanted: Document | None = None
    ) -> Iterator[tuple[str, tuple[Fact]]]:
        """The same facts one by one, unordered: a million of them take a fifth of the time.
        ``wanted`` narrows them further. Raises BadMeasure beyond MAX_FACTS."""
        chosen, relations = {**self._wanted(query, span), **(wanted or {})}, self._collection("relations")
        with (
            translated(),
            relations.find(chosen, _FACT, batch_size=_BATCH, hint=self._way(relations, chosen)) as found,
        ):
            for fact in _counted(found):
                yield (
                    fact["consumer_id"],
                    (Fact(fact["provider_id"], fact["time"], fact.get("amount"), fact.get("currency")),),
                )

    @staticmethod
    def _way(relations: Collection[Document], chosen: Document) -> list[tuple[str, int]] | None:
        """The hint for reading the selected facts: the whole collection, if most facts are selected. The hint does
        not change the result."""
        # Fetching a fact through an index costs about eight times as much as skipping it in a scan. MongoDB
        # compares indexes only, and would fetch all of them.
        drawn = aggregated(relations, {"$sample": {"size": _SAMPLE}}, {"$match": chosen}, {"$count": "chosen"})
        much = any(found["chosen"] > _SAMPLE * _MUCH for found in drawn)
        return [("$natural", 1)] if much else None

    def visits(self, query: FilterQuery, span: Span) -> Visits:
        """The days with such a fact, each with its consumers. Raises BadMeasure beyond MAX_FACTS."""
        return by_day(
            (consumer, dict.fromkeys(day_of(fact.time) for fact in facts))
            for consumer, facts in self.histories(query, span)
        )

    def takings(self, query: FilterQuery, span: Span, currency: str | None) -> Iterator[Takings]:
        """The revenue of each day in each currency (None: all)."""
        wanted = self._wanted(query, span)
        wanted["currency"] = {"$exists": True} if currency is None else currency
        refund = {"$lt": ["$amount", 0]}
        for row in aggregated(
            self._collection("relations"),
            {"$match": wanted},
            {
                "$group": {
                    "_id": {
                        "day": {"$dateToString": {"date": "$time", "format": "%Y-%m-%d"}},
                        "currency": "$currency",
                    },
                    "orders": {"$sum": {"$cond": [refund, 0, 1]}},
                    "gross": {"$sum": {"$cond": [refund, 0, "$amount"]}},
                    "refund_count": {"$sum": {"$cond": [refund, 1, 0]}},
                    "refunds": {"$sum": {"$cond": [refund, "$amount", 0]}},
                }
            },
        ):
            place = row.pop("_id")
            yield Takings(day_named(place["day"]), place["currency"], **row)

    def rating_counts(self, query: FilterQuery, span: Span) -> dict[int, int]:
        """Rating → its number."""
        wanted = {**self._wanted(query, span), "rating": {"$exists": True}}
        rows = aggregated(
            self._collection("relations"),
            {"$match": wanted},
            {"$group": {"_id": "$rating", "count": {"$sum": 1}}},
        )
        return {row["_id"]: row["count"] for row in rows}

    def currencies(self, query: FilterQuery, span: Span) -> dict[str, int]:
        """Currency → orders, most first, of the facts of the span that match the query."""
        return currencies_of(self._collection("relations"), self._wanted(query, span))

    def scale(self, lowest: int | None, highest: int | None) -> Scale | None:
        """The scale of ratings for requests that state none. Raises BadMeasure."""
        return self._measures.scales.of(self._tenant, lowest, highest)

    def atlas(self, side: Side, level: Level) -> Atlas:
        """The locations of consumers or providers. Raises BadMeasure beyond MAX_PROFILES."""
        atlas = Atlas(level)
        id = f"{side}_id"
        profiles = aggregated(
            self._collection(f"{side}s"),
            {"$match": {"_id": tenant_ids(self._tenant), "location": {"$exists": True}}},
            {"$project": {"_id": 0, id: 1, "location": 1}},
        )
        for number, profile in enumerate(self._opened(profiles) if side == "consumer" else profiles):
            if number == MAX_PROFILES:
                raise BadMeasure("side", f"there are more than {MAX_PROFILES:,} {side}s with a location")
            atlas.add(profile[id], profile["location"])
        return atlas

    def _opened(self, profiles: Iterator[Document]) -> Iterator[Document]:
        while batch := list(islice(profiles, _BATCH)):
            yield from (document for document, _ in self._measures.open(self._tenant, batch))

    def _wanted(self, query: FilterQuery, span: Span) -> Document:
        wanted: Document = {
            "tenant": self._tenant,
            "retracted": False,
            "time": {"$gte": _midnight(span.first), "$lt": _midnight(span.end)},
        }
        if query.kind is not None:
            wanted["kind"] = query.kind
        if query.category is not None:
            among = providers_of(self._collection("providers"), self._tenant, query.category)
            if query.provider_id is not None:
                among = [provider for provider in among if provider == query.provider_id]
            wanted["provider_id"] = {"$in": list(among)}
        elif query.provider_id is not None:
            wanted["provider_id"] = query.provider_id
        return wanted

    def _collection(self, name: str) -> Collection[Document]:
        return self._measures.database[self._measures.names(name)]


def _counted(facts: Iterator[Document]) -> Iterator[Document]:
    for number, fact in enumerate(facts):
        if number == MAX_FACTS:
            raise BadMeasure(
                "from", f"more than {MAX_FACTS:,} relations would be read; choose less time, a kind or category"
            )
        yield fact


def _midnight(day: int) -> datetime:
    return EPOCH + timedelta(days=day)
