"""A Reader of every partition of its topics, as a member of no group: nobody shares them out, nobody waits for
the session of a process that died. Who reads what is settled by the claims in MongoDB alone."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from kafka import TopicPartition

from shared.kafka.python_client.reader import KafkaReader, open_outside, partitions_of, reaching_brokers
from shared.runtime.protocols import Partition, Polled
from shared.settings import Settings

_LOOK_SECONDS = 30.0


class AllPartitionsReader(KafkaReader):
    """All partitions are assigned with the first poll, and all again when some have been added."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        """Raises Unavailable, also when there is no such topic, and ConfigurationError."""
        self._consumer: Any = open_outside(
            settings, auto_offset_reset="none", max_poll_records=settings.slice_events, fetch_max_wait_ms=100
        )
        self._delivered = {}
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
            # A position of some kind; start() sets the true one.
            self._consumer.seek(tp, 0)
        return Polled(gone, present, {})

    def firsts(self) -> dict[str, int]:
        """``topic/partition`` → the first offset that the log still holds. Raises Unavailable."""
        with reaching_brokers():
            found = self._consumer.beginning_offsets(partitions_of(self._consumer, self._topics))
        return {f"{tp.topic}/{tp.partition}": offset for tp, offset in found.items()}

    def mirror(self, positions: Mapping[Partition, int]) -> None:
        """There is no group to show them in."""
