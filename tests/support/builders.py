"""Small helpers that tests build their worlds from."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from services.relations.factory import with_keys
from services.relations.projection import RelationsProjection
from services.relations.schema import COLLECTIONS
from services.relations.sealing import SealedProjection
from services.relations.strength import Strength
from services.relations.wide import MOST_CELLS
from shared.access.guard import Access
from shared.contracts.codec import decode_fields, encode
from shared.contracts.events import Event, document_id, event_key
from shared.contracts.topics import INPUTS, OUTPUTS, Topics
from shared.erasure.records import hashed
from shared.runtime.observer import Observer
from shared.runtime.protocols import Message, Partition
from shared.runtime.runner import Runner
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader, MemoryStore
from shared.vault.keys import Vault

TOPICS = Topics("kith")
#: Everyone may do everything, as with KITH_ACCESS=open: for tests of other things.
OPEN = Access(open=True, open_metrics=True)
STRENGTH = Strength({"subscribe": 8.0, "purchase": 5.0, "review": 3.0, "contact": 2.0, "view": 0.5}, 6.0)
#: When records of the in-memory log arrive: after every time that the strategies draw.
ARRIVAL_MS = 1_800_000_000_000


def event(type: str, id: str, time: str, data: dict[str, Any], **attributes: Any) -> Event:
    """An event of source "test"; ``time`` in RFC 3339."""
    fields = {"specversion": "1.0", "id": id, "source": "test", "type": type, "time": time, "data": data}
    return decode_fields({**fields, **attributes})


def recorded(id: str, time: str, relation: str = "r1", **data: Any) -> Event:
    """A relation.recorded of consumer c1 with provider p1, a view unless told."""
    base = {"relation_id": relation, "kind": "view", "consumer_id": "c1", "provider_id": "p1"}
    return event("relation.recorded", id, time, {**base, **data})


def retracted(id: str, time: str, relation: str = "r1", **data: Any) -> Event:
    """A relation.retracted of consumer c1."""
    return event("relation.retracted", id, time, {"relation_id": relation, "consumer_id": "c1", **data})


def message(event: Event) -> Message:
    """An event as the door publishes it."""
    return Message(TOPICS.of(event), event_key(event), encode(event))


def renamed(tenant: str, consumer_id: str, relation_id: str) -> str:
    """What a relation is called once its consumer is anonymised, without a vault."""
    return hashed(tenant, document_id("relation", consumer_id, relation_id))


class MemoryKith:
    """The relations service in memory: log, store and runner."""

    def __init__(
        self,
        partitions: int = 2,
        slice_events: int = 3,
        vault: Callable[[MemoryStore], Vault] | None = None,
        *,
        refuse: bool = False,
        most_cells: int | None = None,
        strength: Strength = STRENGTH,
    ) -> None:
        """``vault`` opens the vault whose keys are in a store; without one nothing is sealed."""
        most_cells = MOST_CELLS if most_cells is None else most_cells
        names = [TOPICS.name(short) for short in (*INPUTS, *OUTPUTS)]
        self.log = MemoryLog(dict.fromkeys(names, partitions), clock=lambda: ARRIVAL_MS)
        self.store = MemoryStore(COLLECTIONS)
        self.publisher = MemoryPublisher(self.log)
        self.now = 0.0
        self.projection: Any = RelationsProjection(
            TOPICS, strength, max_future_seconds=86_400, most_cells=most_cells
        )
        self.vault = None if vault is None else vault(self.store)
        if self.vault is not None:
            folded = RelationsProjection(
                TOPICS, strength, 86_400, pseudonym=self.vault.pseudonym, most_cells=most_cells
            )
            self.projection = SealedProjection(folded, refuse=refuse)
        self.inputs = [p for p in self.log.records if TOPICS.short(p.topic) in INPUTS]
        self.reader, self.runner = self.worker(slice_events)
        self.reader.assign(self.inputs)

    def worker(self, slice_events: int = 3, observer: Observer | None = None) -> tuple[MemoryReader, Runner]:
        """Another worker of the group, without partitions."""
        reader = MemoryReader(self.log)
        runner = Runner(
            reader,
            with_keys(self.store, self.vault),
            self.publisher,
            self.projection,
            owner="test",
            dead_letters=TOPICS.name("dead-letters"),
            slice_events=slice_events,
            clock=lambda: self.now,
            observer=observer,
        )
        return reader, runner

    def publish(self, events: Iterable[Event]) -> None:
        for one in events:
            self.log.append(message(one))

    def drain(self) -> None:
        """Run until every input is stored and every change published."""
        for _ in range(10_000):
            self.now += 10.0
            self.runner.step(0)
            if not self.store.outbox and all(
                (self.position(p) or 0) == self.log.end(p) for p in self.inputs if self.log.end(p)
            ):
                return
        raise AssertionError("the runner does not get to the end")

    def position(self, partition: Partition) -> int | None:
        entry = self.store.positions.get(f"relations@1/{partition}")
        return entry.progress.next if entry else None

    def documents(self) -> dict[str, Any]:
        return self.store.collections

    def values(self, topic: str) -> Sequence[bytes]:
        """All values in a topic, partition by partition."""
        return [
            r.value or b"" for p, log in self.log.records.items() if p.topic == TOPICS.name(topic) for r in log
        ]


def stored_state(
    events: Iterable[Event], *, partitions: int = 2, slice_events: int = 3, most_cells: int | None = None
) -> dict[str, Any]:
    """The documents that the whole service stores for these events in this order."""
    kith = MemoryKith(partitions, slice_events, most_cells=most_cells)
    kith.publish(events)
    kith.drain()
    return kith.documents()
