"""The Publisher on kafka-python."""

import gc
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

from kafka import KafkaProducer, TopicPartition
from kafka import __version__ as _version
from kafka.errors import KafkaError, KafkaTimeoutError, UnknownTopicOrPartitionError
from kafka.partitioner.default import DefaultPartitioner, murmur2

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.python_client.reader import LASTING, MAX_MESSAGE_BYTES, connection, reaching_brokers
from shared.runtime.protocols import Message
from shared.settings import Settings

log = logging.getLogger(__name__)

# Long enough for the first message after an outage to be published by brokers that answer.
_OPENING_SECONDS = 1.0
#: A message of so many bytes is never too large.
_ORDINARY_BYTES = 64 * 1024
#: Whether this version's accumulator is the one that ``_append`` was written for.
_KNOWN = _version.startswith("3.0.")
#: After so many times the time that a publication may take, the producer must have failed it itself.
_OVERDUE = 1.5
_LOOK_SECONDS = 1.0


class KafkaPublisher:
    """An idempotent publisher that waits for the acknowledgement of all replicas.

    A producer of kafka-python 3.0.12 never publishes again after a batch has expired or was refused: it gives up
    its id and asks for no other. Nor does it ever fail what else it holds. So a failed producer is closed at once,
    which fails that, and replaced. Opening one takes as long as Kafka is unavailable, and happens on its own
    thread: callers of ``send`` get Unavailable within a second. One that does nothing has failed once a message
    is overdue.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._failed: Any = None
        self._opening: _Opening | None = None
        self._closed = threading.Event()
        self._producer: Any = self._open()
        #: What was sent and not known to have ended, and when it is overdue.
        self._sent: deque[tuple[float, _Delivery, Callable[[BaseException], None]]] = deque()
        seconds = min(_LOOK_SECONDS, settings.publish_timeout_ms / 1000)
        watch = (weakref.ref(self), self._closed, seconds)
        threading.Thread(target=_watch, args=watch, name="kafka-overdue", daemon=True).start()

    def _open(self) -> KafkaProducer:
        timeout = self._settings.publish_timeout_ms
        with reaching_brokers():
            return KafkaProducer(
                **connection(self._settings),
                metrics_enabled=False,
                bootstrap_timeout_ms=max(timeout, 1_000),
                acks="all",
                enable_idempotence=True,
                linger_ms=5,
                batch_size=128 * 1024,
                compression_type="lz4",
                max_request_size=MAX_MESSAGE_BYTES,
                max_block_ms=min(timeout, 5_000),
                delivery_timeout_ms=timeout,
                request_timeout_ms=max(timeout // 2, 50),
                allow_auto_create_topics=False,
                partitioner=_ByKey(),
            )

    def send(self, messages: Sequence[Message]) -> Future[None]:
        delivery = _Delivery(len(messages))
        try:
            producer = self._producer_or_new()
        except Unavailable as error:
            delivery.future.set_exception(error)
            return delivery.future

        def failed(error: BaseException) -> None:
            # Closing the producer fails the rest of this delivery, too: what came first is the reason.
            error = delivery.first(error)
            self._give_up(producer)
            delivery.failed(error)

        for message in messages:
            try:
                sent = _append(producer, message) or producer.send(
                    message.topic, message.value, message.key, list(message.headers), message.partition
                )
            except LASTING as error:
                # Refused before it was taken. The producer is as good as before.
                delivery.failed(error)
                break
            except KafkaError as error:
                failed(error)
                break
            except ValueError:
                # A producer learns of added partitions within half a minute, or when it requests the metadata.
                with suppress(RuntimeError):  # it is closed
                    producer._metadata.request_update()
                delivery.failed(UnknownTopicOrPartitionError())
                break
            except RuntimeError as error:
                # kafka-python 3.0.12 answers so whoever sends while another thread closes the producer.
                if not self._is_given_up(producer):
                    raise
                failed(error)
                break
            sent.add_callback(delivery.arrived)
            sent.add_errback(failed)
        if not delivery.future.done():
            # From now on: a large delivery takes long to hand over, and each message has its own time.
            overdue = _OVERDUE * self._settings.publish_timeout_ms / 1000
            self._sent.append((time.monotonic() + overdue, delivery, failed))
        return delivery.future

    def _producer_or_new(self) -> KafkaProducer:
        with self._lock:
            if self._producer is not self._failed:
                return self._producer
            opening = self._begin_opening()
        opening.thread.join(max(0.0, opening.since + _OPENING_SECONDS - time.monotonic()))
        with self._lock:
            if self._producer is self._failed:
                raise Unavailable("Kafka: no broker can be reached to publish to")
            return self._producer

    def _give_up(self, producer: KafkaProducer) -> None:
        """Replace the producer. Whatever it still holds fails."""
        with self._lock:
            if producer is self._producer and producer is not self._failed and not self._closed.is_set():
                self._failed = producer
                self._begin_opening()

    def _is_given_up(self, producer: KafkaProducer) -> bool:
        with self._lock:
            return self._closed.is_set() or producer is self._failed or producer is not self._producer

    def _begin_opening(self) -> "_Opening":
        if self._opening is None:
            opening = _Opening(threading.Thread(target=self._replace, daemon=True), time.monotonic())
            opening.thread.start()
            self._opening = opening
        return self._opening

    def _replace(self) -> None:
        old, producer = self._producer, None
        try:
            # Messages still in it fail as well; their senders publish them again.
            _close(old, 0)
            producer = self._open()
            _know(producer, old._metadata)
        except (Unavailable, ConfigurationError) as error:
            log.debug("no new publisher yet: %s", error)
            # kafka-python 3.0.12 leaves the sockets of one that could not be opened to the collector of cycles.
            gc.collect()
        except Exception:
            # The next message tries again. Otherwise nothing would ever be published.
            log.exception("no new publisher yet")
        with self._lock:
            self._opening = None
            if producer is not None and not self._closed.is_set():
                self._producer, self._failed = producer, None
                producer = None
        if producer is not None:
            _close(producer, 0)

    def _expire(self) -> None:
        """kafka-python 3.0.12 watches the time of messages only while it has an id and no question of its own."""
        now = time.monotonic()
        for _ in range(len(self._sent)):
            overdue, delivery, failed = self._sent.popleft()
            if delivery.future.done():
                continue
            if overdue <= now:
                failed(KafkaTimeoutError())
            else:
                self._sent.append((overdue, delivery, failed))

    def close(self) -> None:
        with self._lock:
            self._closed.set()
        _close(self._producer, 0 if self._producer is self._failed else 5)


def _watch(publisher: "weakref.ref[KafkaPublisher]", closed: threading.Event, seconds: float) -> None:
    """Look for what is overdue, until the publisher is closed, or nobody has it any more and its end closes it."""
    while not closed.wait(seconds):
        if (found := publisher()) is None:
            return
        found._expire()
        del found


def _append(producer: KafkaProducer, message: Message) -> Any:
    """What ``producer.send`` does and returns for an ordinary message, at two thirds of the cost: that method of
    kafka-python 3.0.12 checks types, estimates the size, and describes itself to a log that is off. None for any
    other message, and with another version, which may keep messages otherwise: it is then not sent."""
    topic, key, value, partition, headers = message
    if not _KNOWN or key is None or value is None or headers or len(key) + len(value) > _ORDINARY_BYTES:
        return None
    numbers = producer._metadata.partitions_for_topic(topic)
    if not numbers or not (partition is None or partition in numbers) or producer._closed:
        return None
    place = _place(topic, _hash(key) % len(numbers) if partition is None else partition)
    sent, full, new, _ = producer._accumulator.append(place, None, key, value, [])
    if full or new:
        producer._sender.wakeup()
    return sent


_place = lru_cache(4_096)(TopicPartition)


class _ByKey(DefaultPartitioner):  # type: ignore[misc]  # it has no types
    """kafka-python's partitioner, with a cache of its hashes. A hash in Python takes as long as validating an
    event, and the same consumers occur again and again."""

    def partition(
        self, topic: str, key: Any, serialized_key: bytes | None, value: Any, serialized_value: Any, cluster: Any
    ) -> int:
        partitions = cluster.partitions_for_topic(topic)
        if serialized_key is None or not partitions:
            found: int = super().partition(topic, key, serialized_key, value, serialized_value, cluster)
            return found
        return _hash(serialized_key) % len(partitions)


@lru_cache(20_000)
def _hash(key: bytes) -> int:
    hash: int = murmur2(key)
    return hash & 0x7FFFFFFF


class _Opening(NamedTuple):
    thread: threading.Thread
    since: float


def _know(producer: KafkaProducer, metadata: Any) -> None:
    """Let the producer know the topics that ``metadata`` does. Its first message to another one has to wait."""
    topics = metadata.topics()
    for topic in topics:
        producer._sender.add_topic(topic)
    try:
        for topic in topics:
            producer.partitions_for(topic)
    except KafkaError as error:
        log.debug("a topic is not known yet: %s", error)


def _close(producer: KafkaProducer, seconds: float) -> None:
    """Close the producer within ``seconds``. Messages that are not acknowledged by then fail."""
    try:
        producer.close(timeout=seconds)
    except KafkaError as error:
        log.debug("closed with unacknowledged messages: %s", error)
        # kafka-python 3.0.12 then leaves the producer open: its thread would continue, and keep its sockets.
        producer._sender.force_close()
        producer._closed = True


class _Delivery:
    """Counts acknowledgements: one future for many messages. Called on the producer's thread."""

    def __init__(self, expected: int) -> None:
        self.future: Future[None] = Future()
        self._missing = expected
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        if not expected:
            self.future.set_result(None)

    def arrived(self, _: object) -> None:
        with self._lock:
            self._missing -= 1
            done = self._missing == 0 and not self.future.done()
        if done:
            self.future.set_result(None)

    def first(self, error: BaseException) -> BaseException:
        """The error that came first, which is this one if none has."""
        with self._lock:
            self._error = self._error or error
            return self._error

    def failed(self, error: BaseException) -> None:
        with self._lock:
            # Later acknowledgements cannot complete it: that of the failed message is missing.
            done = not self.future.done() and self._missing > 0
            self._missing = -1
        if done:
            self.future.set_exception(
                error if isinstance(error, LASTING) else Unavailable(f"Kafka: {type(error).__name__}")
            )
