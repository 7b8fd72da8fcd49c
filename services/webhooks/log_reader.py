"""Reads parts of the change topics, outside of any consumer group. Methods raise Unavailable."""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from kafka import TopicPartition

from shared.contracts.errors import Unavailable
from shared.contracts.events import EPOCH
from shared.kafka.python_client.reader import open_consumer, partitions_of, reaching_brokers, record_of
from shared.runtime.protocols import Partition, Record
from shared.settings import Settings

_SILENCE_SECONDS = 10.0


class LogReader:
    """One consumer, opened when it is first needed. Not thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: Any = None

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close(autocommit=False, timeout_ms=2_000)
            self._opened = None

    @property
    def _consumer(self) -> Any:
        if self._opened is None:
            self._opened = open_consumer(self._settings, auto_offset_reset="none", max_poll_records=2_000)
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
        which is ``end`` when there is none left."""
        tp = TopicPartition(*partition)
        found: list[Record] = []
        with reaching_brokers():
            self._consumer.assign([tp])
            self._consumer.seek(tp, start)
            heard = time.monotonic()
            while (position := self._consumer.position(tp)) < end and len(found) < most:
                for batch in self._consumer.poll(timeout_ms=500).values():
                    heard = time.monotonic()
                    found += [record_of(partition, raw) for raw in batch if raw.offset < end]
                if time.monotonic() - heard > _SILENCE_SECONDS:
                    raise Unavailable(f"Kafka has sent nothing of {partition} for {_SILENCE_SECONDS:.0f} s")
            self._consumer.assign([])
        if len(found) > most:
            found = found[:most]
            return found, found[-1].offset + 1
        return found, min(position, end)
