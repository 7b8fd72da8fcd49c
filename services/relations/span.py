"""The times of a relationship: the part that cannot be updated by difference. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from shared.contracts.errors import Stale

#: A relationship of at most KEPT facts keeps all their times, a larger one the first and last only.
KEPT = 16


class Times(NamedTuple):
    """First and last, and those between in order where there are at most KEPT facts, else none."""

    first: datetime
    last: datetime
    between: list[datetime]


class Span:
    """The times of a pair's facts, while facts come and go.

    ``old`` are the stored times of ``count`` facts. ``gone`` are the times of the facts that a slice has loaded,
    before it; ``come`` the times of the same facts after it. The others, ``count`` − len(``gone``), were not
    loaded: their times are in ``old``, or must be read from the store.
    """

    __slots__ = ("_count", "_old", "come", "gone")

    def __init__(self, old: Times | None, count: int) -> None:
        self._old = old
        self._count = count
        self.gone: list[datetime] = []
        self.come: list[datetime] = []

    def times(self) -> tuple[Times | None, bool]:
        """The new times (None without facts), and whether they are certain. They are uncertain when a large
        relationship becomes a small one, or when the first or last fact of a large one has moved inwards: the new
        first or last may be a fact that was not loaded."""
        others = self._others()
        if others is not None:
            return _times(others + self.come), True
        assert self._old is not None
        if self._count - len(self.gone) + len(self.come) <= KEPT:
            return None, False
        first, last, _ = self._old
        come = extremes(self.come)
        low = bool(self.gone) and min(self.gone) <= first and not (come and come[0] <= first)
        high = bool(self.gone) and max(self.gone) >= last and not (come and come[1] >= last)
        return (None, False) if low or high else (_wide([first, last, *(come or ())]), True)

    def with_others(self, others: Sequence[datetime]) -> Times | None:
        """The times, given those of the facts that were not loaded: all of at most KEPT, else the first and
        last."""
        if self._count - len(self.gone) <= KEPT:
            return _times([*others, *self.come])
        return _wide([*others, *self.come])

    def _others(self) -> list[datetime] | None:
        """The times of the facts that were not loaded; None if they are not stored."""
        if self._count == len(self.gone):
            return []
        assert self._old is not None
        first, last, between = self._old
        others = [first, *between, last] if self._count > 1 else [first]
        if len(others) != self._count:
            return None
        try:
            for time in self.gone:
                others.remove(time)
        except ValueError:
            # The facts were read before, and the relationship after, another worker's commit.
            raise Stale("a fact has changed since the relationship was read") from None
        return others


def _times(all: list[datetime]) -> Times | None:
    if not all:
        return None
    all.sort()
    return Times(all[0], all[-1], all[1:-1] if len(all) <= KEPT else [])


def _wide(some: list[datetime]) -> Times:
    return Times(min(some), max(some), [])


def extremes(times: list[datetime]) -> tuple[datetime, datetime] | None:
    """The earliest and the latest time."""
    return (min(times), max(times)) if times else None
