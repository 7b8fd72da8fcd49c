"""Changes of relations → aggregates and presence documents. Pure.

Every number changes by contribution(after) − contribution(before) of a change, in integers. So the result does not
depend on order, and a retraction undoes exactly its fact. Each change arrives exactly once: the runner has dropped
repeated and out-of-order ones (``shared.runtime.sequence_numbers``).
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import lru_cache

from services.analytics.partials import Difference, Place, day_and_hour, hour_number
from services.analytics.presence import PresenceDifference, Visit
from shared.contracts.changes import Fact, RelationChange
from shared.contracts.events import document_id
from shared.runtime.protocols import Answer, Ask, Document, Get, Outcome, Record, Write
from shared.runtime.relation_changes import ReadsRelationChanges

AGGREGATES, PRESENCE = "aggregates", "presence"

Documents = Mapping[str, Document]


class AnalyticsProjection(ReadsRelationChanges):
    """Folds the change topic into one document per (partition, by, key, day), with its hours inside."""

    name = "analytics"
    version = 1

    def project(self, items: Sequence[tuple[Record, RelationChange]]) -> Generator[Ask, Answer, Outcome]:
        """Fold a slice of one partition. Reads all documents that it may change at once."""
        if not items:
            return Outcome()
        fold = _Fold(items[0][0].partition.number, [change for _, change in items])
        found = yield Get(fold.ids())
        # Presence comes first: it changes the numbers of consumers in the aggregates.
        writes = list(fold.presence_writes(found.get(PRESENCE, {})))
        writes.extend(fold.aggregate_writes(found.get(AGGREGATES, {})))
        return Outcome(writes)


class _Fold:
    """The differences that changes make, by document."""

    def __init__(self, partition: int, changes: Sequence[RelationChange]) -> None:
        self._partition = partition
        self._differences: dict[Place, Difference] = {}
        self._visits: dict[Visit, PresenceDifference] = {}
        for change in changes:
            data = change.data
            if data.before is not None:
                self._add(change.tenant, data.consumer_id, data.before, -1)
            if data.after is not None:
                self._add(change.tenant, data.consumer_id, data.after, 1)

    def _add(self, tenant: str, consumer: str, fact: Fact, sign: int) -> None:
        provider, kind, rating = fact.provider_id, fact.kind, fact.rating
        currency, amount = fact.currency, None if fact.amount is None else sign * fact.amount
        day, hour = day_and_hour(hour_number(fact.time))
        differences = self._differences
        for by, key in (
            ("total", ""),
            ("kind", kind),
            ("provider", provider),
            ("consumer", consumer),
            ("provider_kind", _provider_kind(provider, kind)),
        ):
            place = (tenant, by, key, day)
            difference = differences.get(place)
            if difference is None:
                difference = differences[place] = Difference(place, self._partition)
            sums = difference.hour(hour)
            sums.count += sign
            if amount is not None and currency is not None:
                # As shared.contracts.money.add_fact, without a call for each of five sums of each fact.
                if (money := sums.money.get(currency)) is None:
                    sums.money[currency] = [amount, sign]
                else:
                    money[0] += amount
                    money[1] += sign
            if rating is not None:
                sums.rating_count += sign
                sums.rating_sum += sign * rating
        for visit in ((tenant, day, None, consumer), (tenant, day, provider, consumer)):
            presence = self._visits.get(visit)
            if presence is None:
                presence = self._visits[visit] = PresenceDifference(visit)
            presence.moved += sign

    def ids(self) -> dict[str, list[str]]:
        """The ids of the documents that may change, by collection."""
        return {
            AGGREGATES: [difference.id for difference in self._differences.values()],
            PRESENCE: [presence.id for presence in self._visits.values()],
        }

    def presence_writes(self, found: Documents) -> Iterator[Write]:
        """Change the presence counts, and with them the aggregates' numbers of consumers."""
        for (tenant, day, provider, _), presence in self._visits.items():
            if not presence.moved:
                continue
            before = found.get(presence.id)
            if crossing := presence.crossing(before):
                by, key = ("total", "") if provider is None else ("provider", provider)
                self._differences[tenant, by, key, day].consumers += crossing
            yield Write(PRESENCE, presence.id, before, presence.applied(before))

    def aggregate_writes(self, found: Documents) -> Iterator[Write]:
        """Change the sums, after presence has changed the numbers of consumers."""
        for difference in self._differences.values():
            before = found.get(difference.id)
            after = difference.applied(before)
            if before != after:
                yield Write(AGGREGATES, difference.id, before, after)


_provider_kind = lru_cache(maxsize=10_000)(document_id)
