"""Converts a cell of a row to a value of an event: text, ids, booleans. Pure."""

import re
from datetime import date
from decimal import Decimal
from typing import Any

_TRUE = frozenset({"true", "t", "yes", "y", "1", "on"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "off"})
_LONGEST = 400
#: Below it, every whole number is a float of its own.
_EXACT_FLOAT = 2.0**53
_INT64 = range(-(2**63), 2**63)
# A spreadsheet's notation of a long number: 4.91701E+11. Digits are lost.
_SHORTENED = re.compile(r"[+-]?(?:\d+[.,]\d+[eE][+-]?\d+|\d+[eE][+-]\d+)", re.ASCII)
# A whole number that a program has stored as a float, or as an amount.
_FLOAT = re.compile(r"[+-]?\d+[.,]0+", re.ASCII)
#: The errors that spreadsheets write in place of a result, in English and German.
ERRORS = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#GETTING_DATA"}
    | {"#NV", "#BEZUG!", "#WERT!", "#ZAHL!", "#ÜBERLAUF!", "#KALK!"}
)
#: What programs write in place of a character that they could not read.
LOST = "\ufffd"
#: What programs and people write where there is no id. Read as one, it would make one person of many.
_NOBODY = re.compile(
    r"null|none|nan|nat|n/a|undefined|\(null\)|\[null\]|<na>|\\n|\[object object\]|[-=_?*.:/]+", re.IGNORECASE
)
_TEXT_FORMULA = re.compile('="((?:[^"]|"")*)"')
_NARROW = re.compile("#{3,}")

SHORTENED = (
    "is a number that a spreadsheet has shortened, like 4.91701E+11, and digits are lost: "
    "format the column as text there and export it again"
)


class BadValue(ValueError):
    """A cell does not fit its field. The message contains the reason and never the value."""


class Unreadable:
    """A cell without a value, as a formula's error. ``text`` is shown for it, ``detail`` is the reason."""

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
    if isinstance(value, float | Decimal):
        return _in_full(Decimal(repr(value)) if isinstance(value, float) else value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise BadValue("is neither text nor a number")


def _in_full(number: Decimal) -> str:
    """The digits of a number, without an exponent."""
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or not -_LONGEST <= exponent <= _LONGEST - len(digits):
        raise BadValue("is a number that has too many digits for a text")
    return format(number, "f")


def to_personal(value: Any) -> str:
    """Text that may be the number of a person, as of a telephone. A whole number that a program has stored as a
    float has its digits. Rejects one that may have lost some."""
    check_digits(value)
    if isinstance(value, float | Decimal):
        number = Decimal(repr(value)) if isinstance(value, float) else value
        shortened = isinstance(value, Decimal) and "E" in str(value)
        if not number.is_finite() or shortened or (isinstance(value, float) and abs(value) >= _EXACT_FLOAT):
            raise BadValue("is a number with an exponent, and digits may be lost: write it as text")
        if number == number.to_integral_value():
            return str(int(number))
    return to_text(value)


def to_id(value: Any) -> str:
    """An id: text or a whole number. Rejects a number that a program has reformatted."""
    if isinstance(value, bool):
        raise BadValue("is true or false, which is not an id")
    if isinstance(value, float | Decimal):
        raise BadValue("is a number with a decimal sign or an exponent, which is not an id")
    if isinstance(value, date):
        raise BadValue("is a date, which is not an id: a spreadsheet may have converted it")
    text = to_text(value)
    check_digits(text)
    if _NOBODY.fullmatch(text):
        raise BadValue(
            'is what stands for a missing value, as NULL, nan or -: list it in missing, or set type = "text" if '
            "it is an id"
        )
    if LOST in text:
        raise BadValue(
            "contains U+FFFD, which a program has put in place of a character that it could not read: another id "
            "may look the same"
        )
    if _FLOAT.fullmatch(text):
        raise BadValue("is a whole number written with decimals, like 1234.0 or 1234,00, which is not the id 1234")
    return text


def check_digits(value: Any) -> None:
    """Reject a number that a spreadsheet has shortened, as a telephone number with lost digits."""
    if isinstance(value, str) and _SHORTENED.fullmatch(value):
        raise BadValue(SHORTENED)


def unwrapped(cell: str) -> str:
    """The text of a cell that programs write as a formula, so that Excel leaves it as it is: 00123 of ="00123"."""
    found = _TEXT_FORMULA.fullmatch(cell) if cell.startswith('="') else None
    return cell if found is None else found[1].replace('""', '"')


def check_result(text: str) -> None:
    """Reject the text that a spreadsheet writes if a formula has no result or a column is too narrow."""
    if text.startswith("#") and (text in ERRORS or _NARROW.fullmatch(text)):
        raise BadValue(f"is {text if text in ERRORS else '####'}, which a spreadsheet shows in place of a value")


def to_plain(value: Any) -> Any:
    """The value unchanged, if an event can contain it: text, number or boolean."""
    if isinstance(value, Decimal):
        return to_float(value)
    if isinstance(value, int) and not isinstance(value, bool) and value not in _INT64:
        raise BadValue("is a whole number of more than 64 bits, which cannot be stored exactly")
    return value if isinstance(value, str | bool | int | float) else to_text(value)


def to_float(number: Decimal) -> float:
    """The number; rejected if digits would be lost."""
    try:
        found = float(number)
        if number.is_finite() and Decimal(repr(found)) == number:
            return found
    except (OverflowError, ValueError):
        pass
    raise BadValue("is a number that cannot be stored exactly: it has too many digits")


def to_object(value: Any) -> dict[str, Any]:
    """A JSON object. Raises BadValue, with the name of the member, for a number that an event cannot contain
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
