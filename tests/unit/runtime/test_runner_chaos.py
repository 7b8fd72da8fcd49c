"""Everything that can go wrong, at random and all at once: the end is exact all the same."""

import logging
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.relations.schema import COLLECTIONS
from shared.contracts.errors import Unavailable
from shared.contracts.events import Event
from shared.runtime.protocols import Claim, Message, OutboxBatch, Progress, Slice
from shared.testing.memory import MemoryLog, MemoryReader, MemoryStore
from tests.support.analytics_driver import expected_sums, summed
from tests.support.builders import MemoryKith, message, stored_state
from tests.support.runner import Later, analytics_of, kith_with, live_facts, published, runner_of
from tests.support.strategies import relation_events


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


class FaultyStore(MemoryStore):
    """Away now and then, before a call takes effect or after it, when only the answer is lost."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(COLLECTIONS)
        self._chance = chance
        self.healed = False

    def _check(self) -> None:
        if not self.healed and self._chance.random() < 0.1:
            raise Unavailable("the store is unavailable")

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        claimed = super().claim(position, owner)
        self._check()
        return claimed

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        unpublished = super().commit(slice)
        self._check()
        return unpublished


class _Awaited(Future[None]):
    """Who waits for it gets the work done."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self._work = work

    def result(self, timeout: float | None = None) -> None:
        while not self.done():
            self._work()
        return super().result(timeout)


class FaultyPublisher:
    """Publishes when ``work`` is called, in order, and now and then only some of the messages of a call."""

    def __init__(self, log: MemoryLog, chance: random.Random) -> None:
        self._log, self._chance = log, chance
        self._waiting: deque[tuple[Future[None], Sequence[Message]]] = deque()
        self._healed = False

    def send(self, messages: Sequence[Message]) -> Future[None]:
        future = _Awaited(self.work)
        self._waiting.append((future, messages))
        if self._healed:
            self.work()
        return future

    def work(self) -> None:
        if self._waiting:
            future, messages = self._waiting.popleft()
            whole = self._healed or self._chance.random() < 0.7
            for one in messages:
                if whole or self._chance.random() < 0.6:
                    self._log.append(one)
            if whole:
                future.set_result(None)
            else:
                future.set_exception(Unavailable("some may be missing"))

    def heal(self) -> None:
        self._healed = True
        while self._waiting:
            self.work()

    def close(self) -> None: ...


class Worker:
    """A runner whose transactions and publications take their time."""

    def __init__(self, kith: MemoryKith, chance: random.Random) -> None:
        self.committer, self.publisher = Later(), FaultyPublisher(kith.log, chance)
        self.reader = MemoryReader(kith.log, most=chance.randint(1, 5))
        self.runner = runner_of(
            kith, self.reader, publisher=self.publisher, committer=self.committer, store=kith.store
        )
        self.reader.assign(kith.inputs)

    def heal(self) -> None:
        self.committer.heal()
        self.publisher.heal()


@given(st.lists(relation_events(), max_size=40), st.integers(0, 2**32 - 1))
@settings(max_examples=120)
def test_whatever_fails_the_end_is_exact(events: list[Event], seed: int) -> None:
    """Servers fail, workers crash and come, and what a crashed one has begun is done at any time or never.
    Two may believe that a partition is theirs."""
    chance = random.Random(seed)
    store = FaultyStore(chance)
    kith = kith_with(store)
    working, crashed = [Worker(kith, chance)], list[Worker]()

    def go_on() -> None:
        if chance.random() < 0.1:
            working.append(Worker(kith, chance))
        if len(working) > 1 and chance.random() < 0.3:
            crashed.append(working.pop(0))
        kith.now += chance.choice([0.0, 0.2, 6.0])
        chance.choice(working).runner.step(0)
        worker = chance.choice([*working, *crashed])
        chance.choice([worker.committer.work, worker.publisher.work])()

    for one in events:
        kith.log.append(message(one))
        for _ in range(chance.choice([0, 0, 0, 1, 4, 25])):
            go_on()
    store.healed = True
    for worker in chance.sample(crashed, len(crashed) // 2):
        worker.heal()
    for worker in working:
        worker.heal()
    kith.runner = working[-1].runner
    kith.drain()
    assert kith.documents() == stored_state(events, partitions=1)
    numbers_are_whole(kith)
    analytics = analytics_of(kith)
    assert summed(analytics.collections) == expected_sums(live_facts(kith).items())
    assert analytics.collections["dead_letters"] == {}


def numbers_are_whole(kith: MemoryKith) -> None:
    """Every number is there and stands for one change; an early one is followed by all that it left out."""
    seen: dict[int, bytes] = {}
    counted = 0
    for number, value in published(kith):
        assert seen.setdefault(number, value) == value
        counted += number == counted + 1
    assert counted == len(seen)
