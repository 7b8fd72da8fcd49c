"""Work for many in short slices, so that one with much of it holds up nobody else. Pure, but for its clock."""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator


class Turns:
    """Goes through keys, again and again: each time for ``seconds``, and from where the last time has ended."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._last = ""

    def of(self, keys: Iterable[str]) -> Iterator[str]:
        """Those whose turn it is: at least one, each once at most. Keys may come and go between two calls."""
        ordered, end = sorted({*keys}), self._clock() + self._seconds
        first = bisect_right(ordered, self._last)
        for key in (*ordered[first:], *ordered[:first]):
            # Before its work, so that one whose work fails is not the first of the next time, too.
            self._last = key
            yield key
            if self._clock() >= end:
                return
