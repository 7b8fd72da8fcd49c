"""A publisher that is opened when it is first needed."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from shared.contracts.errors import Unavailable
from shared.runtime import lazy
from shared.runtime.outlet import Outlet
from shared.runtime.protocols import Message
from tests.support.counted import Counted
from tests.support.waiting import PATIENCE_SECONDS

THREADS = 8


class Brokers:
    """Kafka's, which at first do not answer until all threads have asked."""

    def __init__(self) -> None:
        self.attempts, self.sent = 0, 0

    def open(self) -> "Brokers":
        self.attempts += 1
        if self.attempts == 1:
            for _ in range(THREADS - 1):
                assert Counted.waiting.acquire(timeout=PATIENCE_SECONDS)
            raise Unavailable("no broker answers")
        return self

    def send(self, messages: Sequence[Message]) -> Future[None]:
        self.sent += len(messages)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def close(self) -> None:
        pass


def test_while_no_broker_answers_no_thread_waits_for_the_attempts_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lazy, "Future", Counted)
    brokers = Brokers()
    outlet = Outlet(brokers.open)
    message = Message("kith.keys", b"key/a", b"{}")
    with ThreadPoolExecutor(THREADS) as threads:
        asked = [threads.submit(outlet.publish, [message]) for _ in range(THREADS)]
    for each in asked:
        with pytest.raises(Unavailable, match="no broker answers"):
            each.result()
    assert brokers.attempts == 1
    for _ in range(2):
        outlet.publish([message])
    assert (brokers.attempts, brokers.sent) == (2, 2)
