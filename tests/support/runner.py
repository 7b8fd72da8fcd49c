"""What the tests of the runner share: workers on a log and a store in memory, with trouble on demand."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from services.analytics.projection import AnalyticsProjection
from services.analytics.schema import COLLECTIONS as ANALYTICS
from services.relations.schema import COLLECTIONS as RELATIONS_COLLECTIONS
from shared.contracts.events import Event
from shared.runtime.protocols import Message, OutboxBatch, Partition, Slice
from shared.runtime.runner import Runner
from shared.runtime.sequence_numbers import NUMBER
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader, MemoryStore
from tests.support.builders import TOPICS, MemoryKith, recorded

RELATIONS, CHANGES = TOPICS.name("relations"), TOPICS.name("relation-changes")
PLACE = Partition(RELATIONS, 0)


class Later(Executor):
    """Runs what is submitted when ``work`` is called, and at once after ``heal``."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._healed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: fn(*args, **kwargs)))
        if self._healed:
            self.work()
        return future

    def work(self) -> None:
        if self.waiting:
            future, call = self.waiting.popleft()
            try:
                future.set_result(call())
            except Exception as error:
                future.set_exception(error)

    def heal(self) -> None:
        self._healed = True
        while self.waiting:
            self.work()


class WatchedStore(MemoryStore):
    """Notes the slices that are to be committed; ``trouble`` may raise what is to go wrong with the n-th."""

    def __init__(self, trouble: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(RELATIONS_COLLECTIONS)
        self.tries: list[Slice] = []
        self._trouble = trouble

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        self.tries.append(slice)
        self._trouble(len(self.tries))
        return super().commit(slice)


class PatientPublisher(MemoryPublisher):
    """Answers when ``answer`` is called."""

    def __init__(self, log: MemoryLog) -> None:
        super().__init__(log)
        self.waiting: deque[tuple[Future[None], Sequence[Message]]] = deque()

    def send(self, messages: Sequence[Message]) -> Future[None]:
        future: Future[None] = Future()
        self.waiting.append((future, messages))
        return future

    def answer(self) -> None:
        future, messages = self.waiting.popleft()
        super().send(messages).result()
        future.set_result(None)


def views(count: int, consumer: str = "c1") -> list[Event]:
    """So many facts of one consumer."""
    return [
        recorded(f"e{n}", f"2026-03-01T00:00:{n % 60:02}Z", f"r{n}", consumer_id=consumer) for n in range(count)
    ]


def kith_with(store: MemoryStore, slice_events: int = 3) -> MemoryKith:
    """The relations service on this store, with one partition, so that slices follow each other."""
    kith = MemoryKith(partitions=1)
    kith.store = store
    take_over(kith, slice_events)
    return kith


def take_over(kith: MemoryKith, slice_events: int = 3) -> None:
    """A new worker gets all partitions, as after a crash of the one before."""
    kith.reader, kith.runner = kith.worker(slice_events)
    kith.reader.assign(kith.inputs)


def steps(kith: MemoryKith, count: int) -> None:
    """So many steps of the worker, each after every wait is over."""
    for _ in range(count):
        kith.now += 10.0
        kith.runner.step(0)


def runner_of(kith: MemoryKith, reader: MemoryReader, slice_events: int = 3, **replaced: Any) -> Runner:
    """A runner of the service with some parts replaced."""
    parts = {"store": kith.store, "publisher": kith.publisher, "projection": kith.projection, **replaced}
    return Runner(
        reader,
        owner="test",
        dead_letters=TOPICS.name("dead-letters"),
        slice_events=slice_events,
        clock=lambda: kith.now,
        **parts,
    )


def analytics_of(kith: MemoryKith, slice_events: int = 3, steps_a_worker: int = 1_000) -> MemoryStore:
    """The store of an analytics service that has read every change in the log. A new worker takes over after
    so many steps."""
    store = MemoryStore(ANALYTICS)
    places = [place for place in kith.log.records if place.topic == CHANGES]
    projection = AnalyticsProjection(TOPICS)
    for step in range(1_000):
        if step % steps_a_worker == 0:
            reader = MemoryReader(kith.log)
            reader.assign(places)
            runner = runner_of(kith, reader, slice_events, store=store, projection=projection)
        kith.now += 10.0
        runner.step(0)
        nexts = {position: entry.progress.next for position, entry in store.positions.items()}
        if all((nexts.get(f"analytics@1/{place}") or 0) == kith.log.end(place) for place in places):
            return store
    raise AssertionError("analytics does not get to the end")


def published(kith: MemoryKith) -> list[tuple[int, bytes]]:
    """(number, change) of all changes in partition 0, in the order of the log."""
    records = kith.log.records[Partition(CHANGES, 0)]
    return [(int(dict(record.headers)[NUMBER]), record.value or b"") for record in records]


def live_facts(kith: MemoryKith) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The stored facts that count, in the form that ``expected_sums`` takes."""
    return {
        (document["tenant"], document["consumer_id"], document["relation_id"]): {
            **document,
            "time": document["time"].isoformat(),
        }
        for document in kith.store.collections["relations"].values()
        if not document["retracted"]
    }
