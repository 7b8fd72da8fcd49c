"""Follows whole topics outside any consumer group, from their ends on, for a state that is kept in memory."""

import time
from collections.abc import Sequence

from kafka import TopicPartition
from kafka.errors import (
    KafkaError,
    LogTruncationError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)

from shared.contracts.errors import Unavailable
from shared.kafka.python_client.pace import Pace
from shared.kafka.python_client.reader import open_consumer, partitions_of, reaching_brokers, record_of
from shared.runtime.protocols import Partition, Record
from shared.runtime.tail import TailLost
from shared.settings import Settings

_LOOK_SECONDS = 10.0


class KafkaFollowing:
    """Reads every partition of ``topics`` from the end that it had when this was opened (a ``Tail``).

    Partitions that are added later are read from their beginning. Raises Unavailable while the brokers cannot be
    reached or a topic is missing.
    """

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        # "none": a position outside of the log must be an error, not a silent start from elsewhere.
        self._consumer = open_consumer(settings, auto_offset_reset="none", fetch_max_wait_ms=50)
        self._pace = Pace(self._consumer)
        self._topics = list(topics)
        try:
            present = self._partitions()
            if missing := set(topics) - {tp.topic for tp in present}:
                raise Unavailable(
                    f"Kafka has no topic {', '.join(sorted(missing))}; `kith topics create` makes it"
                )
            with reaching_brokers():
                ends = self._consumer.end_offsets(present)
                self._consumer.assign(present)
                for tp, offset in ends.items():
                    self._consumer.seek(tp, offset)
        except BaseException:
            self.close()
            raise
        #: The ends from which this reads.
        self.start = {Partition(tp.topic, tp.partition): offset for tp, offset in ends.items()}
        self._assigned = set(present)
        self._looked_at = time.monotonic()

    def poll(self, timeout_ms: int) -> list[Record]:
        """The records since the last call. Raises Unavailable, and TailLost."""
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self._look()
        try:
            found = self._consumer.poll(timeout_ms=timeout_ms)
            self._pace.polled(found)
        except (
            OffsetOutOfRangeError,
            NoOffsetForPartitionError,
            LogTruncationError,
            UnknownTopicOrPartitionError,
        ) as error:
            raise TailLost(f"the log does not contain the next offset: {type(error).__name__}") from error
        except KafkaError as error:
            raise Unavailable(f"Kafka: {type(error).__name__}: {error}") from error
        return [record_of(Partition(tp.topic, tp.partition), r) for tp, batch in found.items() for r in batch]

    def _partitions(self) -> list[TopicPartition]:
        return partitions_of(self._consumer, self._topics)

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        present = set(self._partitions())
        if gone := self._assigned - present:
            raise TailLost(f"{len(gone)} partitions do not exist any more")
        if new := present - self._assigned:
            with reaching_brokers():
                known = {tp: self._consumer.position(tp) for tp in self._assigned}
                starts = self._consumer.beginning_offsets(list(new))
                self._consumer.assign(list(present))
                for tp, offset in {**known, **starts}.items():
                    self._consumer.seek(tp, offset)
            self._assigned = present

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5_000)
