"""The end of a runner while a server is unavailable: it comes soon, and loses nothing."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import pytest

import shared.runtime.runner
from shared.contracts.errors import Unavailable
from shared.contracts.events import Event
from shared.runtime.protocols import Claim, Progress
from shared.testing.memory import MemoryReader, MemoryStore
from tests.support.builders import MemoryKith, stored_state
from tests.support.runner import RELATIONS, PatientPublisher, WatchedStore, kith_with, runner_of, steps, views
from tests.support.waiting import PATIENCE_SECONDS

CONSUMERS = [f"c{n}" for n in range(12)]


class Asked(WatchedStore):
    """Counts what it is asked while it is unavailable."""

    def __init__(self) -> None:
        super().__init__()
        self.in_vain = 0

    def _check(self) -> None:
        self.in_vain += not self.available
        super()._check()

    def clear(self, unpublished: Sequence[str]) -> None:
        self._check()
        super().clear(unpublished)


class Stuck(Executor):
    """Begins the first ``begun`` things and never ends them; the others wait."""

    def __init__(self, begun: int) -> None:
        self.futures: list[Future[Any]] = []
        self._begun = begun

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        del fn, args, kwargs
        future: Future[Any] = Future()
        if len(self.futures) < self._begun:
            future.set_running_or_notify_cancel()
        self.futures.append(future)
        return future


def kith_of(store: MemoryStore, **replaced: Any) -> tuple[MemoryKith, list[Event]]:
    kith = MemoryKith(partitions=4)
    kith.store = store
    reader = MemoryReader(kith.log)
    reader.assign(kith.inputs)
    kith.runner = runner_of(kith, reader, **replaced)
    events = [event for consumer in CONSUMERS for event in views(4, consumer)]
    kith.publish(events)
    return kith, events


def stopped() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_a_step_asks_a_server_that_is_away_once() -> None:
    """Each question may take seconds, and nobody polls meanwhile."""
    store = Asked()
    kith, events = kith_of(store)
    store.available = False
    for step in range(1, 5):
        kith.runner.step(0)
        assert store.in_vain == step
    store.available = True
    kith.drain()
    assert kith.documents() == stored_state(events, partitions=4)


def test_a_partition_that_fails_again_and_again_keeps_none_waiting() -> None:
    class Without(WatchedStore):
        def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
            if "/kith.relations/" in position and not position.endswith("/3"):
                raise Unavailable("a part of the servers is unavailable")
            return super().claim(position, owner)

    kith, _ = kith_of(Without())
    for _ in range(20):
        steps(kith, 1)
    stored = {
        place.number for place, state in kith.runner.partitions.items() if place.topic == RELATIONS and state.next
    }
    assert stored == {3}


def test_the_end_asks_a_server_that_is_away_once() -> None:
    store = Asked()
    kith, events = kith_of(store)
    steps(kith, 2)
    assert len({batch.rpartition("/")[0] for batch in store.outbox}) > 3
    store.available = False
    kith.runner.run(stopped())
    assert store.in_vain == 1
    store.available = True
    kith.reader, kith.runner = kith.worker(3)
    kith.reader.assign(kith.inputs)
    kith.drain()
    assert kith.documents() == stored_state(events, partitions=4)
    assert store.outbox == {}


def test_the_end_begins_no_commit() -> None:
    committer = Stuck(begun=0)
    kith, _ = kith_of(WatchedStore(), committer=committer)
    steps(kith, 2)
    assert len(committer.futures) > 3
    kith.runner.run(stopped())
    assert all(future.cancelled() for future in committer.futures)


def test_the_end_waits_for_answers_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.runtime.runner, "_FINISH_SECONDS", 0.2)
    committer = Stuck(begun=2)
    kith, _ = kith_of(WatchedStore(), committer=committer)
    steps(kith, 2)
    ended = threading.Thread(target=kith.runner.run, args=[stopped()], daemon=True)
    ended.start()
    ended.join(PATIENCE_SECONDS)
    assert not ended.is_alive(), "it waits for ever"
    assert [future.done() for future in committer.futures[:2]] == [False, False]


def test_the_end_waits_for_brokers_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.runtime.runner, "_FINISH_SECONDS", 0.2)
    kith = kith_with(WatchedStore())
    publisher = PatientPublisher(kith.log)
    reader = MemoryReader(kith.log)
    reader.assign(kith.inputs)
    kith.runner = runner_of(kith, reader, publisher=publisher)
    kith.publish(views(4))
    steps(kith, 2)
    assert publisher.waiting
    ended = threading.Thread(target=kith.runner.run, args=[stopped()], daemon=True)
    ended.start()
    ended.join(PATIENCE_SECONDS)
    assert not ended.is_alive(), "it waits for ever"
    assert kith.store.outbox, "for the next worker"
