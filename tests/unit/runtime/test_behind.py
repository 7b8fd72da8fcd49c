"""How far a worker is behind."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.runtime.behind import FEW, Behind
from shared.runtime.worker import Worker
from shared.testing.memory import MemoryReader
from tests.support.builders import MemoryKith
from tests.support.runner import PLACE, WatchedStore, kith_with, runner_of, views


def test_behind_is_the_time_since_the_oldest_that_is_not_stored_was_there() -> None:
    behind = Behind()
    behind.look(None, 0, 0.0)
    assert behind.since is None
    behind.look(10, 10, 1.0)
    assert behind.since is None
    behind.look(20, 10, 2.0)
    behind.look(30, 10, 3.0)
    assert behind.since == 2.0
    behind.look(30, 19, 4.0)
    assert behind.since == 2.0
    behind.look(40, 20, 5.0)
    assert behind.since == 3.0
    behind.look(40, 40, 6.0)
    assert behind.since is None


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=200))
def test_behind_is_never_more_than_the_age_of_the_oldest(steps: list[tuple[int, int]]) -> None:
    """Against a log that knows when each record came."""
    behind, came, next = Behind(), list[float](), 0
    for now, (more, stored) in enumerate(steps):
        came += [float(now)] * more
        next = min(len(came), next + stored)
        behind.look(len(came), next, float(now))
        assert behind.since == (came[next] if next < len(came) else None)


def test_behind_is_what_waits_beyond_the_time_of_a_small_slice() -> None:
    behind = Behind()
    assert behind.seconds(1.0, 2.0) == 0.0
    behind.look(500, 0, 10.0)
    # Nothing had come when the last slice was stored.
    assert behind.seconds(9.0, 10.5) == 0.5
    # It had waited for two seconds then, and the next slice is in progress.
    assert behind.seconds(12.0, 12.5) == 2.0
    assert behind.seconds(12.0, 15.0) == 3.0
    for _ in range(100):
        behind.stored(FEW - 1, 0.25)
        behind.stored(FEW, 7.0)
    assert behind.seconds(12.0, 12.5) == pytest.approx(1.5)
    assert behind.seconds(9.0, 10.25) == 0.0
    # A small one that waited for a server while that was away hides nothing.
    behind.stored(1, 60.0)
    assert behind.seconds(12.0, 15.0) > 2.0


def behind_of(kith: MemoryKith) -> float:
    worker = Worker(lambda: kith.runner)
    assert worker.behind() == 0.0, "before it has its servers"
    worker._runner = kith.runner
    return worker.behind()


def look(kith: MemoryKith) -> None:
    kith.runner._looked_at = 0.0
    kith.runner.step(0)


@pytest.fixture(autouse=True)
def _ten_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.runtime.worker.FEW", 10)


def left_with(some: int, more: int) -> MemoryKith:
    """A worker that has begun with some records, before more came of which its store takes none."""
    kith = kith_with(WatchedStore())
    kith.publish(views(some))
    look(kith)
    kith.store.available = False
    kith.publish(views(more, "c2"))
    return kith


def test_a_worker_with_few_records_left_is_not_behind_however_long_they_take() -> None:
    kith = left_with(1, 8)
    for _ in range(3):
        look(kith)
        time.sleep(0.01)
    assert kith.runner.partitions[PLACE].behind.since is not None
    assert behind_of(kith) == 0.0
    kith.publish(views(3, "c3"))
    look(kith)
    assert behind_of(kith) > 0


def test_a_worker_is_behind_until_the_last_record_is_stored() -> None:
    kith = kith_with(WatchedStore(), slice_events=1)
    kith.reader = MemoryReader(kith.log, most=1)
    kith.runner = runner_of(kith, kith.reader, slice_events=1)
    kith.reader.assign(kith.inputs)
    kith.publish(views(20))
    look(kith)
    time.sleep(0.01)
    look(kith)
    assert 0.01 <= behind_of(kith) < 60
    kith.drain()
    look(kith)
    assert behind_of(kith) == 0.0


def test_a_worker_in_which_nothing_moves_is_not_behind() -> None:
    kith = left_with(3, 20)
    look(kith)
    time.sleep(0.01)
    look(kith)
    assert behind_of(kith) > 0
    kith.runner.partitions[PLACE].moved_at -= 6
    assert behind_of(kith) == 0.0


def test_what_was_stored_since_the_log_was_looked_at_hides_nothing_of_another_partition() -> None:
    kith = kith_with(WatchedStore())
    kith.publish(views(20))
    look(kith)
    kith.drain()
    state = kith.runner.partitions[PLACE]
    state.end = 0
    assert state.waiting == 0
    state.end = None  # revoked
    assert state.waiting == 0
