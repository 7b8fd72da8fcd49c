"""One cell of a row to one value of an event: numbers, truth values, times. Pure."""

import math
import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from shared.contracts.events import EPOCH

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,2})?", re.ASCII)
_LONGEST_NUMBER = 40
# Products of a few numbers of at most 40 digits are exact in this, whatever context the process has.
_EXACT = Context(prec=400)
_TRUE = frozenset({"true", "t", "yes", "y", "1", "on"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "off"})
_UNIX = {"unix": Decimal(10**6), "unix_ms": Decimal(10**3)}


class BadValue(ValueError):
    """A cell is not what its field needs. The message says why and never quotes the value."""


def to_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise BadValue("is neither text nor a number")


def to_plain(value: Any) -> Any:
    """The value as it is, where an event can hold it as it is: text, number or truth value."""
    return value if isinstance(value, str | bool | int | float) else to_text(value)


def to_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadValue("is not a JSON object")
    return value


def to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = to_text(value).casefold()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise BadValue("is neither true nor false")


def to_decimal(value: Any, point: str = ".", thousands: str = "") -> Decimal:
    """The exact number in ``value``, written with the decimal sign ``point`` and ``thousands`` separators."""
    if isinstance(value, str):
        text = value.replace(thousands, "") if thousands else value
        if point != ".":
            # A full stop that is not the thousands separator is not silently taken for the decimal sign.
            text = text.replace(".", "?").replace(point, ".")
        if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text):
            return Decimal(text)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_LONGEST_NUMBER:
        return Decimal(value)
    elif isinstance(value, float) and math.isfinite(value):
        return Decimal(repr(value))
    raise BadValue("is not a number")


def multiply(left: Decimal, right: Decimal) -> Decimal:
    return _EXACT.multiply(left, right)


def to_int(number: Decimal, rounded: bool = False) -> int:
    """A whole number; others are refused, or with ``rounded`` taken to the nearest (half to even)."""
    whole = number.to_integral_value(ROUND_HALF_EVEN, _EXACT)
    if whole != number and not rounded:
        raise BadValue("is not a whole number")
    return int(whole)


def to_time(value: Any, form: str | None = None, zone: tzinfo | None = None) -> str:
    """An instant as RFC 3339 in UTC.

    ``form`` None is ISO 8601, ``unix`` and ``unix_ms`` count seconds and milliseconds since 1970, anything
    else is a pattern of ``strptime``. ``zone`` holds for times without an offset (of the two instants that a
    clock set back shows alike, the first).
    """
    try:
        time = _parse(value, form)
        if time.tzinfo is None:
            if zone is None:
                raise BadValue("has no UTC offset, and the mapping gives no timezone")
            time = time.replace(tzinfo=zone)
        return time.astimezone(UTC).isoformat()
    except OverflowError:
        raise BadValue("is a time outside of the years 1 to 9999") from None


def _parse(value: Any, form: str | None) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, datetime.min.time())
    if form in _UNIX:
        return EPOCH + timedelta(microseconds=to_int(multiply(to_decimal(value), _UNIX[form]), rounded=True))
    try:
        text = to_text(value)
        return datetime.fromisoformat(text) if form is None else _strptime(text, form)
    except BadValue:
        raise
    except ValueError:
        expected = "an ISO 8601 time" if form is None else f"a time like {form}"
        raise BadValue(f"is not {expected}") from None


def _strptime(text: str, form: str) -> datetime:
    return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is added by the caller
