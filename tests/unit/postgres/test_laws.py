"""The laws of the sink: its rows are the documents of relations, whenever and however often it reads."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.postgres.projection import TABLES, PostgresProjection
from shared.contracts.events import Event, document_id
from shared.contracts.topic_names import CHANGES
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.protocols import Answer, Ask
from shared.runtime.runner import Runner
from shared.sinks.store import SinkStore
from shared.testing.memory import MemoryReader, MemoryStore
from shared.testing.memory_sink import MemoryTables, TransactionTarget
from tests.support.builders import TOPICS, MemoryKith
from tests.support.strategies import events

HISTORIES = st.lists(events(), max_size=40)
MOST_CELLS = st.sampled_from([1, 3, 1_000])


class Sink:
    """The sink beside a Kith in memory, with the documents of that one."""

    def __init__(self, kith: MemoryKith, slice_events: int = 3) -> None:
        self.kith, self.slice_events = kith, slice_events
        self.system = MemoryTables()
        self.positions = _Positions(kith.store)
        self.places = [place for place in kith.log.records if TOPICS.short(place.topic) in CHANGES.values()]
        self.start()

    def start(self) -> None:
        """Another process takes over."""
        self._reader = MemoryReader(self.kith.log)
        self._runner = Runner(
            self._reader,
            SinkStore(self.positions, TransactionTarget(self.system)),
            self.kith.publisher,
            PostgresProjection(TOPICS),
            owner="test",
            dead_letters=TOPICS.name("dead-letters"),
            slice_events=self.slice_events,
            clock=lambda: self.kith.now,
        )
        self._reader.assign(self.places)

    def step(self) -> None:
        self.kith.now += 10.0
        self._runner.step(0)

    def drain(self) -> None:
        for _ in range(2_000):
            self.step()
            entries = {place: self.positions.positions.get(f"postgres@1/{place}") for place in self.places}
            if all(
                ((entry.progress.next or 0) if entry else 0) == self.kith.log.end(place)
                for place, entry in entries.items()
            ):
                return
        raise AssertionError("the sink does not get to the end")

    def rows(self) -> dict[str, Any]:
        assert self.positions.collections[DEAD_LETTERS] == {}
        return {name: self.system.rows(name) for name in TABLES}

    def expected(self) -> dict[str, Any]:
        """Of every document, whether a change named it or not."""
        return {
            name: {
                tuple(document[field] for field in table.key): values
                for document in self.kith.store.collections[name].values()
                if (values := table.values(document)) is not None
            }
            for name, table in TABLES.items()
        }


class _Positions(MemoryStore):
    """The positions of the sink, and the documents of relations."""

    def __init__(self, relations: MemoryStore) -> None:
        super().__init__({DEAD_LETTERS: relations._specs[DEAD_LETTERS]})
        self._relations = relations

    def read(self, ask: Ask) -> Answer:
        return self._relations.read(ask)


@given(HISTORIES, MOST_CELLS, st.integers(1, 30))
@settings(max_examples=150)
def test_the_rows_are_the_documents(history: list[Event], most: int, slice_events: int) -> None:
    kith = MemoryKith(most_cells=most)
    sink = Sink(kith, slice_events)
    kith.publish(history)
    kith.drain()
    sink.drain()
    assert sink.rows() == sink.expected()
    for name, table in TABLES.items():
        for key in sink.rows()[name]:
            assert document_id(*key) in kith.store.collections[name], table


@given(HISTORIES, st.randoms(use_true_random=False), st.integers(1, 5))
@settings(max_examples=150)
def test_they_are_whenever_it_reads_and_whoever_takes_over(
    history: list[Event], chance: random.Random, slice_events: int
) -> None:
    """The sink reads documents that are ahead of the changes, workers die anywhere, and slices are repeated."""
    kith = MemoryKith()
    sink = Sink(kith, slice_events)
    for event in history:
        kith.publish([event])
        for _ in range(chance.randint(0, 3)):
            kith.now += 10.0
            kith.runner.step(0)
            if chance.random() < 0.5:
                sink.step()
        if chance.random() < 0.2:
            sink.start()
        if chance.random() < 0.1:
            # The position was not stored: the slice comes again.
            for entry in sink.positions.positions.values():
                entry.progress = type(entry.progress)()
            sink.start()
    kith.drain()
    sink.drain()
    assert sink.rows() == sink.expected()


def test_an_erased_consumer_is_in_no_row() -> None:
    from tests.support.builders import event, recorded

    kith = MemoryKith()
    sink = Sink(kith)
    profile = {"consumer_id": "c1", "traits": {"vip": True}, "location": {"country": "DE"}}
    kith.publish([event("consumer.upserted", "p1", "2026-01-01T00:00:00Z", profile)])
    kith.publish([recorded("e1", "2026-01-01T00:00:00Z")])
    kith.drain()
    sink.drain()
    assert sink.rows()["consumers"] == {
        ("default", "c1"): {"country": "DE", "region": None, "traits": {"vip": True}, "consent": None}
    }
    assert len(sink.rows()["relations"]) == len(sink.rows()["relationships"]) == 1
    kith.publish([event("consumer.erased", "x", "2026-01-02T00:00:00Z", {"consumer_id": "c1", "mode": "delete"})])
    kith.drain()
    sink.drain()
    assert "c1" not in str(sink.rows())
    assert sink.rows() == sink.expected()
