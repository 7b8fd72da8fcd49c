"""The Publisher on kafka-python."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import lru_cache
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError, UnknownTopicOrPartitionError
from kafka.partitioner.default import DefaultPartitioner, murmur2

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.python_client.reader import LASTING, MAX_MESSAGE_BYTES, connection, reaching_brokers
from shared.runtime.protocols import Message
from shared.settings import Settings

log = logging.getLogger(__name__)

# Long enough for the first message after an outage to be published by brokers that answer.
_OPENING_SECONDS = 1.0


class KafkaPublisher:
    """An idempotent publisher that waits for the acknowledgement of all replicas.

    A producer of kafka-python 3.0.12 never publishes again after a batch has expired or was refused. So a failed
    producer is replaced before the next message. Opening one takes as long as Kafka is unavailable, and happens on
    its own thread: callers of ``send`` get Unavailable within a second.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._failed: Any = None
        self._opening: _Opening | None = None
        self._closed = False
        self._producer: Any = self._open()

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
            self._failed = producer
            delivery.failed(error)

        for message in messages:
            try:
                sent = producer.send(
                    message.topic, message.value, message.key, list(message.headers), message.partition
                )
            except KafkaError as error:
                failed(error)
                break
            except ValueError:
                # A producer learns of added partitions within half a minute, or when it requests the metadata.
                producer._metadata.request_update()
                delivery.failed(UnknownTopicOrPartitionError())
                break
            sent.add_callback(delivery.arrived)
            sent.add_errback(failed)
        return delivery.future

    def _producer_or_new(self) -> KafkaProducer:
        with self._lock:
            if self._producer is not self._failed:
                return self._producer
            if self._opening is None:
                self._opening = _Opening(threading.Thread(target=self._replace, daemon=True), time.monotonic())
                self._opening.thread.start()
            opening = self._opening
        opening.thread.join(max(0.0, opening.since + _OPENING_SECONDS - time.monotonic()))
        with self._lock:
            if self._producer is self._failed:
                raise Unavailable("Kafka: no broker can be reached to publish to")
            return self._producer

    def _replace(self) -> None:
        old, producer = self._producer, None
        try:
            producer = self._open()
        except (Unavailable, ConfigurationError) as error:
            log.debug("no new publisher yet: %s", error)
        with self._lock:
            self._opening = None
            if producer is not None and not self._closed:
                self._producer, self._failed = producer, None
                producer = None
        # Messages still in the old producer fail as well; their senders publish them again.
        _close(old if producer is None else producer, 0)

    def close(self) -> None:
        with self._lock:
            self._closed = True
        _close(self._producer, 0 if self._producer is self._failed else 5)


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
        self._lock = threading.Lock()
        if not expected:
            self.future.set_result(None)

    def arrived(self, _: object) -> None:
        with self._lock:
            self._missing -= 1
            done = self._missing == 0 and not self.future.done()
        if done:
            self.future.set_result(None)

    def failed(self, error: BaseException) -> None:
        with self._lock:
            # Later acknowledgements cannot complete it: that of the failed message is missing.
            done = not self.future.done() and self._missing >= 0
            self._missing = -1
        if done:
            self.future.set_exception(
                error if isinstance(error, LASTING) else Unavailable(f"Kafka: {type(error).__name__}")
            )
