"""Two owners of a partition, one after the other or at once: fencing, the outbox, and numbers that repeat."""

import logging
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.relations.schema import COLLECTIONS
from shared.errors import Unavailable
from shared.events import Event
from shared.memory import MemoryLog, MemoryPublisher, MemoryReader, MemoryStore
from shared.numbering import NUMBER
from shared.protocols import Claim, Message, Parcel, Partition, Progress, Slice
from tests.analytics_driver import expected_sums, summed
from tests.builders import MemoryKith, message, stored_state
from tests.strategies import relation_events
from tests.unit.runner_support import (
    CHANGES,
    PLACE,
    WatchedStore,
    analytics_of,
    kith_with,
    live_facts,
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


def published(kith: MemoryKith) -> list[tuple[int, bytes]]:
    """(number, change) in the order of the log."""
    return [
        (int(dict(record.headers)[NUMBER]), record.value or b"")
        for record in kith.log.records[Partition(CHANGES, 0)]
    ]


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
    assert [len(parcel.messages) for parcel in kith.store.outbox.values()] == [3]
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
    assert not kith.runner.lanes[PLACE].opened
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


class FaultyStore(MemoryStore):
    """Away now and then, before a transaction or after it, when only the answer is lost."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(COLLECTIONS)
        self._chance = chance
        self.healed = False

    def _check(self) -> None:
        if not self.healed and self._chance.random() < 0.1:
            raise Unavailable("the store is away")

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        claimed = super().claim(position, owner)
        self._check()
        return claimed

    def commit(self, slice: Slice) -> list[Parcel]:
        parcels = super().commit(slice)
        self._check()
        return parcels


class FaultyPublisher(MemoryPublisher):
    """Now and then only some of the messages arrive, and the others, or all, must be sent again."""

    def __init__(self, log: MemoryLog, chance: random.Random) -> None:
        super().__init__(log)
        self._some, self._chance = log, chance
        self.healed = False

    def send(self, messages: Sequence[Message]) -> Future[None]:
        if self.healed or self._chance.random() < 0.7:
            return super().send(messages)
        for one in messages:
            if self._chance.random() < 0.6:
                self._some.append(one)
        future: Future[None] = Future()
        future.set_exception(Unavailable("some may be missing"))
        return future


@given(st.lists(relation_events(), max_size=40), st.integers(0, 2**32 - 1))
def test_whatever_fails_the_end_is_exact(events: list[Event], seed: int) -> None:
    """Servers fail at random, workers crash and come, and two may believe that a partition is theirs."""
    chance = random.Random(seed)
    store = FaultyStore(chance)
    kith = kith_with(store)
    publisher = FaultyPublisher(kith.log, chance)
    kith.publisher = publisher
    take_over(kith)
    workers = [(kith.reader, kith.runner)]
    for one in events:
        kith.log.append(message(one))
        for _ in range(chance.randint(0, 3)):
            if chance.random() < 0.1:
                reader = MemoryReader(kith.log, most=chance.randint(1, 5))
                reader.assign(kith.inputs)
                workers = [*workers[-1:], (reader, runner_of(kith, reader))]
            if len(workers) > 1 and chance.random() < 0.3:
                workers[0][0].revoke(kith.inputs)
                workers[0][1].step(0)
                del workers[0]
            kith.now += chance.choice([0.0, 0.2, 6.0])
            chance.choice(workers)[1].step(0)
    store.healed = publisher.healed = True
    for reader, _ in workers[:-1]:
        reader.revoke(kith.inputs)
    kith.reader, kith.runner = workers[-1]
    kith.drain()
    assert kith.documents() == stored_state(events, partitions=1)
    in_order_or_again(kith)
    analytics = analytics_of(kith)
    assert summed(analytics.collections) == expected_sums(live_facts(kith).items())
    assert analytics.collections["dead_letters"] == {}


def in_order_or_again(kith: MemoryKith) -> None:
    """Every number is there and stands for one change; an early one is followed by all that it left out."""
    seen: dict[int, bytes] = {}
    counted = 0
    for number, value in published(kith):
        assert seen.setdefault(number, value) == value
        counted += number == counted + 1
    assert counted == len(seen)
