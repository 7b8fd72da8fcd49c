"""When a delivery is attempted again, and when an endpoint is disabled. Pure.

The schedule is that of the Standard Webhooks specification, with jitter: 75 hours in ten attempts.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

#: Seconds after the failure of the first, second … attempt.
DELAYS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
MOST_ATTEMPTS = len(DELAYS) + 1
#: An endpoint without a success for so long is disabled.
DISABLED_AFTER = timedelta(days=5)
#: It must have failed so long ago, too, within that time: days without anything to send say nothing.
FAILED_BEFORE = timedelta(hours=12)
_REMEMBERED_EVERY = timedelta(hours=1)
_LONGEST_WAIT = timedelta(days=1)
#: Failures in a row, of any subjects, after which an endpoint gets one attempt at a time.
BREAKS_AFTER = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0
#: Statuses that concern the endpoint as a whole, not one delivery.
THROTTLING = frozenset({429, 502, 503, 504})
GONE = 410


def next_attempt(attempts: int, now: datetime, jitter: float, retry_after: float | None = None) -> datetime | None:
    """The time of the next attempt after ``attempts`` failed ones; None when there is no further one. ``jitter``
    is within 0 and 1 and adds up to a tenth. ``retry_after`` is the receiver's wish in seconds: the attempt is not
    earlier, but at most a day later."""
    if attempts >= MOST_ATTEMPTS:
        return None
    seconds = DELAYS[attempts - 1] * (1 + jitter / 10)
    if retry_after is not None:
        seconds = max(seconds, min(retry_after, _LONGEST_WAIT.total_seconds()))
    return now + timedelta(seconds=seconds)


def pause(failures: int, jitter: float) -> float:
    """Seconds that an endpoint pauses after ``failures`` in a row; 0 as long as they may be those of single
    subjects."""
    if failures < BREAKS_AFTER:
        return 0.0
    doubled = _FIRST_PAUSE * 2.0 ** min(failures - BREAKS_AFTER, 16)
    return min(doubled, _LONGEST_PAUSE) * (1 + jitter / 10)


def with_failure(failed: Sequence[datetime], now: datetime) -> list[datetime]:
    """The times of failures that are remembered, with one of ``now``: one an hour, as long as they count."""
    kept = [at for at in failed if now - at <= DISABLED_AFTER]
    return kept if kept and now - kept[-1] < _REMEMBERED_EVERY else [*kept, now]


def is_given_up(failing_since: datetime | None, failed: Sequence[datetime], now: datetime) -> bool:
    """Whether an endpoint is to be disabled that has not succeeded since ``failing_since``, and whose remembered
    failures are those of ``with_failure``."""
    if failing_since is None or now - failing_since < DISABLED_AFTER:
        return False
    return any(FAILED_BEFORE <= now - at <= DISABLED_AFTER for at in failed)


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds of a ``Retry-After`` header (RFC 9110 10.2.3: seconds or a date); None if absent or malformed."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) <= 9:
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - now).total_seconds())
    # A year beyond all bounds is an OverflowError, a part that is missing may be an IndexError.
    except (ValueError, TypeError, ArithmeticError, LookupError):
        return None
