"""Shares work among many, so that one with much of it, or with a fault, holds up nobody else."""

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator

from shared.access.apps.store import UnreadableApp
from shared.contracts.errors import Stale, Unavailable

log = logging.getLogger(__name__)


class RoundRobin:
    """Goes through keys, again and again: each time for ``seconds``, and from where the last time has ended."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._last = ""

    def of(self, keys: Iterable[str]) -> Iterator[str]:
        """Yield the keys whose turn it is: at least one, each once at most. Keys may come and go between calls."""
        ordered, end = sorted({*keys}), self._clock() + self._seconds
        first = bisect_right(ordered, self._last)
        for key in (*ordered[first:], *ordered[:first]):
            # Before its work, so that one whose work fails is not the first of the next time, too.
            self._last = key
            yield key
            if self._clock() >= end:
                return


def each_of(keys: Iterable[str], work: Callable[[str], None], what: str) -> None:
    """Do the work of each; what one of them meets with is logged, and holds up no other. ``what`` names the work.
    Raises Unavailable."""
    for key in keys:
        try:
            work(key)
        except Stale:
            log.debug("%s: another process was first at %s", what, key)
        except UnreadableApp as error:
            log.debug("%s waits at %s: %s", what, key, error)
        except Unavailable:
            raise
        except Exception:
            log.exception("%s failed at %s; it is tried again", what, key)
