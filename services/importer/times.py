"""Times and days in files. Pure. A value that is not in the stated format is rejected."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any

from services.importer.numbers import multiply, to_decimal, to_int
from services.importer.values import BadValue, to_text
from shared.contracts.events import EPOCH

_UNIX = {"unix": Decimal(10**6), "unix_ms": Decimal(10**3), "unix_us": Decimal(1)}
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)\s?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
#: Days from 1899-12-30, as spreadsheets store them: those of the years 1954 to 2119.
_SERIALS = (20_000, 80_000)
_EXAMPLE = datetime(2024, 11, 23, 21, 43, 56, 789_000, UTC)


def to_time(value: Any, form: str | None = None, zone: tzinfo | None = None) -> str:
    """An instant as RFC 3339 in UTC.

    ``form`` None is ISO 8601 with separators (``2026-03-02``, ``2026-03-02 10:00``,
    ``2026-03-02T10:00:00+01:00``), ``unix``, ``unix_ms`` and ``unix_us`` count seconds, milliseconds and
    microseconds since 1970, anything else is a pattern of ``strptime``. ``zone`` applies to times without an
    offset; a local time that occurs twice when clocks are set back means the first, and one that they skip is
    rejected, but for midnight, which stands for a day. A day without a time of day becomes the first instant that
    is on this day both in ``zone`` and in UTC, because reports count by UTC days.
    """
    return instant(parse(value, form), zone)


def instant(parsed: datetime | date, zone: tzinfo | None, *, day: bool = False) -> str:
    """The instant of what ``parse`` has read. With ``day``, midnight stands for a day, and every other time of day
    is rejected."""
    try:
        if day and isinstance(parsed, datetime):
            if not is_midnight(parsed):
                raise BadValue("has a time of day, but the mapping says that it is a day (day = true)")
            parsed = parsed.date()
        if isinstance(parsed, datetime) and parsed.tzinfo is not None:
            return parsed.astimezone(UTC).isoformat()
        if zone is None:
            raise BadValue("has no UTC offset, like Z or +01:00, and no timezone is stated")
        if isinstance(parsed, datetime):
            return _instant(parsed, zone).isoformat()
        begins = datetime.combine(parsed, time(), zone).astimezone(UTC)
        return max(begins, datetime.combine(parsed, time(), UTC)).isoformat()
    except OverflowError:
        raise BadValue("is a time outside of the years 1 to 9999") from None


def _instant(local: datetime, zone: tzinfo) -> datetime:
    """Raises BadValue for a time that no clock of the zone has shown: another zone is meant."""
    found = local.replace(tzinfo=zone).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) != local and local.time() != time():
        raise BadValue("is a time that the clocks of its time zone skipped: does timezone say where they were?")
    return found


def is_midnight(parsed: datetime | date) -> bool:
    """Whether it is a midnight, which may stand for a day. A day itself is none."""
    return isinstance(parsed, datetime) and parsed.time() == time()


def parse(value: Any, form: str | None) -> datetime | date:
    """A time or a day as it is written. Raises BadValue."""
    if isinstance(value, date):  # or a datetime: SQL has none, but TOML and Excel do
        return value
    if form in _UNIX:
        try:
            return _unix(value, form)
        except OverflowError:
            raise BadValue("is a time outside of the years 1 to 9999") from None
    text = to_text(value)
    if form is None and re.fullmatch(r"[2-7]\d{4}(?:\.\d+)?", text, re.ASCII):
        raise BadValue("is a number: where it counts days, as spreadsheets store them, write it as a date")
    try:
        return _iso(text) if form is None else _patterned(text, form)
    except BadValue:
        raise
    except ValueError:
        raise BadValue(f"is not {_expected(form)}") from None


def _expected(form: str | None) -> str:
    return "an ISO 8601 time like 2026-03-02T10:00:00+01:00" if form is None else f"a time like {form}"


def _iso(text: str) -> datetime | date:
    if not (match := _ISO.fullmatch(text)):
        raise ValueError
    day, clock, offset = match.groups()
    if clock is None:
        return date.fromisoformat(day)
    return datetime.fromisoformat(f"{day}T{clock}{(offset or '').upper()}")


def _unix(value: Any, form: str | None) -> datetime:
    number = to_decimal(value)
    found = EPOCH + timedelta(microseconds=to_int(multiply(number, _UNIX[form or ""]), rounded=True))
    if isinstance(value, str) and not re.fullmatch(r"-?\d+(?:\.\d+)?", value, re.ASCII):
        raise BadValue(f"is not a count of {form} written in full")
    if _looks_like_a_day(str(value).partition(".")[0]):
        raise BadValue(f"looks like a day or a time without separators, not like a count of {form} since 1970")
    if _SERIALS[0] <= number < _SERIALS[1]:
        raise BadValue(f"looks like a day as spreadsheets count them, not like a count of {form} since 1970")
    if form == "unix_ms" and 10**8 <= abs(number) < 10**11:
        raise BadValue("looks like seconds since 1970, not like milliseconds")
    if form == "unix_us" and 10**8 <= abs(number) < 10**14:
        raise BadValue("looks like seconds or milliseconds since 1970, not like microseconds")
    return found


def _looks_like_a_day(digits: str) -> bool:
    """Whether digits are a day, or a day of these centuries and a time: 20260302, 202603021000, 20260302100000."""
    clock = {8: "", 12: "%H%M", 14: "%H%M%S", 17: "%H%M%S%f"}.get(len(digits))
    if clock is None or (clock and digits[:2] not in ("19", "20")):
        return False
    try:
        return bool(datetime.strptime(digits, f"%Y%m%d{clock}"))  # noqa: DTZ007 - only asked whether
    except ValueError:
        return False


def _patterned(text: str, form: str) -> datetime | date:
    parsed = datetime.strptime(text, form)  # noqa: DTZ007 - the zone is added by the caller
    # strptime accepts "2026312" for %Y%m%d, so the parsed time must format to the same text, up to leading zeros
    # and case.
    zoned = parsed.tzinfo is not None
    shown = parsed.strftime(form)
    if _runs(_plain_offset(text) if zoned else text, form) != _runs(shown, form):
        raise ValueError
    return parsed if _has_clock(form) else parsed.date()


def _plain_offset(text: str) -> str:
    return re.sub(r"(?<=[+-]\d\d):(?=\d\d)", "", re.sub(r"Z$", "+0000", text))


def _runs(text: str, form: str) -> list[str]:
    """Runs of digits without leading zeros, and the text between them."""
    if not text.isascii() and any(c.isdigit() and not c.isascii() for c in text):
        raise ValueError
    runs = re.findall(r"[0-9]+|[^0-9]+", re.sub(r"\s+", " ", text.strip()).casefold())
    fraction = "%f" in form
    return [
        run.strip("0") if fraction and n and runs[n - 1] == "." else run.lstrip("0") for n, run in enumerate(runs)
    ]


@lru_cache(256)
def _has_clock(form: str) -> bool:
    """Whether a pattern contains a time of day."""
    return _EXAMPLE.strftime(form) != _EXAMPLE.replace(hour=3, minute=4, second=5, microsecond=6).strftime(form)


def check_form(form: str) -> None:
    """Raise ValueError if a ``strptime`` pattern cannot parse times."""
    if form in _UNIX:
        return
    try:
        read = datetime.strptime(_EXAMPLE.strftime(form), form)  # noqa: DTZ007 - only its day counts
    except (ValueError, re.error):
        raise ValueError(
            'format: is neither "unix", "unix_ms", "unix_us" nor a strptime pattern like %d.%m.%Y'
        ) from None
    if read.date() != _EXAMPLE.date():
        raise ValueError("format: does not contain year, month and day")
