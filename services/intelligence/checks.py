"""Compares what was followed with MongoDB: what Kafka has lost is noticed by it alone."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from shared.contracts.errors import Unavailable
from shared.runtime.tail import TailLost

log = logging.getLogger(__name__)

#: How often the numbers in MongoDB are compared with those that were followed.
_CHECK_SECONDS = 1.0
#: Without progress for so long although there is more, the state is read again.
_PATIENCE_SECONDS = 10.0

#: By origin, the number of its last change.
Numbers = Mapping[str, int]


class Checks:
    """``read`` returns the numbers in MongoDB and the live version of relations, and may raise Unavailable. It
    runs on a thread of its own: a change does not wait while MongoDB answers."""

    def __init__(self, read: Callable[[], tuple[Numbers, int]], clock: Callable[[], float]) -> None:
        self._read, self._clock = read, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="follower-check")
        self._version = 0
        self._asked: tuple[Numbers, Future[tuple[Numbers, int]]] | None = None
        self._asked_at = self._reached_at = clock()
        #: The origins that are behind: how far they were read, and since when no further.
        self._behind: dict[str, tuple[int, float]] = {}
        self.lag = 0

    @property
    def seconds_behind(self) -> float:
        """Since everything was last followed."""
        return self._clock() - self._reached_at

    def begin(self, version: int) -> None:
        """After a scan of a version of relations."""
        self._version, self._asked, self._behind = version, None, {}
        self._asked_at = self._reached_at = self._clock()

    def look(self, seen: Callable[[], Numbers], *, wait: bool = False) -> None:
        """Ask when it is time, and compare once there is an answer; with ``wait``, both at once. ``seen`` returns
        the numbers that were followed. Raises TailLost."""
        if self._asked is None and (wait or self._clock() - self._asked_at >= _CHECK_SECONDS):
            self._asked_at = self._clock()
            # MongoDB is read after ``seen``: a change is stored before it is published, so none can be missing.
            self._asked = seen(), self._thread.submit(self._read)
        if self._asked is None or not (wait or self._asked[1].done()):
            return
        (numbers, answer), self._asked = self._asked, None
        try:
            marks, version = answer.result()
        except Unavailable as error:
            log.warning("the numbers of the changes cannot be read: %s", error)
            return
        self._compare(numbers, marks, version)

    def stop(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _compare(self, seen: Numbers, marks: Numbers, version: int) -> None:
        now = self._clock()
        if version != self._version:
            raise TailLost("another version of relations is live")
        if any(number > marks.get(origin, 0) for origin, number in seen.items()):
            raise TailLost("the database is older than the changes: it was restored")
        behind = {origin: seen.get(origin, 0) for origin, number in marks.items() if number > seen.get(origin, 0)}
        self.lag = sum(marks[origin] - number for origin, number in behind.items())
        self._behind = {
            origin: before if (before := self._behind.get(origin, (number, now)))[0] == number else (number, now)
            for origin, number in behind.items()
        }
        if not behind:
            self._reached_at = now
        elif any(now - since > _PATIENCE_SECONDS for _, since in self._behind.values()):
            raise TailLost(f"{self.lag} changes do not arrive")
