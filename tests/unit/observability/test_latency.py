"""How long messages take until they are stored: counted by slices, added up over workers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.errors import Unavailable
from shared.observability.latency import LatencyWindow, percentile
from shared.runtime.protocols import Outcome, Partition, Record
from shared.testing.memory import MemoryReader
from tests.support.runner import PatientPublisher, WatchedStore, kith_with, runner_of, steps, views

ONE, OTHER = Partition("t", 0), Partition("t", 1)


class Clocks:
    """Seconds of both clocks; the wall's began a million seconds earlier."""

    def __init__(self) -> None:
        self.now = 100.0
        self.window = LatencyWindow(lambda: self.now, lambda: self.now + 1e6)

    def store(self, ages_ms: list[float], partition: Partition = ONE) -> None:
        """A slice of messages of these ages is stored now."""
        now = (self.now + 1e6) * 1000
        records = [Record(partition, n, round(now - age), None, b"") for n, age in enumerate(ages_ms)]
        assert self.window.begun(partition, records) == ()
        self.window.committed(partition, records, Outcome())


def shares(clocks: Clocks) -> tuple[float | None, float | None]:
    counts = clocks.window.counts()
    return percentile(counts, 0.5), percentile(counts, 0.99)


def test_nothing_stored_is_no_latency() -> None:
    assert shares(Clocks()) == (None, None)


def test_percentiles_are_at_most_a_tenth_too_high() -> None:
    clocks = Clocks()
    for age in range(1, 101):
        clocks.store([float(age)])
    p50, p99 = shares(clocks)
    assert p50 is not None
    assert p99 is not None
    assert 50 <= p50 <= 55.1
    assert 99 <= p99 <= 109


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=100))
def test_every_message_of_a_slice_counts_once(ages: list[int]) -> None:
    clocks = Clocks()
    clocks.store([float(age) for age in ages])
    counts = clocks.window.counts()
    assert sum(counts.values()) == len(ages)
    highest = percentile(counts, 1.0)
    assert highest is not None
    assert highest <= max(max(ages), 1) * 1.101


def test_the_messages_of_a_large_slice_are_judged_by_samples() -> None:
    clocks = Clocks()
    clocks.store([1000.0] * 500 + [10.0] * 500)
    counts = clocks.window.counts()
    assert sum(counts.values()) == 1000
    assert len(counts) == 2
    assert all(400 <= count <= 600 for count in counts.values())


def test_what_is_older_than_a_minute_is_forgotten() -> None:
    clocks = Clocks()
    clocks.store([10.0])
    clocks.now += 30
    clocks.store([1000.0], OTHER)
    assert sum(clocks.window.counts().values()) == 2
    clocks.now += 31
    assert sum(clocks.window.counts().values()) == 1
    clocks.now += 60
    assert clocks.window.counts() == {}


def test_clocks_that_differ_do_no_harm() -> None:
    clocks = Clocks()
    clocks.store([-5000.0])
    assert shares(clocks) == (1.0, 1.0)


def test_what_was_interrupted_counts_when_it_is_stored_at_last() -> None:
    clocks = Clocks()
    store = WatchedStore(_away_at_first)
    kith = kith_with(store)
    publisher = PatientPublisher(kith.log)
    kith.reader = MemoryReader(kith.log)
    kith.runner = runner_of(kith, kith.reader, publisher=publisher, observer=clocks.window)
    kith.reader.assign(kith.inputs)
    kith.publish(views(1))
    while not store.tries:
        steps(kith, 1)
    assert clocks.window.counts() == {}
    while not publisher.waiting:
        steps(kith, 1)
    assert sum(clocks.window.counts().values()) == 1
    publisher.waiting.popleft()[0].set_exception(Unavailable("away"))
    steps(kith, 5)
    assert sum(clocks.window.counts().values()) == 1


def _away_at_first(tries: int) -> None:
    if tries == 1:
        raise Unavailable("away")


@pytest.mark.parametrize("share", [0.5, 0.99, 1.0])
def test_counts_of_workers_add_up(share: float) -> None:
    assert percentile({0: 1}, share) == 1.0
    assert percentile({0: 99, 10: 1}, 0.99) == 1.0
    assert (percentile({0: 98, 10: 2}, 0.99) or 0) > 2.5
