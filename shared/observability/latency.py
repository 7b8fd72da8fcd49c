"""The time from a message's arrival in Kafka until it is stored, over the last minute.

Kept as a histogram, because histograms of several workers can be added up. Each bucket is ten percent wider than
the one before.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from threading import Lock

from shared.runtime.observer import NullObserver
from shared.runtime.protocols import Outcome, Partition, Record

WINDOW_SECONDS = 60
#: How many messages of a slice are sampled, spread evenly: the cost is per slice, not per event.
_SAMPLES = 16
_STEP = math.log(1.1)


class LatencyWindow(NullObserver):
    """An Observer. ``clock`` returns seconds, ``wall_clock`` seconds since 1970, comparable with the timestamps of
    messages. A latency below a millisecond, or negative because clocks differ, counts as one millisecond."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._clock, self._wall_clock = clock, wall_clock
        self._seconds: dict[int, Counter[int]] = {}
        self._lock = Lock()

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None:  # noqa: ARG002
        now, second = self._wall_clock() * 1000, int(self._clock())
        step = -(-len(records) // _SAMPLES) or 1
        with self._lock:
            counts = self._seconds.setdefault(second, Counter())
            # Backwards from the last message, which has waited least; a sample stands for those before it, too.
            for index in range(len(records) - 1, -1, -step):
                counts[_size(now - records[index].timestamp)] += min(step, index + 1)

    def counts(self) -> dict[int, int]:
        """Messages of the last minute per bucket, see ``percentile``. Any thread may call it."""
        oldest = int(self._clock()) - WINDOW_SECONDS
        with self._lock:
            self._seconds = {second: counts for second, counts in self._seconds.items() if second > oldest}
            return dict(sum(self._seconds.values(), Counter[int]()))


def _size(milliseconds: float) -> int:
    return max(0, math.ceil(math.log(max(milliseconds, 1.0)) / _STEP))


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """The latency in milliseconds within which ``share`` (0 to 1) of the messages were stored, at most ten percent
    too high; None without messages."""
    wanted, total = share * sum(counts.values()), 0
    for size in sorted(counts):
        total += counts[size]
        if total >= wanted:
            return math.exp(size * _STEP)
    return None
