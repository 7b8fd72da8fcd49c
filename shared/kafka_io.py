"""The Reader and the Publisher on kafka-python."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, NamedTuple

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    AuthorizationError,
    IllegalStateError,
    InvalidTopicError,
    KafkaConfigurationError,
    KafkaError,
    LogTruncationError,
    MessageSizeTooLargeError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RecordListTooLargeError,
)
from kafka.structs import OffsetAndMetadata

from shared.errors import ConfigurationError, Unavailable
from shared.protocols import Message, Partition, Polled, Record
from shared.settings import Settings

log = logging.getLogger(__name__)

# Room for a record of the input topics' largest size plus the headers of its dead letter.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024
_MIRROR_SECONDS = 1.0
_LOOK_SECONDS = 30.0
# Long enough for brokers that answer, so that the first message after an outage is published.
_OPENING_SECONDS = 1.0
_LASTING = (AuthorizationError, InvalidTopicError, MessageSizeTooLargeError, RecordListTooLargeError)


def connection(settings: Settings) -> dict[str, Any]:
    """The part of a client's configuration that says where the brokers are and how to talk to them."""
    if settings.kafka is None:
        raise ConfigurationError("KITH_KAFKA is not set: where are the brokers?")
    password = settings.kafka_password
    return {
        "bootstrap_servers": settings.kafka.split(","),
        "security_protocol": settings.kafka_security_protocol,
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": password.get_secret_value() if password else None,
        "ssl_cafile": settings.kafka_ca_file,
        "ssl_certfile": settings.kafka_cert_file,
        "ssl_keyfile": settings.kafka_key_file,
        "client_id": "kith",
        # New partitions are seen within half a minute.
        "metadata_max_age_ms": 30_000,
        "reconnect_backoff_max_ms": 1_000,
    }


@contextmanager
def reaching_brokers() -> Iterator[None]:
    """kafka-python's errors as Kith's: Unavailable, or ConfigurationError where trying again will not help."""
    try:
        yield
    except (KafkaConfigurationError, *_LASTING) as error:
        raise ConfigurationError(f"Kafka: {error}") from error
    except KafkaError as error:
        raise Unavailable(f"Kafka: {type(error).__name__}: {error}") from error


class KafkaPublisher:
    """Publishes with acknowledgement of all replicas, idempotently.

    A producer of kafka-python 3.0.12 never publishes again after a batch that expired or was refused, so one
    that has failed is replaced before the next message. Opening one takes as long as the brokers are away, and
    happens in a thread of its own: whoever sends meanwhile hears of it within a second.
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
            )

    def send(self, messages: Sequence[Message]) -> Future[None]:
        delivery = _Delivery(len(messages))
        try:
            producer = self._working()
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
            sent.add_callback(delivery.arrived)
            sent.add_errback(failed)
        return delivery.future

    def _working(self) -> KafkaProducer:
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
        # What the old one still holds fails as well, and is published again by whoever sent it.
        _close(old if producer is None else producer, 0)

    def close(self) -> None:
        with self._lock:
            self._closed = True
        _close(self._producer, 0 if self._producer is self._failed else 5)


class _Opening(NamedTuple):
    thread: threading.Thread
    since: float


def _close(producer: KafkaProducer, seconds: float) -> None:
    """What is not acknowledged by then fails."""
    try:
        producer.close(timeout=seconds)
    except KafkaError as error:
        log.debug("closed with messages on their way: %s", error)
        # kafka-python 3.0.12 has not closed it then: its thread would go on, and hold its sockets.
        producer._sender.force_close()
        producer._closed = True


class _Delivery:
    """Counts acknowledgements: one future for many messages. Called from the producer's thread."""

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
            # Never done by arrival afterwards: this message's own acknowledgement stays out.
            done = not self.future.done() and self._missing >= 0
            self._missing = -1
        if done:
            self.future.set_exception(
                error if isinstance(error, _LASTING) else Unavailable(f"Kafka: {type(error).__name__}")
            )


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes what comes and goes. Runs on the client's I/O thread, where nothing may block."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._lock = threading.Lock()
        self._revoked: set[Partition] = set()
        self._assigned: set[Partition] = set()

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        gone = {Partition(tp.topic, tp.partition) for tp in revoked}
        with self._lock:
            self._revoked |= gone
            self._assigned -= gone

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.on_partitions_revoked(lost)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        for tp in assigned:
            self._consumer.pause(tp)
            # A position of some kind, lest poll() goes looking for a committed one; start() sets the true one.
            self._consumer.seek(tp, 0)
        with self._lock:
            self._assigned |= {Partition(tp.topic, tp.partition) for tp in assigned}

    def take(self) -> tuple[frozenset[Partition], frozenset[Partition]]:
        with self._lock:
            revoked, assigned = frozenset(self._revoked), frozenset(self._assigned)
            self._revoked.clear()
            self._assigned.clear()
        return revoked, assigned


class KafkaReader:
    """A member of the group ``<group>.<service>`` that reads ``topics`` from positions kept elsewhere."""

    def __init__(self, settings: Settings, service: str, topics: Sequence[str]) -> None:
        with reaching_brokers():
            self._consumer = KafkaConsumer(
                **connection(settings),
                metrics_enabled=False,
                group_id=f"{settings.group}.{service}",
                enable_auto_commit=False,
                # A position outside the log must be heard of, not turned into a start from the beginning.
                auto_offset_reset="none",
                isolation_level="read_committed",
                partition_assignment_strategy=(CooperativeStickyAssignor,),
                max_poll_records=settings.slice_events,
                max_poll_interval_ms=settings.max_poll_interval_ms,
                session_timeout_ms=settings.session_timeout_ms,
                heartbeat_interval_ms=min(3_000, settings.session_timeout_ms // 3),
                fetch_max_wait_ms=100,
                allow_auto_create_topics=False,
            )
            # kafka-python may join the group before it knows the topics' partitions (a metadata request that was
            # under way already answers for the new one) and then share out nothing; so they are fetched first.
            missing = [topic for topic in topics if not self._consumer.partitions_for_topic(topic)]
        if missing:
            self._consumer.close(autocommit=False)
            raise Unavailable(f"Kafka has no topic {', '.join(missing)}; `kith topics create` makes it")
        self._listener = _Listener(self._consumer)
        self._consumer.subscribe(topics=list(topics), listener=self._listener)
        self._unmirrored: dict[TopicPartition, OffsetAndMetadata] = {}
        self._mirrored_at = 0.0

    def poll(self, timeout_ms: int) -> Polled:
        self._unpark()
        coordinator = self._consumer._coordinator
        if getattr(coordinator, "rejoining", False):
            # kafka-python 3.0.12 forgets a join that ends between two polls, and then reads on as no member of
            # the group: so it is asked for again, and waited for.
            coordinator.rejoin_needed = True
            timeout_ms = max(timeout_ms, 1_000)
        try:
            found = self._consumer.poll(timeout_ms=timeout_ms)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError, LogTruncationError) as error:
            raise ConfigurationError(f"the log does not reach where reading should go on: {error}") from error
        except KafkaError as error:
            if not error.retriable:
                raise
            # A broker that goes away in the wrong moment, while the group is joined. Not in a busy loop.
            log.debug("nothing could be read: %s", error)
            time.sleep(0.1)
            found = {}
        revoked, assigned = self._listener.take()
        stale = revoked | assigned
        records = {
            partition: [_record(partition, found) for found in batch]
            for tp, batch in found.items()
            if (partition := Partition(tp.topic, tp.partition)) not in stale
        }
        self._mirror()
        return Polled(revoked, assigned, records)

    def start(self, partition: Partition, offset: int | None) -> tuple[int, int]:
        tp = TopicPartition(*partition)
        with reaching_brokers():
            first = self._consumer.beginning_offsets([tp])[tp]
            end = self._consumer.end_offsets([tp])[tp]
        start = first if offset is None else offset
        if not first <= start <= end:
            raise ConfigurationError(
                f"{partition}: reading should go on at {start}, but the log holds {first} to {end}. Was the topic "
                "recreated, or did retention delete what was not read yet?"
            )
        try:
            self._consumer.seek(tp, start)
            self._consumer.resume(tp)
        except (ValueError, KeyError):
            log.debug("%s was revoked meanwhile", partition)
        return first, start

    def pause(self, partitions: Iterable[Partition]) -> None:
        self._consumer.pause(*self._mine(partitions))

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._consumer.resume(*self._mine(partitions))

    def _unpark(self) -> None:
        """Let records that were fetched before a pause come back.

        kafka-python 3.0.12 restores them, one partition a poll, only when its current batch is None, which it
        stays not to be once it is drained; meanwhile it does not fetch the partition either, so that it is never
        read again.
        """
        fetcher = self._consumer._fetcher
        if not getattr(fetcher, "_next_partition_records", True):
            fetcher._next_partition_records = None

    def _mine(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        assignment = self._consumer.assignment()
        return [tp for partition in partitions if (tp := TopicPartition(*partition)) in assignment]

    def end(self, partition: Partition) -> int | None:
        tp = TopicPartition(*partition)
        try:
            known: int | None = self._consumer.highwater(tp)
        except (IllegalStateError, KeyError):
            return None  # revoked meanwhile
        return known

    def mirror(self, positions: Mapping[Partition, int]) -> None:
        for partition, offset in positions.items():
            self._unmirrored[TopicPartition(*partition)] = OffsetAndMetadata(offset, "", -1)

    def _mirror(self) -> None:
        if self._unmirrored and time.monotonic() - self._mirrored_at > _MIRROR_SECONDS:
            self._mirrored_at = time.monotonic()
            assignment = self._consumer.assignment()
            offsets = {tp: offset for tp, offset in self._unmirrored.items() if tp in assignment}
            self._unmirrored = {}
            try:
                self._consumer.commit_async(offsets)
            except KafkaError as error:
                log.debug("positions not shown to Kafka: %s", error)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5_000)


class KafkaProbe:
    """Asks the brokers whether they are there, for readiness checks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin: KafkaAdminClient | None = None
        self._lock = threading.Lock()

    def problems(self, topics: Iterable[str]) -> list[str]:
        """Why nothing can be published to these topics now; nothing when it can."""
        with self._lock:
            try:
                with reaching_brokers():
                    if self._admin is None:
                        self._admin = KafkaAdminClient(
                            **connection(self._settings), request_timeout_ms=2_000, bootstrap_timeout_ms=2_000
                        )
                    missing = set(topics) - set(self._admin.list_topics())
            except Unavailable:
                self._forget()
                return ["the Kafka brokers cannot be reached"]
        return [f"there is no topic {name}" for name in sorted(missing)]

    def close(self) -> None:
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None


class KafkaTail:
    """Reads what is published from now on, in all partitions of ``topics``, as a member of no group."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        with reaching_brokers():
            self._consumer = KafkaConsumer(
                **connection(settings),
                metrics_enabled=False,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="latest",
                isolation_level="read_committed",
                fetch_max_wait_ms=100,
                allow_auto_create_topics=False,
            )
        self._topics = list(topics)
        self._looked_at = 0.0
        self._assigned: set[TopicPartition] = set()

    def poll(self, timeout_ms: int) -> list[Record]:
        """What has come since the last call. Raises Unavailable."""
        with reaching_brokers():
            if time.monotonic() - self._looked_at > _LOOK_SECONDS:
                self._look()
            found = self._consumer.poll(timeout_ms=timeout_ms)
        return [_record(Partition(tp.topic, tp.partition), r) for tp, batch in found.items() for r in batch]

    def skip(self) -> None:
        """Leave out what has come since the last call. Raises Unavailable."""
        with reaching_brokers():
            self._look()
            for tp, offset in self._consumer.end_offsets(list(self._assigned)).items():
                self._consumer.seek(tp, offset)

    def _look(self) -> None:
        """Take in partitions that have been added. They are read from their beginning, the first ones from
        their end."""
        self._looked_at = time.monotonic()
        present = {
            TopicPartition(topic, number)
            for topic in self._topics
            for number in self._consumer.partitions_for_topic(topic) or ()
        }
        if new := present - self._assigned:
            known = {tp: self._consumer.position(tp) for tp in self._assigned}
            self._consumer.assign(list(present))
            starts = (
                self._consumer.beginning_offsets(list(new)) if known else self._consumer.end_offsets(list(new))
            )
            for tp, offset in {**known, **starts}.items():
                self._consumer.seek(tp, offset)
            self._assigned = present

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5_000)


def _record(partition: Partition, found: Any) -> Record:
    # Kafka knows headers without a value; nothing here tells them from empty ones.
    headers = tuple((name, value or b"") for name, value in found.headers or ())
    return Record(partition, found.offset, found.timestamp, found.key, found.value, headers)
