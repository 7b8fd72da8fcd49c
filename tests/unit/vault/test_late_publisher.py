"""The publisher of the topic of keys, which is opened when it is first needed."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Message
from shared.vault.open import LatePublisher

THREADS = 8


class Door:
    """A lock that tells who has come to it."""

    def __init__(self) -> None:
        self._lock, self._arrived = threading.Lock(), threading.Semaphore(0)

    def __enter__(self) -> None:
        self._arrived.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait_for(self, threads: int) -> None:
        for _ in range(threads):
            assert self._arrived.acquire(timeout=10)


class Brokers:
    """Kafka's, which at first do not answer until all threads have asked."""

    def __init__(self, door: Door) -> None:
        self._door, self.attempts, self.sent = door, 0, 0

    def open(self) -> "Brokers":
        self.attempts += 1
        if self.attempts == 1:
            self._door.wait_for(THREADS)
            raise Unavailable("no broker answers")
        return self

    def send(self, messages: Sequence[Message]) -> Future[None]:
        self.sent += len(messages)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def close(self) -> None:
        pass


def test_while_no_broker_answers_no_thread_waits_for_the_attempts_of_others() -> None:
    door: Any = Door()
    brokers = Brokers(door)
    publisher = LatePublisher(brokers.open)
    publisher._lock = door
    message = Message("kith.keys", b"key/a", b"{}")
    with ThreadPoolExecutor(THREADS) as threads:
        asked = [threads.submit(publisher.publish, [message]) for _ in range(THREADS)]
    for each in asked:
        with pytest.raises(Unavailable, match="no broker answers"):
            each.result()
    assert brokers.attempts == 1
    for _ in range(2):
        publisher.publish([message])
    assert (brokers.attempts, brokers.sent) == (2, 2)
