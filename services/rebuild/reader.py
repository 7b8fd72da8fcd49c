"""A throttled reader: never past the live version, and no faster than allowed."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from shared.runtime.protocols import Partition, Polled, Reader, Record

_MOST_HELD, _FEW_HELD = 2_000, 1_000
#: Records are released in batches, so that a slice is worth its transaction at a low rate, too: this many records,
#: or as many as the rate allows in this time.
_LOT, _LOT_SECONDS = 500.0, 0.25


class ThrottledReader:
    """Passes on the records of another Reader below ``bounds`` (``topic/partition`` → offset; a partition without
    one passes nothing), at most ``rate`` a second (None: no limit). Records fetched beyond that are held."""

    def __init__(
        self,
        reader: Reader,
        bounds: Callable[[], Mapping[str, int]],
        rate: float | None,
        clock: Callable[[], float],
    ) -> None:
        self._reader = reader
        self._bounds = bounds
        self._rate = rate
        self._clock = clock
        self._allowance = 0.0
        self._filled_at = clock()
        self._held: dict[Partition, deque[Record]] = {}
        #: Partitions paused by the runner, and partitions paused here because enough records are held.
        self._paused: set[Partition] = set()
        self._full: set[Partition] = set()

    def poll(self, timeout_ms: int) -> Polled:
        released = self._release()
        polled = self._reader.poll(0 if released else timeout_ms)
        for partition in polled.revoked | polled.assigned:
            self._forget(partition)
            released.pop(partition, None)
        for partition, records in polled.records.items():
            held = self._held.setdefault(partition, deque())
            held.extend(records)
            if len(held) >= _MOST_HELD and partition not in self._full:
                self._full.add(partition)
                self._reader.pause([partition])
        if not released:
            released = self._release()
        return Polled(polled.revoked, polled.assigned, released)

    def _release(self) -> dict[Partition, list[Record]]:
        bounds = self._bounds()
        waiting = [
            (partition, held, bounds.get(str(partition), 0))
            for partition, held in self._held.items()
            if held and partition not in self._paused and held[0].offset < bounds.get(str(partition), 0)
        ]
        allowed = self._allowed()
        released: dict[Partition, list[Record]] = {}
        for partition, held, bound in waiting:
            batch: list[Record] = []
            while held and held[0].offset < bound and (allowed is None or len(batch) < allowed):
                batch.append(held.popleft())
            if batch:
                released[partition] = batch
                # The other partitions come first next time.
                self._held[partition] = self._held.pop(partition)
                if allowed is not None:
                    allowed -= len(batch)
                    self._allowance -= len(batch)
            if partition in self._full and len(held) <= _FEW_HELD:
                self._full.discard(partition)
                self._reader.resume([partition])
        return released

    def _allowed(self) -> int | None:
        if self._rate is None:
            return None
        now = self._clock()
        lot = max(1.0, min(_LOT, self._rate * _LOT_SECONDS))
        self._allowance = min(2 * lot, self._allowance + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return int(self._allowance) if self._allowance >= lot else 0

    def start(self, partition: Partition, offset: int | None) -> tuple[int, int]:
        self._forget(partition)
        return self._reader.start(partition, offset)

    def _forget(self, partition: Partition) -> None:
        self._held.pop(partition, None)
        self._paused.discard(partition)
        self._full.discard(partition)

    def pause(self, partitions: Iterable[Partition]) -> None:
        partitions = list(partitions)
        self._paused.update(partitions)
        self._reader.pause(partitions)

    def resume(self, partitions: Iterable[Partition]) -> None:
        partitions = list(partitions)
        self._paused.difference_update(partitions)
        self._reader.resume([partition for partition in partitions if partition not in self._full])

    def end(self, partition: Partition) -> int | None:
        return self._reader.end(partition)

    def mirror(self, positions: Mapping[Partition, int]) -> None:
        """Does nothing: the consumer group in Kafka belongs to the live version."""

    def close(self) -> None:
        self._reader.close()
