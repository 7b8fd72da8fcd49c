"""How far a worker is behind in a partition, in seconds. Pure.

Neither the clocks of other machines nor the timestamps of records play a part: an upstream may have copied those
from years ago.
"""

from collections import deque

#: Of so many ends of the log it is known when they were first seen: a minute of them at least.
_MOST_SEEN = 600


class Behind:
    """``since`` is when the oldest record that is not stored was surely in the log; None when all are stored. Any
    thread may read it."""

    def __init__(self) -> None:
        self._ends: deque[tuple[float, int]] = deque(maxlen=_MOST_SEEN)
        self.since: float | None = None

    def look(self, end: int | None, next: int | None, now: float) -> None:
        """The log ends at the offset ``end`` at the time ``now``, and ``next`` is the first that is not stored."""
        if end is None or next is None:
            return
        if not self._ends or end > self._ends[-1][1]:
            self._ends.append((now, end))
        while self._ends and self._ends[0][1] <= next:
            self._ends.popleft()
        self.since = self._ends[0][0] if self._ends else None
