"""Values in ``$filter`` as MongoDB's expressions, with nested functions. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any

from services.exports.columns import Column
from services.exports.odata.errors import ODataError, unsupported
from services.exports.odata.letters import Case, changed, pattern
from services.exports.odata.terms import Call, Literal, Property, Term, Value
from shared.runtime.protocols import Document

_TIME_FUNCTIONS = {
    "year": "$year",
    "month": "$month",
    "day": "$dayOfMonth",
    "hour": "$hour",
    "minute": "$minute",
    "second": "$second",
}
#: MongoDB takes no longer pattern, in bytes.
_LONGEST_PATTERN = 32_000
#: The characters that MongoDB's $trim removes.
_BLANKS = "\0\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_ASCII = r"\A[\x00-\x7f]*\z"


@dataclass(frozen=True, slots=True)
class Made:
    """A value. ``expression`` is MongoDB's; it is null if the property is null. ``case`` is not yet applied to it.
    ``value`` is the value of a constant."""

    expression: Any
    case: Case | None = None
    value: Value = None
    constant: bool = False


class Expressions:
    """Expressions over the columns that ``column`` finds and ``field`` reads, of terms that ``kinds`` has checked.
    Methods raise ODataError."""

    def __init__(self, column: Callable[[str], Column], field: Callable[[Column], Any]) -> None:
        self._column = column
        self._field = field

    def made(self, term: Term) -> Made:
        match term:
            case Literal(value):
                return _literal(value)
            case Property(name):
                return Made(self._field(self._column(name)))
            case Call("tolower" | "toupper" | "trim" | "length" as name, (argument,)):
                return _of_text(name, self.made(argument))
            case Call(name, (argument,)) if name in _TIME_FUNCTIONS or name == "date":
                return _of_time(name, self.made(argument))
        raise unsupported(
            "$filter", "functions are supported on properties, on literals and on results of functions"
        )


def compared(operator: str, mongo: str, left: Made, right: Made) -> Document:
    """A comparison as a filter. ``operator`` is OData's, ``mongo`` the aggregation operator."""
    if left.case is None and right.case is None:
        return _plain(operator, mongo, left.expression, right.expression)
    if operator in ("eq", "ne"):
        if left.constant or right.constant:
            text, value = (right, left.value) if left.constant else (left, right.value)
            if value is None:
                return _plain(operator, mongo, text.expression, {"$literal": None})
            same = matches("eq", text, str(value))
            return same if operator == "eq" else {"$nor": [same]}
        raise unsupported("$filter", "tolower and toupper are compared with literals only")
    # MongoDB cannot order letters beyond ASCII in another case. An error is better than a wrong answer.
    return _plain(operator, mongo, _cased(left), _cased(right))


def matches(function: str, text: Made, value: str) -> Document:
    """Whether a text contains, begins with, ends with or (``eq``) equals ``value``, in the requested case."""
    body = re.escape(value) if text.case is None else pattern(text.case, value)
    if body is None or (text.case is not None and changed(text.case, value) != value):
        return NOTHING
    whole = {
        "contains": body,
        "startswith": rf"\A(?:{body})",
        "endswith": rf"(?:{body})\z",
        "eq": rf"\A(?:{body})\z",
    }[function]
    if text.constant:
        found = re.search(whole.replace(r"\z", r"\Z"), str(text.value), re.DOTALL)
        return {} if text.value is not None and found else NOTHING
    return {"$expr": {"$regexMatch": {"input": text.expression, "regex": short_enough(whole), "options": "s"}}}


def short_enough(pattern: str) -> str:
    """The pattern. Raises ODataError for one that MongoDB does not take."""
    if len(pattern.encode()) > _LONGEST_PATTERN:
        raise unsupported("$filter", "a text of this length cannot be searched for")
    return pattern


#: The filter that matches nothing.
NOTHING: Document = {"_id": {"$in": []}}


def _literal(value: Value) -> Made:
    shown: Any = value
    if isinstance(value, date) and not isinstance(value, datetime):
        shown = datetime.combine(value, time(), UTC)
    return Made({"$literal": shown}, value=value, constant=True)


def _of_text(name: str, inner: Made) -> Made:
    if name in ("tolower", "toupper"):
        case: Case = "tolower" if name == "tolower" else "toupper"
        if inner.constant:
            return _literal(None if inner.value is None else changed(case, str(inner.value)))
        if inner.case not in (None, case):
            raise unsupported("$filter", "one of tolower and toupper in the other is not supported")
        return replace(inner, case=case)
    if inner.constant and inner.value is not None:
        text = str(inner.value)
        return _literal(text.strip(_BLANKS) if name == "trim" else len(text))
    if name == "trim":
        # Blanks have no case.
        return replace(inner, expression={"$trim": {"input": inner.expression}})
    if inner.case is not None:
        raise unsupported("$filter", "length of tolower or toupper is not supported: some letters become several")
    known = {"$cond": [{"$eq": ["$$text", None]}, None, {"$strLenCP": "$$text"}]}
    return Made({"$let": {"vars": {"text": inner.expression}, "in": known}})


def _of_time(name: str, inner: Made) -> Made:
    if inner.constant:
        return _literal(None if inner.value is None else _part(name, inner.value))
    if name == "date":
        return Made({"$dateTrunc": {"date": inner.expression, "unit": "day"}})
    return Made({_TIME_FUNCTIONS[name]: inner.expression})


def _part(name: str, value: Value) -> Value:
    assert isinstance(value, date)
    if name == "date":
        return value.astimezone(UTC).date() if isinstance(value, datetime) else value
    at = value.astimezone(UTC) if isinstance(value, datetime) else datetime.combine(value, time(), UTC)
    found: int = getattr(at, name)
    return found


def _plain(operator: str, mongo: str, one: Any, other: Any) -> Document:
    compared: Document = {mongo: [one, other]}
    if operator in ("eq", "ne"):
        return {"$expr": compared}
    # MongoDB orders values of different types; OData does not.
    known = [{"$ne": [side, None]} for side in (one, other)]
    return {"$expr": {"$and": [*known, compared]}}


def _cased(made: Made) -> Any:
    """The text in the requested case. MongoDB fails (NOT_ASCII) at a text with letters beyond ASCII."""
    if made.case is None:
        return made.expression
    function = "$toLower" if made.case == "tolower" else "$toUpper"
    ascii_only = {"$regexMatch": {"input": "$$text", "regex": _ASCII}}
    fails = {"$toInt": {"$concat": ["not ASCII: ", "$$text"]}}
    known = {"$cond": [ascii_only, {function: "$$text"}, fails]}
    null = {"$cond": [{"$eq": ["$$text", None]}, None, known]}
    return {"$let": {"vars": {"text": made.expression}, "in": null}}


def not_ascii() -> ODataError:
    return unsupported(
        "$filter",
        "tolower and toupper can order texts of ASCII only, and the column contains others: compare with eq or ne",
    )
