"""How far a worker is behind in a partition, in seconds. Pure.

Neither the clocks of other machines nor the timestamps of records play a part: an upstream may have copied those
from years ago.
"""

from collections import deque

#: Of so many ends of the log it is known when they were first seen: a minute of them at least.
_MOST_SEEN = 600
#: A slice of fewer records takes the time that it takes, however little there is to do.
FEW = 20
#: The part that the latest of those slices has in what they take, and how much of one counts: one that waited for
#: a server says nothing of the others, and in a flood no other small one follows that would correct it.
_LATEST, _MOST_USUAL_SECONDS = 0.2, 0.5


class Behind:
    """``since`` is when the oldest record that is not stored was surely in the log; None when all are stored. Any
    thread may read it."""

    def __init__(self) -> None:
        self._ends: deque[tuple[float, int]] = deque(maxlen=_MOST_SEEN)
        self.since: float | None = None
        #: Seconds that a slice of few records takes.
        self._usual = 0.0

    def look(self, end: int | None, next: int | None, now: float) -> None:
        """The log ends at the offset ``end`` at the time ``now``, and ``next`` is the first that is not stored."""
        if end is None or next is None:
            return
        if not self._ends or end > self._ends[-1][1]:
            self._ends.append((now, end))
        while self._ends and self._ends[0][1] <= next:
            self._ends.popleft()
        self.since = self._ends[0][0] if self._ends else None

    def stored(self, records: int, seconds: float) -> None:
        """A slice was stored, so many seconds after it was begun."""
        if records < FEW:
            self._usual += _LATEST * (min(seconds, _MOST_USUAL_SECONDS) - self._usual)

    def seconds(self, stored_at: float, now: float) -> float:
        """How far it is behind, beyond what any record waits for the slice in progress and in its own. It is as
        far as when a slice was last stored, at ``stored_at``, or as long as the next one takes, so that the number
        does not rise and fall with each slice."""
        if (since := self.since) is None:
            return 0.0
        waited = now - since if since >= stored_at else max(stored_at - since, now - stored_at)
        return max(0.0, waited - 2 * self._usual)
