"""The Reader on kafka-python, and what its other clients share."""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
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

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.python_client.headers import read_any_header_name
from shared.runtime.protocols import Partition, Polled, Record
from shared.settings import Settings

log = logging.getLogger(__name__)

# Room for a record of the input topics' largest size plus the headers of its dead letter.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024
_MIRROR_SECONDS = 1.0
#: What trying again does not help against.
LASTING = (AuthorizationError, InvalidTopicError, MessageSizeTooLargeError, RecordListTooLargeError)


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
    except (KafkaConfigurationError, *LASTING) as error:
        raise ConfigurationError(f"Kafka: {error}") from error
    except KafkaError as error:
        raise Unavailable(f"Kafka: {type(error).__name__}: {error}") from error


def partitions_of(client: Any, topics: Iterable[str]) -> list[TopicPartition]:
    """Every partition of ``topics`` that there is, in order. ``client`` is a KafkaConsumer. Raises Unavailable."""
    with reaching_brokers():
        return [
            TopicPartition(topic, number)
            for topic in topics
            for number in sorted(client.partitions_for_topic(topic) or ())
        ]


def open_outside(settings: Settings, **options: Any) -> KafkaConsumer:
    """A consumer that is in no group and reads what is committed. ``options`` are kafka-python's. Raises
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
    """A record of kafka-python's as Kith's."""
    # Kafka knows headers without a value; nothing here tells them from empty ones.
    headers = tuple((name, value or b"") for name, value in found.headers) if found.headers else ()
    return Record(partition, found.offset, found.timestamp, found.key, found.value, headers)


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
        # kafka-python 3.0.12 goes on claiming them when it joins again: the group's leader then keeps them for it,
        # it gives none back, because it has none, and nobody reads them until the group is shared out anew.
        for assignor in self._consumer._coordinator._assignors.values():
            assignor.member_assignment = None
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
        read_any_header_name()
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
                # It leaves out of a fetch what it has records of, and has one fetch under way: while that waits
                # for quiet partitions, nothing is read from the busy ones.
                fetch_max_wait_ms=20,
                allow_auto_create_topics=False,
            )
            # kafka-python may join the group before it knows the topics' partitions (a metadata request that was
            # under way already answers for the new one) and then share out nothing; so they are fetched first.
            self._check(topics)
        self._listener = _Listener(self._consumer)
        #: The offset after the last record that was handed out.
        self._delivered: dict[TopicPartition, int] = {}
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
        found = self._fetch(timeout_ms)
        revoked, assigned = self._listener.take()
        stale = revoked | assigned
        records = {partition: batch for partition, batch in found.items() if partition not in stale}
        self._mirror()
        return Polled(revoked, assigned, records)

    def _check(self, topics: Sequence[str]) -> None:
        """That the topics are there. Else closes, and raises Unavailable."""
        if missing := [topic for topic in topics if not self._consumer.partitions_for_topic(topic)]:
            self.close()
            raise Unavailable(f"Kafka has no topic {', '.join(missing)}; `kith topics create` makes it")

    def _fetch(self, timeout_ms: int) -> dict[Partition, list[Record]]:
        try:
            found = self._consumer.poll(timeout_ms=timeout_ms)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError, LogTruncationError) as error:
            raise ConfigurationError(f"the log does not reach where reading should go on: {error}") from error
        except KafkaError as error:
            if not error.retriable:
                raise
            # A broker that goes away in the wrong moment. Not in a busy loop.
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
                f"{partition}: reading should go on at {start}, but the log holds {first} to {end}. Was the topic "
                "recreated, or did retention delete what was not read yet?"
            )
        self._delivered[tp] = start
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
            position = self._consumer._subscription.assignment[tp].position
        except (IllegalStateError, KeyError):
            return None  # revoked meanwhile
        if known is not None and position is not None and position.offset >= known:
            # Behind the last record there may be markers of transactions, and records that were taken back.
            return self._delivered.get(tp, known)
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
