"""The door opens before Kafka is there."""

import threading
from contextlib import closing

import pytest

from services.ingest.late import LatePublisher, NotConnected
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.runtime.protocols import Message, Partition, Publisher
from shared.testing.memory import MemoryLog, MemoryPublisher
from tests.support.waiting import PATIENCE_SECONDS, wait_for

MESSAGES = [Message("t", b"k", b"v")]


class Broker:
    """Refuses so many connections, then gives a publisher. ``tried`` is set by each attempt."""

    def __init__(self, refusals: int) -> None:
        self.left = refusals
        self.log = MemoryLog({"t": 1})
        self.tried = threading.Event()
        self.closed = threading.Event()

    def open(self) -> Publisher:
        self.tried.set()
        if self.left:
            self.left -= 1
            raise Unavailable("away")
        publisher = MemoryPublisher(self.log)
        publisher.close = self.closed.set  # type: ignore[method-assign]
        return publisher


def test_until_kafka_is_there_nothing_is_published_and_the_sender_hears_so() -> None:
    broker = Broker(refusals=10**9)
    with closing(LatePublisher(broker.open, retry_seconds=0.01)) as late:
        assert broker.tried.wait(PATIENCE_SECONDS)
        with pytest.raises(NotConnected):
            late.send(MESSAGES).result(PATIENCE_SECONDS)
        assert late.problems() == ["the Kafka brokers have not been reached since the start"]
    assert broker.log.records[Partition("t", 0)] == []


def test_when_kafka_comes_it_publishes_and_is_closed_at_the_end() -> None:
    broker = Broker(refusals=3)
    with closing(LatePublisher(broker.open, retry_seconds=0.01)) as late:
        wait_for("the publisher", lambda: not late.problems(), pause=0.01)
        late.send(MESSAGES).result(PATIENCE_SECONDS)
    assert [record.value for record in broker.log.records[Partition("t", 0)]] == [b"v"]
    assert broker.closed.is_set()


def test_a_connection_that_comes_after_the_end_is_closed() -> None:
    broker, go_on = Broker(refusals=0), threading.Event()

    def slow() -> Publisher:
        broker.tried.set()
        go_on.wait(PATIENCE_SECONDS)
        return broker.open()

    late = LatePublisher(slow)
    assert broker.tried.wait(PATIENCE_SECONDS)
    late.close()
    go_on.set()
    assert broker.closed.wait(PATIENCE_SECONDS)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sent: list[int] = []
    monkeypatch.setattr("services.ingest.late.os.kill", lambda _pid, number: sent.append(number))
    monkeypatch.setattr("services.ingest.late.signal.getsignal", lambda _: None)
    return sent


def test_a_wrong_setting_ends_the_process_and_is_told(signals: list[int]) -> None:
    def wrong() -> Publisher:
        raise ConfigurationError("no such mechanism")

    late = LatePublisher(wrong)
    wait_for("the signal", lambda: signals, pause=0.01)
    with pytest.raises(ConfigurationError, match="no such mechanism"):
        late.close()
