"""Two owners of a partition, one after the other or at once: fencing, the outbox, and numbers that repeat."""

import logging
from collections.abc import Iterator, Sequence

import pytest

from shared.contracts.errors import Unavailable
from shared.contracts.events import Event
from shared.runtime.protocols import OutboxBatch, Partition, Slice
from shared.testing.memory import MemoryReader
from tests.support.analytics_driver import expected_sums, summed
from tests.support.builders import TOPICS, MemoryKith, stored_state
from tests.support.runner import (
    PLACE,
    PatientPublisher,
    WatchedStore,
    analytics_of,
    kith_with,
    live_facts,
    published,
    runner_of,
    steps,
    take_over,
    views,
)

PROVIDER_VIEWS = "default:provider:p1:2026-03-01:0"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def in_order(kith: MemoryKith) -> list[bytes]:
    """The changes, each once; a number never stands for two of them, and none is missing."""
    seen: dict[int, bytes] = {}
    for number, value in published(kith):
        assert seen.setdefault(number, value) == value
    assert list(seen) == list(range(1, len(seen) + 1))
    return list(seen.values())


def undisturbed(events: Sequence[Event]) -> list[bytes]:
    kith = kith_with(WatchedStore())
    kith.publish(events)
    kith.drain()
    return in_order(kith)


def test_changes_wait_in_the_outbox_while_the_log_takes_none() -> None:
    kith = kith_with(WatchedStore())
    events = views(20)
    kith.publish(events)
    kith.publisher.available = False
    steps(kith, 60)
    assert published(kith) == []
    assert kith.position(PLACE) == 3, "further slices wait, or the order of changes would be lost"
    assert [len(batch.messages) for batch in kith.store.outbox.values()] == [3]
    kith.publisher.available = True
    kith.drain()
    assert [number for number, _ in published(kith)] == list(range(1, 21))
    assert in_order(kith) == undisturbed(events)
    assert kith.documents() == stored_state(events, partitions=1)


def test_a_crash_between_commit_and_publication_leaves_the_changes_to_the_next_owner() -> None:
    kith = kith_with(WatchedStore())
    events = views(5)
    kith.publish(events)
    kith.publisher.available = False
    steps(kith, 2)
    assert (kith.position(PLACE), published(kith)) == (3, [])
    kith.publisher.available = True
    take_over(kith)
    steps(kith, 1)
    assert [number for number, _ in published(kith)] == [1, 2, 3], "drained before anything else is read"
    assert kith.store.outbox == {}
    kith.drain()
    assert in_order(kith) == undisturbed(events)


def test_what_an_owner_left_unpublished_holds_up_its_own_partition_alone() -> None:
    kith = kith_with(WatchedStore())
    kith.publish(views(3))
    kith.publisher.available = False
    steps(kith, 2)
    publisher = PatientPublisher(kith.log)
    kith.publish(views(4))
    reader = MemoryReader(kith.log)
    kith.reader, kith.runner = reader, runner_of(kith, reader, publisher=publisher)
    reader.assign(kith.inputs)
    other = Partition(TOPICS.name("providers"), 0)
    steps(kith, 5)
    waiting = kith.runner.partitions
    assert waiting[other].opened, "no broker has acknowledged anything, and it has nothing to wait for"
    assert not waiting[PLACE].opened
    assert waiting[PLACE].wait is not None
    assert kith.position(PLACE) == 3, "nothing is stored before what was left is published"
    claimed = kith.store.positions[f"relations@1/{PLACE}"].epoch
    publisher.answer()
    steps(kith, 1)
    assert kith.runner.partitions[PLACE].opened
    assert kith.store.outbox == {}
    while (kith.position(PLACE) or 0) < 7 or publisher.waiting:
        steps(kith, 1)
        if publisher.waiting:
            publisher.answer()
    assert [number for number, _ in published(kith)] == [1, 2, 3, 4]
    assert kith.store.positions[f"relations@1/{PLACE}"].epoch == claimed, "claimed once"


def test_what_an_owner_left_unpublished_is_sent_again_by_the_same_claim() -> None:
    kith = kith_with(WatchedStore())
    kith.publish(views(5))
    kith.publisher.available = False
    steps(kith, 2)
    take_over(kith)
    steps(kith, 20)
    assert not kith.runner.partitions[PLACE].opened
    assert published(kith) == []
    claimed = kith.store.positions[f"relations@1/{PLACE}"].epoch
    kith.publisher.available = True
    kith.drain()
    assert [number for number, _ in published(kith)] == [1, 2, 3, 4, 5]
    assert kith.store.positions[f"relations@1/{PLACE}"].epoch == claimed


def test_a_crash_between_publication_and_clearing_repeats_the_same_numbers() -> None:
    kith = kith_with(WatchedStore())
    kith.publish(views(5))
    steps(kith, 2)
    assert len(published(kith)) == 3
    assert len(kith.store.outbox) == 1
    take_over(kith)
    kith.drain()
    found = published(kith)
    assert [number for number, _ in found] == [1, 2, 3, 1, 2, 3, 4, 5]
    assert found[:3] == found[3:6]
    in_order(kith)
    analytics = analytics_of(kith)
    assert analytics.collections["aggregates"][PROVIDER_VIEWS]["count"] == 5
    assert summed(analytics.collections) == expected_sums(live_facts(kith).items())


class LosesAnswers(WatchedStore):
    """Every other commit is stored, but nobody hears of it."""

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        unpublished = super().commit(slice)
        if len(self.tries) % 2:
            raise Unavailable("the answer is lost")
        return unpublished


def test_a_commit_whose_answer_is_lost_is_not_stored_twice() -> None:
    kith = kith_with(LosesAnswers())
    events = views(9)
    kith.publish(events)
    kith.drain()
    assert kith.documents() == stored_state(events, partitions=1)
    assert in_order(kith) == undisturbed(events)


def test_a_second_worker_fences_the_first() -> None:
    kith = kith_with(WatchedStore())
    events = views(12)
    kith.publish(events)
    steps(kith, 2)
    reader, second = kith.worker()
    reader.assign(kith.inputs)
    second.step(0)
    stored = dict(kith.documents()["relations"])
    kith.runner.step(0)
    assert kith.documents()["relations"] == stored, "a fenced worker has written"
    assert not kith.runner.partitions[PLACE].opened
    kith.reader.revoke(kith.inputs)
    kith.now += 10
    kith.runner.step(0)
    for _ in range(10):
        second.step(0)
        kith.runner.step(0)
    assert kith.store.positions[f"relations@1/{PLACE}"].epoch == 2, "who lost it has claimed it again"
    assert kith.documents() == stored_state(events, partitions=1)
    assert in_order(kith) == undisturbed(events)


def test_a_fenced_worker_that_still_owns_the_partition_claims_it_back_after_a_while() -> None:
    kith = kith_with(WatchedStore())
    events = views(12)
    kith.publish(events)
    steps(kith, 2)
    kith.store.claim(f"relations@1/{PLACE}", "a zombie")
    kith.runner.step(0)
    kith.now += 0.9
    kith.runner.step(0)
    assert kith.position(PLACE) == 3
    assert kith.store.positions[f"relations@1/{PLACE}"].owner == "a zombie"
    kith.drain()
    assert kith.store.positions[f"relations@1/{PLACE}"].owner == "test"
    assert kith.documents() == stored_state(events, partitions=1)
    assert in_order(kith) == undisturbed(events)
