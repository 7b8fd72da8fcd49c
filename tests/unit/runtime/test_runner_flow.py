"""The runner's flow in memory: what bounds its memory, what waits for what, and how it ends."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from shared.runtime.partition_state import PartitionState
from shared.runtime.protocols import Claim, Message, Polled, Progress, Record
from shared.testing.memory import MemoryReader
from tests.support.builders import MemoryKith, event, recorded
from tests.support.runner import (
    PLACE,
    RELATIONS,
    Later,
    PatientPublisher,
    WatchedStore,
    kith_with,
    published,
    runner_of,
    steps,
    views,
)


def test_waits_grow_while_a_server_is_away() -> None:
    kith = kith_with(WatchedStore())
    kith.store.available = False
    waits = []
    for _ in range(10):
        for _ in kith.inputs:
            kith.runner.step(0)
        state = kith.runner.partitions[PLACE]
        waits.append(state.retry_at - kith.now)
        kith.runner.step(0)
        assert state.failures == len(waits), "tried again before its time"
        kith.now = state.retry_at
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0])
    kith.store.available = True
    steps(kith, 1)
    assert kith.runner.partitions[PLACE].failures == 0


def test_memory_is_bounded_while_the_store_is_away() -> None:
    kith = kith_with(WatchedStore())
    kith.reader = MemoryReader(kith.log, most=5)
    kith.runner = runner_of(kith, kith.reader)
    kith.reader.assign(kith.inputs)
    steps(kith, 1)
    kith.store.available = False
    events = views(400)
    kith.publish(events)
    backlogs = set()
    for _ in range(300):
        steps(kith, 1)
        backlogs.add(kith.runner.partitions[PLACE].backlog)
    assert max(backlogs) <= 2 * 3 + 5
    assert kith.runner.partitions[PLACE].paused
    kith.store.available = True
    kith.drain()
    assert len(kith.documents()["relations"]) == 400
    assert not kith.runner.partitions[PLACE].paused


def test_slices_are_bounded_by_bytes() -> None:
    store = WatchedStore()
    kith = kith_with(store, slice_events=100)
    sizes = [1_500_000] * 4 + [5_000_000] + [100] * 3
    for size in sizes:
        kith.log.append(Message(RELATIONS, None, b"x" * size))
    kith.drain()
    ends = [slice.after.next for slice in store.tries]
    assert ends == [2, 4, 5, 8]


def test_a_stop_publishes_what_is_stored_and_leaves_nothing_in_the_outbox() -> None:
    stop = threading.Event()
    store = WatchedStore(lambda attempt: stop.set() if attempt == 2 else None)
    kith = kith_with(store)
    closed: list[bool] = []
    kith.reader.close = lambda: closed.append(True)  # type: ignore[method-assign]
    kith.publish(views(9))
    kith.runner.run(stop)
    assert kith.position(PLACE) == 6
    assert len(kith.values("relation-changes")) == 6
    assert store.outbox == {}
    assert closed == [True]


def test_a_stop_waits_for_the_commit_under_way() -> None:
    stop = threading.Event()

    def stop_in_the_middle(_: int) -> None:
        stop.set()
        time.sleep(0.2)

    store = WatchedStore(stop_in_the_middle)
    kith = kith_with(store)
    kith.publish(views(9))
    committer = ThreadPoolExecutor(1)
    reader = MemoryReader(kith.log)
    reader.assign(kith.inputs)
    runner_of(kith, reader, committer=committer).run(stop)
    assert kith.position(PLACE) == 3
    assert len(kith.values("relation-changes")) == 3
    assert store.outbox == {}


def test_one_commit_of_a_partition_at_a_time_and_none_waits_for_another_partition() -> None:
    kith = MemoryKith(partitions=2)
    committer = Later()
    reader = MemoryReader(kith.log)
    kith.runner = runner_of(kith, reader, committer=committer)
    for consumer in ("c1", "c2", "c3", "c4"):
        kith.publish(views(6, consumer))
    reader.assign(kith.inputs)
    steps(kith, 10)
    busy = [state for state in kith.runner.partitions.values() if state.backlog]
    assert len(busy) == 2
    assert len(committer.waiting) == 2
    committer.heal()
    kith.drain()
    assert len(kith.documents()["relations"]) == 24


def test_what_may_wait_for_publication_is_bounded_and_stays_in_order() -> None:
    kith = kith_with(WatchedStore())
    publisher = PatientPublisher(kith.log)
    reader = Timed(kith.log)
    kith.runner = runner_of(kith, reader, publisher=publisher)
    kith.publish(views(60))
    reader.assign(kith.inputs)
    steps(kith, 100)
    assert len(publisher.waiting) == 1, "the order depends on one answer after the other"
    assert 1 < len(kith.store.outbox) < 10
    assert reader.timeouts[-1] > 0, "waits in a busy loop"
    while publisher.waiting:
        publisher.answer()
        steps(kith, 3)
    steps(kith, 3)
    assert [number for number, _ in published(kith)] == list(range(1, 61))
    assert kith.store.outbox == {}


class Timed(MemoryReader):
    """Notes how long each poll may wait, in milliseconds."""

    timeouts: list[int]

    def poll(self, timeout_ms: int) -> Polled:
        self.timeouts = [*getattr(self, "timeouts", ()), timeout_ms]
        return super().poll(timeout_ms)


def test_a_poll_waits_only_when_there_is_nothing_to_do() -> None:
    kith = kith_with(WatchedStore())
    reader = Timed(kith.log)
    kith.runner = runner_of(kith, reader)
    reader.assign(kith.inputs)
    kith.publish(views(9))
    for _ in range(20):
        kith.runner.step(200)
    assert reader.timeouts[-1] == 200
    assert 0 in reader.timeouts
    kith.store.available = False
    kith.publish(views(2, "c2"))
    kith.runner.step(200)
    kith.runner.step(200)
    assert reader.timeouts[-1] == 200, "a server is unavailable: no busy loop"


def test_each_parcel_is_cleared_once() -> None:
    store = WatchedStore()
    kith = kith_with(store)
    kith.publish(views(30))
    kith.drain()
    cleared = [batch for slice in store.tries for batch in slice.published]
    assert len(cleared) == len(set(cleared)) >= 8
    assert store.outbox == {}


def test_positions_are_shown_to_kafka() -> None:
    kith = kith_with(WatchedStore())
    kith.publish(views(7))
    kith.drain()
    assert kith.reader.mirrored == {PLACE: 7}


def test_what_was_fetched_before_a_seek_is_left_out() -> None:
    state = PartitionState(PLACE, "position")
    state.open(Claim("position", 1), Progress(5), 5, trimmed=False)
    state.receive([Record(PLACE, offset, 0, None, b"") for offset in (3, 4, 5, 7)])
    state.receive([Record(PLACE, offset, 0, None, b"") for offset in (5, 7, 8)])
    assert [record.offset for record in state.slice(10, 1_000, lambda _: 1)] == [5, 7, 8]


def test_records_that_move_much_count_as_several() -> None:
    state = PartitionState(PLACE, "position")
    state.open(Claim("position", 1), Progress(0), 0, trimmed=False)
    state.receive([Record(PLACE, offset, 0, None, b"") for offset in range(9)])

    def heavy(record: Record) -> int:
        return 250 if record.offset >= 3 else 1

    assert [record.offset for record in state.slice(600, 1_000, heavy)] == [0, 1, 2, 3, 4]
    assert [record.offset for record in state.slice(2, 1_000, heavy)] == [0, 1]
    assert len(state.slice(600, 1_000, lambda _: 10_000)) == 1, "at least one"


def test_a_slice_holds_few_erasures() -> None:
    store = WatchedStore()
    kith = kith_with(store, slice_events=1_000)
    for n in range(40):
        kith.publish([recorded(f"e{n}", "2026-03-01T00:00:00Z", f"r{n}", consumer_id=f"c{n}")])
    told = [{"consumer_id": f"c{n}", "mode": "delete"} for n in range(40)]
    kith.publish([event("consumer.erased", f"x{n}", "2026-04-01T00:00:00Z", told[n]) for n in range(40)])
    kith.drain()
    orders = [len([w for w in t.outcome.writes if w.collection == "erased"]) for t in store.tries]
    assert sum(orders) == 40
    assert max(orders) <= 4
    assert all(fact["retracted"] for fact in kith.documents()["relations"].values())


def test_a_trait_that_only_python_holds_for_the_same_is_told() -> None:
    kith = kith_with(WatchedStore())
    one, true = (
        recorded(id, f"2026-03-0{day}T00:00:00Z", occurred_at="2026-03-01T00:00:00Z", traits={"vip": value})
        for day, (id, value) in enumerate((("a", 1), ("b", True)), 1)
    )
    kith.publish([one, true])
    kith.drain()
    changes = [orjson.loads(value) for value in kith.values("relation-changes")]
    assert [repr(change["data"]["after"]["traits"]["vip"]) for change in changes] == ["1", "True"]
