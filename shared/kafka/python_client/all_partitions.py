"""A Reader of all partitions of its topics, outside any consumer group. No rebalance is needed, and no session of
a dead process has to expire. The claims in MongoDB alone decide who owns a partition."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import TopicPartition

from shared.kafka.bounds import LogBounds
from shared.kafka.python_client.pace import Pace
from shared.kafka.python_client.reader import KafkaReader, open_consumer, partitions_of, reaching_brokers
from shared.runtime.protocols import Partition, Polled
from shared.settings import Settings

_LOOK_SECONDS = 30.0


class AllPartitionsReader(KafkaReader):
    """The first poll assigns all partitions. When some are added, all are assigned again."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        """Raises ConfigurationError, and Unavailable, also when a topic is missing."""
        self._consumer: Any = open_consumer(
            settings, auto_offset_reset="none", max_poll_records=settings.slice_events, fetch_max_wait_ms=100
        )
        self._pace = Pace(self._consumer)
        self._delivered = {}
        self._bounds = LogBounds()
        self._check(topics)
        self._topics = list(topics)
        self._present: frozenset[Partition] = frozenset()
        self._looked_at: float | None = None

    def poll(self, timeout_ms: int) -> Polled:
        if (added := self._look()) is not None:
            return added
        self._unpark()
        return Polled(frozenset(), frozenset(), self._fetch(timeout_ms))

    def _look(self) -> Polled | None:
        if self._looked_at is not None and time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return None
        self._looked_at = time.monotonic()
        present = frozenset(Partition(*tp) for tp in partitions_of(self._consumer, self._topics))
        if present == self._present:
            return None
        gone, self._present = self._present, present
        self._consumer.assign([TopicPartition(*partition) for partition in present])
        for partition in present:
            tp = TopicPartition(*partition)
            self._consumer.pause(tp)
            # Some position; start() sets the right one.
            self._consumer.seek(tp, 0)
        return Polled(gone, present, {})

    def firsts(self) -> dict[str, int]:
        """``topic/partition`` → the first offset in the log. Raises Unavailable."""
        with reaching_brokers():
            found = self._consumer.beginning_offsets(partitions_of(self._consumer, self._topics))
        return {f"{tp.topic}/{tp.partition}": offset for tp, offset in found.items()}

    def mirror(self, positions: Mapping[Partition, int]) -> None:
        """Does nothing: there is no group to commit to."""
