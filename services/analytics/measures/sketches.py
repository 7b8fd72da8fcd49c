"""Distinct counts over long spans by mergeable sketches: one of each day, merged over any days.

Aggregates contain the days of every consumer, so that any distinct count can be exact. The cost of an exact count
grows with the number of consumers and days, and overlapping spans cannot share it. A sketch of a day is made once,
has a fixed size of a few kilobytes, and merges with others in microseconds.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from shared.measures.query import NotInstalled

#: 2^14 registers. The relative standard error of a merged sketch is 1.04/√2^14 = 0.81 %.
LG_K = 14
#: Of a merged distinct count, with 95 % confidence: two standard errors.
RELATIVE_ERROR = 2 * 1.04 / 2 ** (LG_K / 2)
_KEPT = 4_000


class DaySketches:
    """A cache of the most recently used sketches, by tenant and day. Thread-safe.

    A sketch cannot remove a member, so it is valid only while the day's sums are unchanged. A retraction changes
    them, and the sketch is computed again. Replacing one consumer by another may leave the sums unchanged, so
    every sketch also expires after ``seconds``.
    """

    def __init__(self, seconds: float = 3_600, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._kept: OrderedDict[tuple[str, int], tuple[object, float, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, tenant: str, day: int, sums: object, members: Callable[[], Iterable[str]]) -> bytes:
        """The sketch of a day. ``sums`` are the sums of the day; ``members`` reads its consumers."""
        with self._lock:
            known = self._kept.get((tenant, day))
            if known is not None and known[0] == sums and self._clock() - known[1] < self._seconds:
                self._kept.move_to_end((tenant, day))
                return known[2]
        begun, made = self._clock(), sketch(members())
        with self._lock:
            self._kept[tenant, day] = (sums, begun, made)
            self._kept.move_to_end((tenant, day))
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made


def sketch(members: Iterable[str]) -> bytes:
    """A HyperLogLog sketch of a set of ids, at most 8 KiB large."""
    hll = _datasketches()
    made = hll.hll_sketch(LG_K, hll.tgt_hll_type.HLL_4)
    for member in members:
        made.update(member)
    return bytes(made.serialize_compact())


def distinct(sketches: Iterable[bytes]) -> float:
    """The estimated number of distinct members of all sketches together, within RELATIVE_ERROR: it depends on the
    set of members only, not on their order.

    Source: P. Flajolet et al., "HyperLogLog", 2007, as in Apache DataSketches.
    """
    hll = _datasketches()
    union = hll.hll_union(LG_K)
    members = [hll.hll_sketch.deserialize(one) for one in sketches]
    # Twice: the estimate of a first sketch alone remembers the order of its members (and is the better for it),
    # that of merged registers does not. Merging a sketch again changes no register.
    for one in [*members, *members]:
        union.update(one)
    return float(union.get_estimate())


def _datasketches() -> Any:
    try:
        import datasketches
    except ImportError:
        raise NotInstalled(
            "estimating so many consumers needs datasketches: install Kith's extra measures"
        ) from None
    return datasketches
