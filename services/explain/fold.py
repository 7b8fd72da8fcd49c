"""Folds the projections in memory, event by event, to find what an event changed. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.analytics.partials import plus
from services.analytics.projection import AGGREGATES, PRESENCE, AnalyticsProjection
from services.explain.model import AggregateMove, Change, DocumentMove, differences
from services.relations.profile_erasure import ERASURES
from services.relations.schema import COLLECTIONS
from shared.contracts.errors import InvalidEvent
from shared.contracts.topics import Topics
from shared.erasure.records import KEYS
from shared.runtime.protocols import Document, Get, Message, Outcome, Partition, Projection, Record
from shared.testing.memory import MemoryStore

Item = tuple[Record, Any]
Documents = Mapping[str, Mapping[str, Document]]


#: Collections of the erasure itself, which are not part of an event's effect on its subject.
_BESIDE = (KEYS, ERASURES)


class Replay:
    """The relations projection on its own documents: those of one subject, from its first event on."""

    def __init__(self, projection: Projection[Any]) -> None:
        self._projection = projection
        self._store = MemoryStore(COLLECTIONS)

    @property
    def documents(self) -> Documents:
        """Collection → id → document. Documents are replaced, never changed."""
        return self._store.collections

    def snapshot(self) -> Documents:
        return {name: dict(found) for name, found in self._store.collections.items()}

    def fold(self, items: Sequence[Item]) -> tuple[list[DocumentMove], list[Message]]:
        """Fold and store a slice. Returns the documents that it changed and the changes that it publishes."""
        # Compared by content, not by encoding: without their bytes.
        fold = self._projection.project([(record._replace(value=None), event) for record, event in items])
        try:
            ask = next(fold)
            while True:
                ask = fold.send(self._store.read(ask))
        except StopIteration as done:
            outcome: Outcome = done.value
        moves = []
        for write in outcome.writes:
            documents = self._store.collections[write.collection]
            before = documents.pop(write.id, None)
            if write.after is not None:
                documents[write.id] = write.after
            if len(items) == 1 and write.collection not in _BESIDE:
                fields = differences(before, write.after)
                moves.append(DocumentMove(write.collection, write.id, before, write.after, fields))
        # Messages to the ledger and Kith's internal events are no changes.
        return moves, [message for message in outcome.messages if message.partition is not None]

    def alone(self, item: Item) -> Documents:
        """The documents of an event folded as the first one."""
        fresh = Replay(self._projection)
        fresh.fold([item])
        return fresh.documents


class Aggregation:
    """The analytics projection on the changes of one consumer. Presence belongs to the consumer, so it is complete
    here. Aggregates contain other consumers' facts, too, so only differences are known."""

    def __init__(self, topics: Topics) -> None:
        self._projection = AnalyticsProjection(topics)
        self._presence: dict[str, Document] = {}

    def fold(self, messages: Iterable[Message]) -> list[AggregateMove]:
        """The differences that changes make in aggregates. A change that analytics rejects makes none."""
        by_partition: dict[Partition, list[Item]] = {}
        for message in messages:
            if message.topic not in self._projection.topics or message.partition is None:
                continue
            record = Record(Partition(message.topic, message.partition), 0, 0, message.key, message.value)
            try:
                by_partition.setdefault(record.partition, []).append((record, self._projection.decode(record)))
            except InvalidEvent:
                continue
        return [move for items in by_partition.values() for move in self._slice(items)]

    def _slice(self, items: Sequence[Item]) -> list[AggregateMove]:
        fold = self._projection.project(items)
        try:
            ask = next(fold)
            while True:
                ids = ask.ids.get(PRESENCE, ()) if isinstance(ask, Get) else ()
                ask = fold.send({PRESENCE: {id: self._presence[id] for id in ids if id in self._presence}})
        except StopIteration as done:
            outcome: Outcome = done.value
        moves = []
        for write in outcome.writes:
            if write.collection == PRESENCE:
                self._presence.pop(write.id, None)
                if write.after is not None:
                    self._presence[write.id] = write.after
            elif write.collection == AGGREGATES and write.after is not None:
                moves.append(_move(write.after))
        return moves


def _move(difference: Document) -> AggregateMove:
    """``difference`` is an aggregate folded from nothing, so its sums are the differences."""
    sums = {name: difference[name] for name in _SUMS if difference.get(name)}
    place = (difference["by"], difference["key"], difference["day"], difference["partition"])
    hours = {hour: _shown(own) for hour, own in difference["hours"].items()}
    return AggregateMove(difference["_id"], *place, sums, hours)


def _shown(sums: Document) -> Document:
    return {name: sums[name] for name in _SUMS if name in sums}


_SUMS = ("count", "amount", "rating_count", "rating_sum", "consumers")


def day_total(partials: Iterable[Document]) -> Document:
    """The sums of a key's day over all partitions' partial documents."""
    total: Document = {}
    consumers = 0
    for partial in partials:
        total = plus(total, partial)
        consumers += partial.get("consumers", 0)
    return {**_shown(total), **({"consumers": consumers} if consumers else {})}


def as_changes(messages: Iterable[Message], values: Iterable[Any]) -> list[Change]:
    """The changes in messages; ``values`` are their parsed bodies."""
    return [
        Change(value["id"], message.topic, message.partition or 0, value)
        for message, value in zip(messages, values, strict=True)
    ]
