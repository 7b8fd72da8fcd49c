"""A Reader of every partition of its topics, as a member of no group: nobody shares them out, nobody waits for
the session of a process that died. Who reads what is settled by the claims in MongoDB alone."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import LogTruncationError, NoOffsetForPartitionError, OffsetOutOfRangeError

from shared.errors import ConfigurationError, Unavailable
from shared.kafka_io import KafkaReader, _record, connection, reaching_brokers
from shared.protocols import Partition, Polled
from shared.settings import Settings

_LOOK_SECONDS = 30.0


class WholeReader(KafkaReader):
    """All partitions are assigned with the first poll, and all again when some have been added."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        """Raises Unavailable, also when there is no such topic, and ConfigurationError."""
        with reaching_brokers():
            self._consumer: Any = KafkaConsumer(
                **connection(settings),
                metrics_enabled=False,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                isolation_level="read_committed",
                max_poll_records=settings.slice_events,
                fetch_max_wait_ms=100,
                allow_auto_create_topics=False,
            )
            missing = [topic for topic in topics if not self._consumer.partitions_for_topic(topic)]
        if missing:
            self.close()
            raise Unavailable(f"Kafka has no topic {', '.join(missing)}; `kith topics create` makes it")
        self._topics = list(topics)
        self._present: frozenset[Partition] = frozenset()
        self._looked_at: float | None = None

    def poll(self, timeout_ms: int) -> Polled:
        if (added := self._look()) is not None:
            return added
        self._unpark()
        try:
            found = self._consumer.poll(timeout_ms=timeout_ms)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError, LogTruncationError) as error:
            raise ConfigurationError(f"the log does not reach where reading should go on: {error}") from error
        records = {}
        for tp, batch in found.items():
            partition = Partition(tp.topic, tp.partition)
            records[partition] = [_record(partition, record) for record in batch]
        return Polled(frozenset(), frozenset(), records)

    def _look(self) -> Polled | None:
        if self._looked_at is not None and time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return None
        self._looked_at = time.monotonic()
        present = frozenset(
            Partition(topic, number)
            for topic in self._topics
            for number in self._consumer.partitions_for_topic(topic) or ()
        )
        if present == self._present:
            return None
        gone, self._present = self._present, present
        self._consumer.assign([TopicPartition(*partition) for partition in present])
        for partition in present:
            tp = TopicPartition(*partition)
            self._consumer.pause(tp)
            # A position of some kind; start() sets the true one.
            self._consumer.seek(tp, 0)
        return Polled(gone, present, {})

    def firsts(self) -> dict[str, int]:
        """``topic/partition`` → the first offset that the log still holds. Raises Unavailable."""
        tps = [
            TopicPartition(topic, number)
            for topic in self._topics
            for number in self._consumer.partitions_for_topic(topic) or ()
        ]
        with reaching_brokers():
            found = self._consumer.beginning_offsets(tps)
        return {f"{tp.topic}/{tp.partition}": offset for tp, offset in found.items()}

    def mirror(self, positions: Mapping[Partition, int]) -> None:
        """There is no group to show them in."""
