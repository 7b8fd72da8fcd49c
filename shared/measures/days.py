"""Days, weeks and months as whole numbers. Pure. Days are UTC days, weeks begin on Monday (ISO 8601)."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Literal

from shared.contracts.events import EPOCH

Unit = Literal["day", "week", "month"]

_EPOCH_ORDINAL = EPOCH.toordinal()


@dataclass(frozen=True, slots=True)
class Span:
    """Whole days since 1970: ``first`` belongs to it, ``end`` does not."""

    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first

    def whole(self, unit: Unit) -> "Span":
        """The span extended to whole weeks or months."""
        return Span(start_of(bucket_of(self.first, unit), unit), start_of(bucket_of(self.end - 1, unit) + 1, unit))

    @property
    def names(self) -> tuple[str, str]:
        """Both ends as ``2026-11-21``."""
        return name_of(self.first), name_of(self.end)


def day_of(time: date | datetime) -> int:
    """The day number of a date, or of an aware UTC time."""
    return time.toordinal() - _EPOCH_ORDINAL


@lru_cache(maxsize=20_000)
def day_named(name: str) -> int:
    """The day number of ``2026-11-21``."""
    return day_of(date.fromisoformat(name))


def date_of(day: int) -> date:
    return date.fromordinal(day + _EPOCH_ORDINAL)


def name_of(day: int) -> str:
    return date_of(day).isoformat()


@lru_cache(maxsize=20_000)
def bucket_of(day: int, unit: Unit) -> int:
    """The number of the day, week or month that contains a day. Consecutive ones differ by one."""
    if unit == "day":
        return day
    if unit == "week":
        # 1 January 1970 was a Thursday.
        return (day + 3) // 7
    at = date_of(day)
    return at.year * 12 + at.month - 1


def start_of(bucket: int, unit: Unit) -> int:
    """The first day of a bucket."""
    if unit == "day":
        return bucket
    if unit == "week":
        return bucket * 7 - 3
    return day_of(date(bucket // 12, bucket % 12 + 1, 1))
