"""One cell of a row to one value of an event: text, ids, truth values. Pure."""

import re
from datetime import date
from decimal import Decimal
from typing import Any

_TRUE = frozenset({"true", "t", "yes", "y", "1", "on"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "off"})
_INT64 = range(-(2**63), 2**63)
# What spreadsheets show of a long number: 4.91701E+11. Digits are lost.
_SHORTENED = re.compile(r"[+-]?(?:\d+[.,]\d+[eE][+-]?\d+|\d+[eE][+-]\d+)", re.ASCII)
# What programs write of a whole number that they hold as a float.
_FLOAT = re.compile(r"[+-]?\d+\.0", re.ASCII)
#: What spreadsheets write in place of a result, in English and German.
ERRORS = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#GETTING_DATA"}
    | {"#NV", "#BEZUG!", "#WERT!", "#ZAHL!", "#ÜBERLAUF!", "#KALK!"}
)
_NARROW = re.compile("#{3,}")

SHORTENED = (
    "is a number that a spreadsheet has shortened, like 4.91701E+11, and digits are lost: "
    "format the column as text there and export it again"
)


class BadValue(ValueError):
    """A cell is not what its field needs. The message says why and never quotes the value."""


class Unreadable:
    """A cell that holds no value: a formula's error, say. ``text`` is what is shown of it, ``detail`` why."""

    __slots__ = ("detail", "text")

    def __init__(self, text: str, detail: str) -> None:
        self.text, self.detail = text, detail

    def __repr__(self) -> str:
        return self.text


def to_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise BadValue("is neither text nor a number")


def to_id(value: Any) -> str:
    """What names something: text or a whole number, as it was before a program took it for another number."""
    if isinstance(value, bool):
        raise BadValue("is true or false, which is not an id")
    if isinstance(value, float | Decimal):
        raise BadValue("is a number with a decimal sign or an exponent, which is not an id")
    if isinstance(value, date):
        raise BadValue("is a date, which is not an id: a spreadsheet may have made one of it")
    text = to_text(value)
    check_digits(text)
    if _FLOAT.fullmatch(text):
        raise BadValue("is a whole number written with decimals, like 1234.0, which is not the id 1234")
    return text


def check_digits(value: Any) -> None:
    """Refuse a number that a spreadsheet has shortened: digits of a telephone number are lost, say."""
    if isinstance(value, str) and _SHORTENED.fullmatch(value):
        raise BadValue(SHORTENED)


def check_result(text: str) -> None:
    """Refuse what a spreadsheet writes where a formula has no result, or a column is too narrow."""
    if text.startswith("#") and (text in ERRORS or _NARROW.fullmatch(text)):
        raise BadValue(f"is {text if text in ERRORS else '####'}, which a spreadsheet shows in place of a value")


def to_plain(value: Any) -> Any:
    """The value as it is, where an event can hold it as it is: text, number or truth value."""
    if isinstance(value, Decimal):
        return to_float(value)
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        raise BadValue("is a whole number of more than 64 bits, which cannot be kept exactly")
    return value if isinstance(value, str | bool | int | float) else to_text(value)


def to_float(number: Decimal) -> float:
    """The number, unless some of its digits would be lost."""
    try:
        found = float(number)
        if number.is_finite() and Decimal(repr(found)) == number:
            return found
    except (OverflowError, ValueError):
        pass
    raise BadValue("is a number that cannot be kept exactly: it has too many digits")


def to_object(value: Any) -> dict[str, Any]:
    """A JSON object. Raises BadValue, with the name in it, when it holds a number that an event cannot hold
    exactly."""
    if not isinstance(value, dict):
        raise BadValue("is not a JSON object")
    return {name: _nested(name, part) for name, part in value.items()}


def _nested(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_nested(name, part) for part in value]
    if isinstance(value, dict):
        return {key: _nested(f"{name}.{key}", part) for key, part in value.items()}
    try:
        return value if value is None else to_plain(value)
    except BadValue as error:
        shown = name if re.fullmatch(r"[\w.-]{1,64}", name, re.ASCII) else "[key]"
        raise BadValue(f"{shown}: {error}") from None


def to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = to_text(value).casefold()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise BadValue("is neither true nor false")
