"""Parses the periods and cursors of requests. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from services.analytics.partials import HOUR, day_and_hour, hour_number
from shared.contracts.events import EPOCH
from shared.http.parameters import BadParameter, moment

By = Literal["total", "kind", "provider", "consumer", "provider_kind"]
Bucket = Literal["day", "hour"]
Measure = Literal["count", "amount", "rating", "consumers"]

_BUCKETS: dict[Bucket, re.Pattern[str]] = {
    "day": re.compile(r"\d{4}-\d\d-\d\d", re.ASCII),
    "hour": re.compile(r"\d{4}-\d\d-\d\dT\d\d:00:00Z", re.ASCII),
}
# No event is dated earlier or later (shared.contracts.events.Time).
_FIRST, _END = 0, hour_number(datetime(9000, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Period:
    """A span of whole hours since 1970: ``first`` belongs to it, ``end`` does not."""

    first: int = _FIRST
    end: int = _END

    @property
    def days(self) -> tuple[str, str]:
        """The days that the period touches: the first, and the one after the last."""
        return day_and_hour(self.first)[0], day_and_hour(-(-self.end // 24) * 24)[0]

    @property
    def hours(self) -> tuple[str, str]:
        """The first hour as a bucket, and the one after the last."""
        return hour_bucket(*day_and_hour(self.first)), hour_bucket(*day_and_hour(self.end))


def hour_bucket(day: str, hour: str) -> str:
    return f"{day}T{hour}:00:00Z"


def period(from_: str | None, to: str | None) -> Period:
    """The hours that [from, to) touches; None means open. Raises BadParameter."""
    start = None if from_ is None else moment("from", from_)
    stop = None if to is None else moment("to", to)
    if start is not None and stop is not None and start >= stop:
        raise BadParameter("to", "must be later than from")
    first = _FIRST if start is None else max(_FIRST, hour_number(start))
    end = _END if stop is None else min(_END, -((EPOCH - stop) // HOUR))
    # A period outside of all possible event times is empty, not an error.
    return Period(min(first, _END), max(end, _FIRST))


def bucket_and_key(place: Sequence[Any], bucket: Bucket) -> tuple[str, str]:
    """The place of a page as bucket and key. Raises BadParameter."""
    match place:
        case [str(when), str(key)] if _BUCKETS[bucket].fullmatch(when):
            return when, key
    raise BadParameter("cursor", "is not a value of next from this query")
