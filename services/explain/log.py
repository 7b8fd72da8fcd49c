"""Reads topics for `kith explain`: fast, outside any consumer group, and without changing anything."""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from kafka import TopicPartition

from shared.contracts.errors import Unavailable
from shared.contracts.events import EPOCH
from shared.kafka.python_client.reader import open_consumer, partitions_of, reaching_brokers, record_of
from shared.runtime.forms import readable
from shared.runtime.protocols import Partition, Record
from shared.settings import Settings

MILLISECOND = timedelta(milliseconds=1)
_SILENCE_SECONDS = 30.0

#: Partition → first offset and end offset (exclusive) to read.
Bounds = Mapping[Partition, tuple[int, int]]


class LogScan:
    """Context manager. ``progress`` is called after every fetch with the messages read and the messages to read.

    Every method raises Unavailable.
    """

    def __init__(
        self, settings: Settings, progress: Callable[[int, int], None] = lambda _done, _all: None
    ) -> None:
        self._progress = progress
        self.messages = 0
        self._consumer = open_consumer(
            settings,
            auto_offset_reset="none",
            max_poll_records=5_000,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._consumer.close(autocommit=False)

    def bounds(
        self, topics: Iterable[str], since: datetime | None = None, until: datetime | None = None
    ) -> dict[Partition, tuple[int, int]]:
        """The present bounds of the partitions of ``topics``. With ``since`` and ``until``: the range that
        contains every message with a timestamp between them; exactly these, if timestamps rise."""
        with reaching_brokers():
            tps = partitions_of(self._consumer, topics)
            firsts, ends = self._consumer.beginning_offsets(tps), self._consumer.end_offsets(tps)
            firsts |= self._offsets(since, ends)
            ends |= self._offsets(until, ends)
        return {Partition(*tp): (firsts[tp], ends[tp]) for tp in tps}

    def _offsets(self, time: datetime | None, ends: Mapping[Any, int]) -> dict[Any, int]:
        """The first offset with that timestamp or a later one; the end if there is none; empty without a time."""
        if time is None:
            return {}
        milliseconds = max(0, (time - EPOCH) // MILLISECOND)
        found = self._consumer.offsets_for_times(dict.fromkeys(ends, milliseconds)) if ends else {}
        return {tp: ends[tp] if place is None else place.offset for tp, place in found.items()}

    def read(self, bounds: Bounds, wanted: Callable[[bytes | None], bool]) -> list[Record]:
        """The messages within ``bounds`` for which ``wanted`` accepts the value or a header, partition by
        partition. Events in binary mode are converted to structured mode."""

        def meant(found: Any) -> bool:
            return wanted(found.value) or any(wanted(value) for _, value in found.headers)

        tps = {TopicPartition(*place): ends for place, ends in bounds.items() if ends[0] < ends[1]}
        done, total = 0, sum(end - first for first, end in tps.values())
        found: list[Record] = []
        with reaching_brokers():
            self._consumer.assign(list(tps))
            for tp, (first, _) in tps.items():
                self._consumer.seek(tp, first)
            heard = time.monotonic()
            while tps:
                for tp, batch in self._consumer.poll(timeout_ms=500).items():
                    heard = time.monotonic()
                    self.messages += len(batch)
                    end = tps[tp][1]
                    place = Partition(*tp)
                    found += [readable(record_of(place, r)) for r in batch if meant(r) and r.offset < end]
                # By the consumer's position, because offsets have gaps.
                positions = {tp: self._consumer.position(tp) for tp in tps}
                done = total - sum(max(0, end - positions[tp]) for tp, (_, end) in tps.items())
                self._progress(done, total)
                if finished := [tp for tp, (_, end) in tps.items() if positions[tp] >= end]:
                    for tp in finished:
                        del tps[tp]
                    self._consumer.pause(*finished)
                if time.monotonic() - heard > _SILENCE_SECONDS:
                    raise Unavailable(f"Kafka has sent nothing for {_SILENCE_SECONDS:.0f} s")
            self._consumer.assign([])
        return sorted(found, key=lambda record: (record.partition, record.offset))
