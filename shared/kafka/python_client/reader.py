"""The Reader on kafka-python, and what other clients on kafka-python share with it."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, TopicPartition
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

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.python_client.assignor import EvenAssignor
from shared.kafka.python_client.headers import read_any_header_name
from shared.kafka.python_client.membership import JOIN_MS, Membership
from shared.runtime.protocols import Partition, Polled, Record
from shared.settings import Settings

log = logging.getLogger(__name__)

# Room for the largest record of the input topics and the headers of its dead letter.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024
CLOSE_MS = 5_000
#: Errors that a retry cannot mend.
LASTING = (AuthorizationError, InvalidTopicError, MessageSizeTooLargeError, RecordListTooLargeError)


def connection(settings: Settings) -> dict[str, Any]:
    """The part of a client configuration that states where the brokers are and how to connect to them."""
    if settings.kafka is None:
        raise ConfigurationError("KITH_KAFKA is not set; set it to the addresses of the brokers")
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


def open_outside(settings: Settings, **options: Any) -> KafkaConsumer:
    """A consumer outside any group that reads committed records. ``options`` are kafka-python's. Raises
    Unavailable and ConfigurationError."""
    read_any_header_name()
    with reaching_brokers():
        return KafkaConsumer(
            **connection(settings),
            metrics_enabled=False,
            group_id=None,
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


def open_member(settings: Settings, service: str, topics: Sequence[str], **options: Any) -> KafkaConsumer:
    """A consumer of the group ``<group>.<service>``, not subscribed yet. Raises Unavailable, also when a topic is
    missing, and ConfigurationError."""
    with reaching_brokers():
        consumer = KafkaConsumer(
            **connection(settings),
            metrics_enabled=False,
            group_id=f"{settings.group}.{service}",
            enable_auto_commit=False,
            partition_assignment_strategy=(EvenAssignor,),
            max_poll_interval_ms=settings.max_poll_interval_ms,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=min(3_000, settings.session_timeout_ms // 3),
            allow_auto_create_topics=False,
            **options,
        )
        # kafka-python may join the group before it knows the topics' partitions, and then assign none: a metadata
        # request that was already in flight answers for the new one. So the partitions are fetched first.
        check_topics(consumer, topics)
    return consumer


def check_topics(consumer: Any, topics: Sequence[str]) -> None:
    """Check that the topics exist. Otherwise close the consumer, and raise Unavailable."""
    if missing := [topic for topic in topics if not consumer.partitions_for_topic(topic)]:
        consumer.close(autocommit=False, timeout_ms=CLOSE_MS)
        raise Unavailable(f"Kafka has no topic {', '.join(missing)}; `kith topics create` makes it")


class KafkaReader:
    """A member of the group ``<group>.<service>`` that reads ``topics`` from positions stored elsewhere."""

    _membership: Membership | None

    def __init__(self, settings: Settings, service: str, topics: Sequence[str]) -> None:
        read_any_header_name()
        self._consumer = open_member(
            settings,
            service,
            topics,
            # A position outside the log must be an error, not a silent start from the beginning.
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_poll_records=settings.slice_events,
            # kafka-python leaves partitions with buffered records out of a fetch, and has one fetch in flight.
            # While that waits for idle partitions, nothing is fetched from the busy ones.
            fetch_max_wait_ms=20,
        )
        #: The offset after the last record returned by poll.
        self._delivered: dict[TopicPartition, int] = {}
        self._membership = Membership(self._consumer, topics)

    def poll(self, timeout_ms: int) -> Polled:
        self._unpark()
        member = self._membership
        assert member is not None
        if member.joining():
            # A join lasts until every member has joined, or the session of a dead one has expired. kafka-python
            # 3.0.12 fetches nothing meanwhile, so this does: the partitions are still this member's.
            found = self._fetch(JOIN_MS) or self._fetch_while_joining(timeout_ms)
        else:
            found = self._fetch(timeout_ms)
        member.joining()
        revoked, assigned = member.take()
        stale = revoked | assigned
        records = {partition: batch for partition, batch in found.items() if partition not in stale}
        member.commit_mirrored()
        return Polled(revoked, assigned, records)

    def waiting_since(self) -> float | None:
        return None if self._membership is None else self._membership.waiting_since

    def _fetch_while_joining(self, timeout_ms: int) -> dict[Partition, list[Record]]:
        consumer = self._consumer
        most = consumer.config["max_poll_records"]

        def fetch() -> Any:
            found, idle = consumer._fetcher.fetch_records(most, timeout_ms=timeout_ms)
            if not found and idle:
                time.sleep(min(timeout_ms, 50) / 1000)
            return found

        return self._received(fetch)

    def _fetch(self, timeout_ms: int) -> dict[Partition, list[Record]]:
        return self._received(lambda: self._consumer.poll(timeout_ms=timeout_ms))

    def _received(self, fetch: Callable[[], Any]) -> dict[Partition, list[Record]]:
        try:
            found = fetch()
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
            first = self._consumer.beginning_offsets([tp])[tp]
            end = self._consumer.end_offsets([tp])[tp]
        start = first if offset is None else offset
        if not first <= start <= end:
            raise ConfigurationError(
                f"{partition}: the next offset is {start}, but the log holds {first} to {end}. Was the topic "
                "recreated, or did retention delete unread records?"
            )
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
        if self._membership is not None:
            self._membership.mirror(positions)

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_MS)
