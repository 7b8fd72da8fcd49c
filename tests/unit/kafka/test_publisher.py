"""What KafkaPublisher adds to kafka-python's producer and needs no broker for."""

import gc
import weakref
from collections.abc import Callable
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from kafka.partitioner.default import DefaultPartitioner

from shared.contracts.errors import Unavailable
from shared.kafka.python_client import publisher as module
from shared.kafka.python_client.publisher import KafkaPublisher, _append, _ByKey
from shared.runtime.protocols import Message
from shared.settings import Settings
from tests.support.waiting import PATIENCE_SECONDS, wait_for


class Cluster:
    """What a partitioner asks of kafka-python's metadata."""

    def __init__(self, count: int) -> None:
        self._all = set(range(count))

    def topics(self) -> set[str]:
        return {"t"}

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return self._all

    def available_partitions_for_topic(self, _topic: str) -> set[int]:
        return {max(self._all)}


@given(st.binary(), st.integers(1, 60))
def test_a_key_goes_where_other_clients_put_it(key: bytes, count: int) -> None:
    cluster = Cluster(count)
    expected = DefaultPartitioner().partition("t", key, key, b"", b"", cluster)
    for _ in range(2):  # asked again, the answer comes from memory
        assert _ByKey().partition("t", key, key, b"", b"", cluster) == expected


def test_of_a_topic_without_partitions_it_says_what_kafka_python_says() -> None:
    with pytest.raises(ValueError, match="not found in ClusterMetadata"):
        _ByKey().partition("u", b"k", b"k", b"", b"", Cluster(0))


def test_without_a_key_a_partition_is_taken_that_has_a_leader() -> None:
    assert _ByKey().partition("t", None, None, b"", b"", Cluster(7)) == 6


class Accumulator:
    """Notes where messages are put."""

    def __init__(self) -> None:
        self.places: list[TopicPartition] = []

    def append(self, place: TopicPartition, *_: Any) -> tuple[object, bool, bool, bool]:
        self.places.append(place)
        return object(), False, True, False


def producer_of(count: int) -> Any:
    wakeups: list[None] = []
    sender = SimpleNamespace(wakeup=lambda: wakeups.append(None), wakeups=wakeups)
    return SimpleNamespace(_closed=False, _metadata=Cluster(count), _accumulator=Accumulator(), _sender=sender)


@given(st.binary(), st.integers(1, 60))
def test_an_ordinary_message_is_put_where_its_key_belongs(key: bytes, count: int) -> None:
    producer = producer_of(count)
    assert _append(producer, Message("t", key, b"v")) is not None
    assert _append(producer, Message("t", key, b"v", count - 1)) is not None
    where = DefaultPartitioner().partition("t", key, key, b"", b"", Cluster(count))
    assert producer._accumulator.places == [TopicPartition("t", where), TopicPartition("t", count - 1)]
    assert len(producer._sender.wakeups) == 2


@pytest.mark.parametrize(
    "message",
    [
        Message("t", None, b"v"),
        Message("t", b"k", None),  # type: ignore[arg-type]  # a tombstone, which Kith never publishes
        Message("t", b"k", b"v", 3),
        Message("t", b"k", b"v", headers=(("a", b"b"),)),
        Message("t", b"k", b"v" * 2**20),
    ],
)
def test_another_message_is_left_to_kafka_python(message: Message) -> None:
    producer = producer_of(3)
    assert _append(producer, message) is None
    assert producer._accumulator.places == []


def test_so_is_every_message_where_kafka_python_may_keep_them_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._KNOWN, "look at the new version's RecordAccumulator, and say here that it is known"
    monkeypatch.setattr(module, "_KNOWN", False)
    producer = producer_of(3)
    assert _append(producer, Message("t", b"k", b"v")) is None
    assert producer._accumulator.places == []


class Sent:
    """What kafka-python returns for a message."""

    def add_callback(self, done: Callable[[object], None]) -> None:
        self.done = done

    def add_errback(self, failed: Callable[[BaseException], None]) -> None:
        self.failed = failed


class Producer:
    """Keeps everything; what it holds fails when it is closed, and not before, as in kafka-python."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.known: list[str] = []
        self.closed = False
        self.refused: Exception | None = None
        self.on_send: Callable[[], None] = lambda: None
        self._metadata = SimpleNamespace(topics=lambda: ["t"], partitions_for_topic=lambda _topic: None)
        self._sender = SimpleNamespace(add_topic=self.known.append)

    def send(self, *_: Any) -> Sent:
        self.on_send()
        if self.refused is not None:
            raise self.refused
        self.sent.append(Sent())
        return self.sent[-1]

    def partitions_for(self, topic: str) -> None:
        assert topic in self.known

    def close(self, timeout: float) -> None:
        self.closed = True
        for each in self.sent:
            each.failed(KafkaTimeoutError(f"closed after {timeout}"))


MESSAGE = Message("t", b"k", b"v")


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> list[Producer]:
    """Those that were opened."""
    opened: list[Producer] = []

    def open(**_: Any) -> Producer:
        opened.append(Producer())
        return opened[-1]

    monkeypatch.setattr(module, "KafkaProducer", open)
    return opened


def test_with_a_message_that_fails_all_fail_that_its_producer_holds(producers: list[Producer]) -> None:
    """Nobody sends anything after it: the runner's thread, say, waits for the other message."""
    with closing(KafkaPublisher(Settings(kafka="there:1", publish_timeout_ms=10**6))) as publisher:
        one, other = publisher.send([MESSAGE]), publisher.send([MESSAGE])
        producers[0].sent[0].failed(KafkaTimeoutError("expired"))
        assert isinstance(one.exception(PATIENCE_SECONDS), Unavailable)
        assert isinstance(other.exception(PATIENCE_SECONDS), Unavailable)
        assert producers[0].closed
        wait_for("another producer", lambda: len(producers) == 2 and producers[1].known == ["t"])
        wait_for("its use", lambda: not isinstance(_outcome(publisher, producers[1]), Unavailable))


def _outcome(publisher: KafkaPublisher, producer: Producer) -> BaseException | None:
    sent = publisher.send([MESSAGE])
    for each in producer.sent:
        each.done(None)
    return sent.exception(PATIENCE_SECONDS)


def test_a_producer_that_does_nothing_is_given_up(producers: list[Producer]) -> None:
    with closing(KafkaPublisher(Settings(kafka="there:1", publish_timeout_ms=100))) as publisher:
        assert isinstance(publisher.send([MESSAGE]).exception(PATIENCE_SECONDS), Unavailable)
        wait_for("another producer", lambda: len(producers) > 1)
        assert producers[0].closed


def test_a_producer_that_is_closed_while_a_message_is_handed_to_it_is_unavailable(
    producers: list[Producer],
) -> None:
    """A worker that was stopped for long gives its producer up on one thread and sends on another."""
    with closing(KafkaPublisher(Settings(kafka="there:1", publish_timeout_ms=10**6))) as publisher:
        earlier = publisher.send([MESSAGE])

        def given_up() -> None:
            producers[0].sent[0].failed(KafkaTimeoutError("expired"))
            raise RuntimeError("NetworkSelector closed!")

        producers[0].on_send = given_up
        for sent in (publisher.send([MESSAGE, MESSAGE]), earlier):
            assert isinstance(sent.exception(PATIENCE_SECONDS), Unavailable)
        wait_for("another producer", lambda: len(producers) == 2)
        wait_for("its use", lambda: not isinstance(_outcome(publisher, producers[1]), Unavailable))


def test_a_producer_that_is_not_closed_hides_no_error(producers: list[Producer]) -> None:
    with closing(KafkaPublisher(Settings(kafka="there:1", publish_timeout_ms=10**6))) as publisher:
        producers[0].refused = RuntimeError("a mistake")
        with pytest.raises(RuntimeError, match="a mistake"):
            publisher.send([MESSAGE])


def test_a_message_that_is_refused_at_once_takes_no_other_with_it(producers: list[Producer]) -> None:
    with closing(KafkaPublisher(Settings(kafka="there:1", publish_timeout_ms=10**6))) as publisher:
        other = publisher.send([MESSAGE])
        producers[0].refused = MessageSizeTooLargeError("too large")
        error = publisher.send([MESSAGE]).exception(PATIENCE_SECONDS)
        assert isinstance(error, MessageSizeTooLargeError), "the reason is not hidden"
        assert not producers[0].closed
        producers[0].sent[0].done(None)
        assert other.exception(PATIENCE_SECONDS) is None


def test_an_opening_that_fails_in_any_way_is_tried_again(
    producers: list[Producer], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(KafkaPublisher(Settings(kafka="there:1", publish_timeout_ms=10**6))) as publisher:
        tried: list[object] = []

        def out_of_files(**options: object) -> Any:
            tried.append(options)
            raise OSError(24, "Too many open files")

        with monkeypatch.context() as broken:
            broken.setattr(module, "KafkaProducer", out_of_files)
            first = publisher.send([MESSAGE])
            producers[0].sent[0].failed(KafkaTimeoutError("expired"))
            assert isinstance(first.exception(PATIENCE_SECONDS), Unavailable)
            wait_for("an attempt", lambda: tried)
            assert isinstance(publisher.send([MESSAGE]).exception(PATIENCE_SECONDS), Unavailable)

        def published() -> bool:
            sent = publisher.send([MESSAGE])
            for each in producers[-1].sent:
                each.done(None)
            return sent.exception(PATIENCE_SECONDS) is None

        wait_for("another producer", published)


def test_the_time_of_a_large_delivery_begins_when_it_has_been_handed_over(producers: list[Producer]) -> None:
    with closing(KafkaPublisher(Settings(kafka="there:1", publish_timeout_ms=10**6))) as publisher:
        waiting: list[int] = []
        producers[0].on_send = lambda: waiting.append(len(publisher._sent))
        sent = publisher.send([MESSAGE] * 3)
        assert waiting == [0, 0, 0]
        for each in producers[0].sent:
            each.done(None)
        assert sent.exception(PATIENCE_SECONDS) is None


def test_a_publisher_that_nobody_has_any_more_is_not_kept(producers: list[Producer]) -> None:
    publisher = KafkaPublisher(Settings(kafka="there:1", publish_timeout_ms=100))
    gone = weakref.ref(publisher)
    del publisher

    def collected() -> bool:
        gc.collect()
        return gone() is None

    wait_for("its end", collected)
    assert len(producers) == 1
