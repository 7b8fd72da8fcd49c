"""First and last of a relationship: the two numbers that do not move by difference. Pure."""

from datetime import datetime

Ends = tuple[datetime, datetime]


class Span:
    """The earliest and latest time of a pair's facts, while facts come and go.

    ``old`` are the stored ends, ``count`` how many facts they span. ``gone`` are the times of those that a
    slice has loaded (whatever becomes of them), ``come`` the times of the same facts after it. The others,
    ``count`` − len(``gone``), were not loaded: only the ends tell of them.
    """

    __slots__ = ("_count", "_old", "come", "gone")

    def __init__(self, old: Ends | None, count: int) -> None:
        self._old = old
        self._count = count
        self.gone: list[datetime] = []
        self.come: list[datetime] = []

    def ends(self) -> tuple[Ends | None, bool]:
        """The new ends, and whether they are certain. They are not when an end was held by a loaded fact that
        moved inwards, and facts that were not loaded are left: theirs may now be the end."""
        new = extremes(self.come)
        if self._old is None or self._count == len(self.gone):
            return new, True
        first, last = self._old
        low = bool(self.gone) and min(self.gone) <= first and not (new and new[0] <= first)
        high = bool(self.gone) and max(self.gone) >= last and not (new and new[1] >= last)
        return (new, False) if low or high else (extremes([first, last, *(new or ())]), True)

    def with_others(self, others: Ends | None) -> Ends | None:
        """The ends, now that those of the facts that were not loaded are known."""
        return extremes([*self.come, *(others or ())])


def extremes(times: list[datetime]) -> Ends | None:
    """The earliest and the latest, None of nothing."""
    return (min(times), max(times)) if times else None
