"""The Reader on confluent-kafka (librdkafka): the same behaviour as ``kafka.python_client``, in C."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import methodcaller
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as Found

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.bounds import ANSWER_SECONDS, LogBounds
from shared.kafka.librdkafka.delivery import LASTING
from shared.runtime.protocols import Partition, Polled, Record
from shared.settings import Settings

log = logging.getLogger(__name__)

_OUT_OF_LOG = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION})
_MIRROR_SECONDS = 1.0
_REPEAT_SECONDS = 30.0
# Not a plain call. Where Python has optimised one, a header name that is not UTF-8 ends the process, because
# confluent-kafka returns an error together with a half-made list. This way it raises SystemError.
_headers = methodcaller("headers")
_NO_DIGITS = str.maketrans("", "", "0123456789")


class _ThrottledLog:
    """Logs librdkafka's messages, each at most once in a while. Without its brokers librdkafka repeats itself a
    hundred times a second."""

    def __init__(self) -> None:
        # A logger below "kafka", which logs warnings only.
        self._log = logging.getLogger("kafka.librdkafka")
        self._said: dict[str, float] = {}

    def log(self, level: int, template: str, *parts: object) -> None:
        message = template % parts
        gist = message.translate(_NO_DIGITS)
        now = time.monotonic()
        if now - self._said.get(gist, -_REPEAT_SECONDS) >= _REPEAT_SECONDS:
            self._said[gist] = now
            self._log.log(level, "%s", message)


def configuration(settings: Settings) -> dict[str, Any]:
    """The part of a client configuration that states where the brokers are and how to connect to them."""
    if settings.kafka is None:
        raise ConfigurationError("KITH_KAFKA is not set; set it to the addresses of the brokers")
    password = settings.kafka_password
    options = {
        "bootstrap.servers": settings.kafka,
        "security.protocol": settings.kafka_security_protocol,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_username,
        "sasl.password": password.get_secret_value() if password else None,
        "ssl.ca.location": settings.kafka_ca_file,
        "ssl.certificate.location": settings.kafka_cert_file,
        "ssl.key.location": settings.kafka_key_file,
        "client.id": "kith",
        # New partitions are detected within half a minute.
        "topic.metadata.refresh.interval.ms": 30_000,
        "reconnect.backoff.max.ms": 1_000,
        # A broker that accepts connections and answers nothing is given up after these, and another one is asked.
        "socket.connection.setup.timeout.ms": 5_000,
        "socket.timeout.ms": 10_000,
        "logger": _ThrottledLog(),
    }
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def reaching_brokers() -> Iterator[None]:
    """Translates librdkafka's errors: to ConfigurationError where a retry cannot help, otherwise to
    Unavailable."""
    try:
        yield
    except KafkaException as exception:
        error: KafkaError = exception.args[0]
        if error.code() in LASTING or error.code() == KafkaError._INVALID_ARG:
            raise ConfigurationError(f"Kafka: {error.str()}") from exception
        raise Unavailable(f"Kafka: {error.name()}: {error.str()}") from exception


def partition_counts(client: Consumer | Producer) -> dict[str, int]:
    """The existing topics, and the number of partitions of each. Never makes a broker create a topic."""
    found = client.list_topics(timeout=ANSWER_SECONDS).topics
    return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}


class LibrdkafkaReader:
    """A member of the group ``<group>.<service>`` that reads ``topics`` from positions stored elsewhere."""

    def __init__(self, settings: Settings, service: str, topics: Sequence[str]) -> None:
        self._most = settings.slice_events
        self._mine: set[Partition] = set()
        self._revoked: set[Partition] = set()
        self._assigned: set[Partition] = set()
        self._bounds = LogBounds()
        self._unmirrored: dict[Partition, int] = {}
        #: The offset after the last record returned by poll, and the offset at which the end of the log was
        #: reached.
        self._delivered: dict[Partition, int] = {}
        self._at_end: dict[Partition, int] = {}
        self._mirrored_at = 0.0
        with reaching_brokers():
            self._consumer = Consumer(
                {
                    **configuration(settings),
                    "group.id": f"{settings.group}.{service}",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    # A position outside the log must be an error, not a silent start from the beginning.
                    "auto.offset.reset": "error",
                    "isolation.level": "read_committed",
                    "enable.partition.eof": True,
                    "partition.assignment.strategy": "cooperative-sticky",
                    "max.poll.interval.ms": settings.max_poll_interval_ms,
                    "session.timeout.ms": settings.session_timeout_ms,
                    # Members learn from it that another one joins.
                    "heartbeat.interval.ms": min(1_000, settings.session_timeout_ms // 3),
                    "fetch.wait.max.ms": 100,
                    # How many records it prefetches, and how soon it fetches again.
                    "queued.min.messages": max(10_000, 4 * self._most),
                    "queued.max.messages.kbytes": 16 * 1024,
                    "fetch.queue.backoff.ms": 10,
                    "allow.auto.create.topics": False,
                }
            )
            try:
                counts = partition_counts(self._consumer)
                if missing := [topic for topic in topics if not counts.get(topic)]:
                    raise Unavailable(f"Kafka has no topic {', '.join(missing)}; `kith topics create` makes it")
            except BaseException:
                self._consumer.close()
                raise
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def _on_assign(self, consumer: Consumer, found: list[TopicPartition]) -> None:
        # Some offset is given, so that librdkafka does not look up a committed one. start() sets the right one.
        tps = [TopicPartition(tp.topic, tp.partition, 0) for tp in found]
        consumer.incremental_assign(tps)
        consumer.pause(tps)
        partitions = {Partition(tp.topic, tp.partition) for tp in found}
        self._mine |= partitions
        self._assigned |= partitions

    def _on_revoke(self, consumer: Consumer, found: list[TopicPartition]) -> None:
        consumer.incremental_unassign(found)
        partitions = {Partition(tp.topic, tp.partition) for tp in found}
        self._mine -= partitions
        self._assigned -= partitions
        self._revoked |= partitions

    def poll(self, timeout_ms: int) -> Polled:
        found = self._consumer.consume(self._most, 0)
        if not found and timeout_ms:
            # With a timeout, consume() waits until it has as many records as it may return.
            found = self._consumer.consume(1, timeout_ms / 1000)
            found += self._consumer.consume(self._most - 1, 0) if found else []
        revoked, assigned = frozenset(self._revoked), frozenset(self._assigned)
        self._revoked.clear()
        self._assigned.clear()
        records = _records(found, self._at_end)
        for partition in revoked | assigned:
            records.pop(partition, None)
        for partition, batch in records.items():
            self._delivered[partition] = batch[-1].offset + 1
        self._mirror()
        return Polled(revoked, assigned, records)

    def start(self, partition: Partition, offset: int | None) -> tuple[int, int]:
        with reaching_brokers():
            found = self._consumer.get_watermark_offsets(TopicPartition(*partition), timeout=ANSWER_SECONDS)
        if found is None:
            raise Unavailable(f"Kafka does not report the start and end of the log of {partition}")
        first, end = found
        start = first if offset is None else offset
        self._bounds.check(partition, start, first, end)
        self._delivered[partition] = start
        self._at_end.pop(partition, None)
        if partition in self._mine:
            self._seek(TopicPartition(*partition, start))
        return first, start

    def _seek(self, tp: TopicPartition) -> None:
        with reaching_brokers():
            try:
                self._consumer.seek(tp)
            except KafkaException as exception:
                if exception.args[0].code() != KafkaError._STATE:
                    raise
                # Its fetcher is not running (yet, or any more). Assigning it again starts it at the offset.
                self._consumer.incremental_unassign([tp])
                self._consumer.incremental_assign([tp])
            self._consumer.resume([tp])

    def pause(self, partitions: Iterable[Partition]) -> None:
        self._consumer.pause([TopicPartition(*partition) for partition in self._mine.intersection(partitions)])

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._consumer.resume([TopicPartition(*partition) for partition in self._mine.intersection(partitions)])

    def end(self, partition: Partition) -> int | None:
        if partition not in self._mine:
            return None
        known = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
        if known is None or known[1] < 0:
            return None
        if self._at_end.get(partition, -1) >= known[1]:
            # After the last record there may be transaction markers and aborted records.
            return self._delivered.get(partition, known[1])
        return known[1]

    def mirror(self, positions: Mapping[Partition, int]) -> None:
        self._unmirrored.update(positions)

    def _mirror(self) -> None:
        if self._unmirrored and time.monotonic() - self._mirrored_at > _MIRROR_SECONDS:
            self._mirrored_at = time.monotonic()
            positions, self._unmirrored = self._unmirrored, {}
            offsets = [TopicPartition(*p, offset) for p, offset in positions.items() if p in self._mine]
            try:
                if offsets:
                    self._consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                log.debug("positions not committed to Kafka (they only show lag): %s", error)

    def close(self) -> None:
        self._consumer.close()


def _records(found: Iterable[Found], at_end: dict[Partition, int]) -> dict[Partition, list[Record]]:
    """The records by partition, in order. Errors that librdkafka recovers from by itself are left out. So are the
    headers of a message if the name of one is not UTF-8."""
    records: dict[Partition, list[Record]] = {}
    partition, batch = Partition("", -1), list[Record]()
    for message in found:
        error = message.error()
        place: Any = (message.topic(), message.partition())
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                end: Any = message.offset()
                at_end[Partition(*place)] = end
            else:
                _check_error(error, message)
            continue
        if place != partition:
            partition = Partition(*place)
            batch = records.setdefault(partition, [])
        try:
            headers: Any = _headers(message)
        except SystemError:
            headers = None
        offset: Any = message.offset()
        batch.append(
            Record(
                partition,
                offset,
                message.timestamp()[1],
                message.key(),
                message.value(),
                # Kafka distinguishes a header without value from an empty one; Kith does not.
                tuple([(name, value or b"") for name, value in headers]) if headers else (),
            )
        )
    return records


def _check_error(error: KafkaError, message: Found) -> None:
    where = f"{message.topic()}/{message.partition()}"
    if error.code() in _OUT_OF_LOG:
        raise ConfigurationError(f"the log of {where} does not contain the offset to continue at: {error.str()}")
    if error.code() in LASTING or error.fatal():
        raise KafkaException(error)
    log.warning("%s: %s", where, error.str())
