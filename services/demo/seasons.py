"""The seasons of the simulated market: busy and quiet months, weekdays and hours. Pure."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import accumulate

SPAN = timedelta(days=548)  # about eighteen months

_HOUR = timedelta(hours=1)
_MICROSECONDS_PER_HOUR = 3_600_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# A lakeside region: summer guests and December shopping, Saturdays, lunch and early evening.
_MONTHS = (0.7, 0.75, 0.85, 0.95, 1.1, 1.2, 1.4, 1.45, 1.1, 0.95, 0.9, 1.3)
_WEEKDAYS = (0.8, 0.85, 0.9, 1.0, 1.2, 1.4, 0.7)
_HOURS = (
    *(0.10, 0.05, 0.03, 0.02, 0.02, 0.08, 0.3, 0.7, 1.0, 1.1, 1.2, 1.5),
    *(1.7, 1.3, 1.0, 1.0, 1.2, 1.6, 1.8, 1.7, 1.3, 0.9, 0.5, 0.2),
)


def local_offset(moment: datetime) -> timedelta:
    """Central European time, with summer time from April to October: close enough for a simulation."""
    return timedelta(hours=2 if 4 <= moment.month <= 10 else 1)


class Seasons:
    """Maps progress through the span, 0 to 1, to a time: evenly spread progress gives seasonal times."""

    def __init__(self, now: datetime) -> None:
        """The span ends at ``now``, an aware time."""
        end = now.astimezone(UTC)
        begin = end - SPAN
        self.begin = (begin - _EPOCH) // timedelta(microseconds=1)
        self.end = (end - _EPOCH) // timedelta(microseconds=1)
        hours = (begin + number * _HOUR for number in range(SPAN // _HOUR))
        self._sums = list(accumulate(map(_intensity, hours), initial=0.0))

    def at(self, progress: float) -> int:
        """The time at ``progress`` in [0, 1), in microseconds since 1970; it never falls."""
        wanted = progress * self._sums[-1]
        hour = min(bisect_right(self._sums, wanted), len(self._sums) - 1) - 1
        low, high = self._sums[hour], self._sums[hour + 1]
        return self.begin + int((hour + (wanted - low) / (high - low)) * _MICROSECONDS_PER_HOUR)


def _intensity(moment: datetime) -> float:
    local = moment + local_offset(moment)
    return _MONTHS[local.month - 1] * _WEEKDAYS[local.weekday()] * _HOURS[local.hour]
