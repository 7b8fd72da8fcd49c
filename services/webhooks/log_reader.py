"""Reads parts of the change topics, outside of any consumer group. Methods raise Unavailable."""

import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from cachetools import LRUCache
from kafka import TopicPartition

from shared.contracts.errors import Unavailable
from shared.contracts.events import EPOCH
from shared.kafka.python_client.reader import open_consumer, partitions_of, reaching_brokers, record_of
from shared.runtime.partition_state import size_of
from shared.runtime.protocols import Partition, Record
from shared.settings import Settings

_SILENCE_SECONDS = 10.0
#: Records of a poll. The latest one of each partition is kept for a while, because many endpoints of a tenant read
#: the same; of all partitions so many bytes.
_POLLED, _KEPT_SECONDS, _KEPT_BYTES = 1_000, 10.0, 64 * 2**20


class _Kept(NamedTuple):
    """All records within [start, after), read at the time ``at``."""

    start: int
    after: int
    records: Sequence[Record]
    at: float

    def contains(self, offset: int) -> bool:
        return self.start <= offset < self.after and time.monotonic() - self.at < _KEPT_SECONDS


class LogReader:
    """One consumer, opened when it is first needed. Not thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: Any = None
        self._kept: LRUCache[Partition, _Kept] = LRUCache(_KEPT_BYTES, getsizeof=_bytes_of)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close(autocommit=False, timeout_ms=2_000)
            self._opened = None

    @property
    def _consumer(self) -> Any:
        if self._opened is None:
            self._opened = open_consumer(self._settings, auto_offset_reset="none", max_poll_records=_POLLED)
        return self._opened

    def first(self, partition: Partition) -> int:
        """The first offset that retention has left."""
        with reaching_brokers():
            found = self._consumer.beginning_offsets([TopicPartition(*partition)])
        return int(next(iter(found.values())))

    def offsets(self, topics: Iterable[str], since: datetime | None) -> Mapping[Partition, int]:
        """Per partition of these topics, the first offset with the timestamp ``since`` or a later one; the end
        where there is none, the beginning without ``since``."""
        with reaching_brokers():
            tps = partitions_of(self._consumer, topics)
            if since is None:
                return {Partition(*tp): offset for tp, offset in self._consumer.beginning_offsets(tps).items()}
            ends = self._consumer.end_offsets(tps)
            milliseconds = max(0, (since - EPOCH) // timedelta(milliseconds=1))
            found = self._consumer.offsets_for_times(dict.fromkeys(tps, milliseconds)) if tps else {}
        return {Partition(*tp): ends[tp] if place is None else place.offset for tp, place in found.items()}

    def read(self, partition: Partition, start: int, end: int, most: int) -> tuple[list[Record], int]:
        """At most ``most`` records within [start, end), and the offset after the last one that was looked at,
        which is ``end`` when there is none left. There may be fewer, and more behind that."""
        kept = self._kept.get(partition)
        if kept is None or not kept.contains(start):
            kept = self._polled(partition, start, end)
            if _bytes_of(kept) <= _KEPT_BYTES:
                self._kept[partition] = kept
        first = bisect_left(kept.records, start, key=_offset)
        found = list(kept.records[first : first + most])
        while found and found[-1].offset >= end:
            found.pop()
        if len(found) == most:
            return found, found[-1].offset + 1
        return found, min(kept.after, end)

    def _polled(self, partition: Partition, start: int, end: int) -> _Kept:
        """The next records from ``start`` on, of which one may be before ``end``."""
        tp = TopicPartition(*partition)
        found: list[Record] = []
        with reaching_brokers():
            self._consumer.assign([tp])
            self._consumer.seek(tp, start)
            heard = time.monotonic()
            while not found and self._consumer.position(tp) < end:
                for batch in self._consumer.poll(timeout_ms=500).values():
                    heard = time.monotonic()
                    found += [record_of(partition, raw) for raw in batch]
                if time.monotonic() - heard > _SILENCE_SECONDS:
                    raise Unavailable(f"Kafka has sent nothing of {partition} for {_SILENCE_SECONDS:.0f} s")
            after = self._consumer.position(tp)
            self._consumer.assign([])
        return _Kept(start, after, found, time.monotonic())


def _bytes_of(kept: _Kept) -> int:
    return sum(size_of(record) for record in kept.records)


def _offset(record: Record) -> int:
    return record.offset
