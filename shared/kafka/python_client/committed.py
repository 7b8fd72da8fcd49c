"""Reads topics that are not Kith's own from the offsets that a consumer group has committed to Kafka."""

import time
from collections.abc import Mapping, Sequence

from kafka import TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.python_client.pace import Pace
from shared.kafka.python_client.reader import open_consumer, partitions_of, reaching_brokers, record_of
from shared.runtime.protocols import Partition, Record
from shared.settings import Settings

_LOOK_SECONDS = 30.0
_MOST_RECORDS = 500
#: Kafka forgets the offset of a group without members (``offsets.retention.minutes``) seven days after its commit
#: by default.
_KEEP_SECONDS = 3_600.0


class CommittedLog:
    """All partitions of ``topics``, from the committed offsets of the group ``<group>.<name>``. Where there is
    none, from the beginning, as long as the log still has its own: Kafka may have forgotten the offset, and
    deleted what it stood at. With ``new`` it is a new reading, and begins with what there is. No other member is
    waited for: whoever reads the same again does no harm."""

    def __init__(self, settings: Settings, name: str, topics: Sequence[str], *, new: bool = False) -> None:
        """Raises ConfigurationError, also where retention has, or may have, deleted what was not read yet, and
        Unavailable, also when a topic is missing."""
        self._topics = list(topics)
        self._group, self._new = f"{settings.group}.{name}", new
        #: What all before is done: where each partition was begun, and then what was committed.
        self._done: dict[TopicPartition, int] = {}
        self._kept_at: float | None = None
        self._assigned: set[TopicPartition] = set()
        self._looked_at = 0.0
        self._consumer = open_consumer(
            settings, self._group, auto_offset_reset="none", max_poll_records=_MOST_RECORDS, fetch_max_wait_ms=100
        )
        self._pace = Pace(self._consumer)
        try:
            self._look()
            with reaching_brokers():
                #: Where the log ended when it was opened.
                self._ends = self._consumer.end_offsets(list(self._assigned))
        except BaseException:
            self.close()
            raise

    def poll(self, timeout_ms: int) -> list[Record]:
        """The next records, at most 500, those of one partition in its order. Raises ConfigurationError and
        Unavailable."""
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self._look()
        with reaching_brokers():
            try:
                found = self._consumer.poll(timeout_ms=timeout_ms)
                self._pace.polled(found)
            except KafkaError as error:
                if not error.retriable:
                    raise
                time.sleep(0.1)  # a broker went away between two requests: no busy loop
                return []
        return [
            record_of(Partition(tp.topic, tp.partition), record) for tp, batch in found.items() for record in batch
        ]

    def ended(self) -> bool:
        """Whether all has been read that was there when the log was opened."""
        with reaching_brokers():
            return all(self._consumer.position(tp) >= end for tp, end in self._ends.items())

    def lag(self) -> int:
        """How many records there are after the last one read. Raises Unavailable."""
        with reaching_brokers():
            ends = self._consumer.end_offsets(list(self._assigned))
            return sum(max(0, end - self._consumer.position(tp)) for tp, end in ends.items())

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Commit the offsets to read next, and wait for Kafka's answer. Raises Unavailable and
        ConfigurationError."""
        offsets = {TopicPartition(*partition): OffsetAndMetadata(n, "", -1) for partition, n in positions.items()}
        with reaching_brokers():
            self._consumer.commit(offsets)
        self._done |= {tp: offset.offset for tp, offset in offsets.items()}

    def keep(self) -> None:
        """Commit where all before is done, at first and then once an hour: also of a partition without news, Kafka
        must not forget it. Raises Unavailable and ConfigurationError."""
        if self._kept_at is not None and time.monotonic() - self._kept_at < _KEEP_SECONDS:
            return
        self.commit({Partition(tp.topic, tp.partition): offset for tp, offset in self._done.items()})
        self._kept_at = time.monotonic()

    def close(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=5_000)

    def _look(self) -> None:
        """Begin to read the partitions that are not read yet."""
        self._looked_at = time.monotonic()
        present = partitions_of(self._consumer, self._topics)
        if missing := sorted(set(self._topics) - {tp.topic for tp in present}):
            raise Unavailable(f"Kafka has no topic {', '.join(missing)}, or this login may not read it")
        added = [tp for tp in present if tp not in self._assigned]
        if not added:
            return
        with reaching_brokers():
            places = {tp: self._consumer.position(tp) for tp in self._assigned}
            begun = {tp: self._start(tp) for tp in added}
        self._done |= begun
        self._kept_at = None
        places |= begun
        self._assigned |= set(added)
        self._consumer.assign(list(self._assigned))
        for tp, offset in places.items():
            self._consumer.seek(tp, offset)

    def _start(self, tp: TopicPartition) -> int:
        first: int = self._consumer.beginning_offsets([tp])[tp]
        end: int = self._consumer.end_offsets([tp])[tp]
        committed: int | None = self._consumer.committed(tp)
        if committed is None:
            if first > 0 and not self._new:
                raise ConfigurationError(
                    f"{tp.topic}/{tp.partition}: Kafka has no position of the group {self._group}, and the log "
                    f"begins at {first}. If nothing was read under this --name before, say --new. Otherwise Kafka "
                    "has forgotten it, and records may be gone that were not read: take a new snapshot, and "
                    "read it under another --name, with --new"
                )
            return first
        if not first <= committed <= end:
            raise ConfigurationError(
                f"{tp.topic}/{tp.partition}: the group {self._group} is to go on at {committed}, but the log "
                f"holds {first} to {end}. Was the topic recreated, or did retention delete what was not read? "
                "Take a new snapshot, and read it under another --name"
            )
        return committed
