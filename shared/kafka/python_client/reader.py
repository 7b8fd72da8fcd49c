"""The Reader on kafka-python, and what other clients on kafka-python share with it."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
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

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.bounds import ANSWER_SECONDS, LogBounds
from shared.kafka.python_client.compiling import compile_one_at_a_time
from shared.kafka.python_client.headers import read_any_header_name
from shared.kafka.python_client.joining import EvenAssignor, joining, read_while_joining
from shared.kafka.python_client.opening import opened
from shared.kafka.python_client.pace import Pace
from shared.kafka.python_client.silence import REQUEST_TIMEOUT_MS, avoid_silent_brokers, ends_in_time
from shared.runtime.protocols import Partition, Polled, Record
from shared.settings import Settings

log = logging.getLogger(__name__)

# Room for the largest record of the input topics and the headers of its dead letter.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024
_MIRROR_SECONDS = 1.0
#: Errors that a retry cannot mend.
LASTING = (AuthorizationError, InvalidTopicError, MessageSizeTooLargeError, RecordListTooLargeError)


def connection(settings: Settings) -> dict[str, Any]:
    """The part of a client configuration that states where the brokers are and how to connect to them."""
    if settings.kafka is None:
        raise ConfigurationError("KITH_KAFKA is not set; set it to the addresses of the brokers")
    avoid_silent_brokers()
    compile_one_at_a_time()
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
        # New partitions are detected within half a minute.
        "metadata_max_age_ms": 30_000,
        "reconnect_backoff_max_ms": 1_000,
    }


@contextmanager
def reaching_brokers() -> Iterator[None]:
    """Translates kafka-python's errors: to ConfigurationError where a retry cannot help, otherwise to
    Unavailable."""
    try:
        yield
    except (KafkaConfigurationError, *LASTING) as error:
        raise ConfigurationError(f"Kafka: {error}") from error
    except KafkaError as error:
        raise Unavailable(f"Kafka: {type(error).__name__}: {error}") from error


def partitions_of(client: Any, topics: Iterable[str]) -> list[TopicPartition]:
    """All partitions of ``topics``, in order. ``client`` is a KafkaConsumer. Raises Unavailable."""
    with reaching_brokers():
        return [
            TopicPartition(topic, number)
            for topic in topics
            for number in sorted(client.partitions_for_topic(topic) or ())
        ]


def open_consumer(settings: Settings, group: str | None = None, **options: Any) -> KafkaConsumer:
    """A consumer of ``group``, or outside any, that reads committed records and commits nothing by itself.
    ``options`` are kafka-python's. Raises Unavailable and ConfigurationError."""
    read_any_header_name()
    with reaching_brokers():
        return opened(
            KafkaConsumer,
            **connection(settings),
            metrics_enabled=False,
            group_id=group,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            enable_auto_commit=False,
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            **options,
        )


def record_of(partition: Partition, found: Any) -> Record:
    """Converts a record of kafka-python."""
    # Kafka distinguishes a header without value from an empty one; Kith does not.
    headers = tuple((name, value or b"") for name, value in found.headers) if found.headers else ()
    return Record(partition, found.offset, found.timestamp, found.key, found.value, headers)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Records assignments and revocations. Runs on the client's I/O thread, where nothing may block."""

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
        # kafka-python 3.0.12 still claims lost partitions when it rejoins. The group's leader then leaves them
        # assigned to it, and it never revokes them, because it does not hold them. Nobody would read them until
        # the next rebalance.
        for assignor in self._consumer._coordinator._assignors.values():
            assignor.member_assignment = None
        self.on_partitions_revoked(lost)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        for tp in assigned:
            self._consumer.pause(tp)
            # Some position is given, so that poll() does not look up a committed one. start() sets the right one.
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
    """A member of the group ``<group>.<service>`` that reads ``topics`` from positions stored elsewhere."""

    def __init__(self, settings: Settings, service: str, topics: Sequence[str]) -> None:
        self._consumer = open_consumer(
            settings,
            f"{settings.group}.{service}",
            # A position outside the log must be an error, not a silent start from the beginning.
            auto_offset_reset="none",
            partition_assignment_strategy=(EvenAssignor,),
            max_poll_records=settings.slice_events,
            max_poll_interval_ms=settings.max_poll_interval_ms,
            session_timeout_ms=settings.session_timeout_ms,
            # Members learn from it that another one joins.
            heartbeat_interval_ms=min(1_000, settings.session_timeout_ms // 3),
            fetch_max_wait_ms=20,
        )
        with reaching_brokers():
            # kafka-python may join the group before it knows the topics' partitions, and then assign none: a
            # metadata request that was already in flight answers for the new one. So the partitions are fetched
            # first.
            self._check(topics)
        self._pace = Pace(self._consumer)
        self._listener = _Listener(self._consumer)
        #: The offset after the last record returned by poll.
        self._delivered: dict[TopicPartition, int] = {}
        self._consumer.subscribe(topics=list(topics), listener=self._listener)
        read_while_joining(self._consumer)
        self._bounds = LogBounds()
        self._unmirrored: dict[TopicPartition, OffsetAndMetadata] = {}
        self._mirrored_at = 0.0

    def poll(self, timeout_ms: int) -> Polled:
        self._unpark()
        found = self._fetch(timeout_ms)
        revoked, assigned = self._listener.take()
        stale = revoked | assigned
        records = {partition: batch for partition, batch in found.items() if partition not in stale}
        self._mirror()
        return Polled(revoked, assigned, records)

    def _check(self, topics: Sequence[str]) -> None:
        """Check that the topics exist. Otherwise close, and raise Unavailable."""
        if missing := [topic for topic in topics if not self._consumer.partitions_for_topic(topic)]:
            self.close()
            raise Unavailable(f"Kafka has no topic {', '.join(missing)}; `kith topics create` makes it")

    def _fetch(self, timeout_ms: int) -> dict[Partition, list[Record]]:
        try:
            found = self._consumer.poll(timeout_ms=timeout_ms)
            self._pace.polled(found)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError, LogTruncationError) as error:
            raise ConfigurationError(f"the log does not contain the offset to continue at: {error}") from error
        except KafkaError as error:
            if not error.retriable:
                raise
            # A broker went away between two requests. The sleep prevents a busy loop.
            log.debug("nothing could be read: %s", error)
            time.sleep(0.1)
            return {}
        batches = {}
        for tp, batch in found.items():
            self._delivered[tp] = batch[-1].offset + 1
            partition = Partition(tp.topic, tp.partition)
            batches[partition] = [record_of(partition, record) for record in batch]
        return batches

    def start(self, partition: Partition, offset: int | None) -> tuple[int, int]:
        tp = TopicPartition(*partition)
        with reaching_brokers():
            first, end = ends_in_time(self._consumer, tp, ANSWER_SECONDS)
        start = first if offset is None else offset
        self._bounds.check(partition, start, first, end)
        self._pace.hurry()
        self._delivered[tp] = start
        try:
            self._consumer.seek(tp, start)
            self._consumer.resume(tp)
        except (ValueError, KeyError):
            log.debug("%s was revoked before its start", partition)
        return first, start

    def pause(self, partitions: Iterable[Partition]) -> None:
        self._consumer.pause(*self._still_assigned(partitions))

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._consumer.resume(*self._still_assigned(partitions))
        self._pace.hurry()

    def _unpark(self) -> None:
        """Return records that were fetched before a pause.

        kafka-python 3.0.12 restores them, one partition a poll, only when its current batch is None. A drained
        batch never becomes None. Meanwhile the partition is not fetched either, so it would never be read again.
        """
        fetcher = self._consumer._fetcher
        if not getattr(fetcher, "_next_partition_records", True):
            fetcher._next_partition_records = None

    def _still_assigned(self, partitions: Iterable[Partition]) -> list[TopicPartition]:
        assignment = self._consumer.assignment()
        return [tp for partition in partitions if (tp := TopicPartition(*partition)) in assignment]

    def end(self, partition: Partition) -> int | None:
        tp = TopicPartition(*partition)
        try:
            known: int | None = self._consumer.highwater(tp)
            position = self._consumer._subscription.assignment[tp].position
        except (IllegalStateError, KeyError):
            return None  # revoked since
        if known is not None and position is not None and position.offset >= known:
            # After the last record there may be transaction markers and aborted records.
            return self._delivered.get(tp, known)
        return known

    def mirror(self, positions: Mapping[Partition, int]) -> None:
        for partition, offset in positions.items():
            self._unmirrored[TopicPartition(*partition)] = OffsetAndMetadata(offset, "", -1)

    def _mirror(self) -> None:
        # Not while joining: the broker would take it for a member of the generation before.
        due = time.monotonic() - self._mirrored_at > _MIRROR_SECONDS
        if self._unmirrored and due and not joining(self._consumer):
            self._mirrored_at = time.monotonic()
            assignment = self._consumer.assignment()
            offsets = {tp: offset for tp, offset in self._unmirrored.items() if tp in assignment}
            self._unmirrored = {}
            try:
                self._consumer.commit_async(offsets)
            except KafkaError as error:
                log.debug("positions not committed to Kafka (they only show lag): %s", error)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5_000)
