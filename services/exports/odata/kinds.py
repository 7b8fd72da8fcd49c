"""The kinds of the parts of a ``$filter``: what does not fit together is refused. Pure.

MongoDB orders values of different types by their types, so that a comparison of two kinds would be true, or
false, for every row.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Literal as OneOf

from services.exports.columns import Column, Type
from services.exports.odata.errors import bad
from services.exports.odata.terms import Call, Compare, In, Literal, Logic, Member, Not, Property, Term, Value

#: ``null`` fits every other kind.
Kind = OneOf["text", "number", "boolean", "time", "date", "list of texts", "null"]
KINDS: Mapping[Type, Kind] = {
    **dict.fromkeys(("text", "choice", "json"), "text"),
    **dict.fromkeys(("integer", "number"), "number"),
    "boolean": "boolean",
    "time": "time",
    "day": "date",
    "texts": "list of texts",
}
#: Function → the kinds that each argument may have, and the kind of its result.
_FUNCTIONS: Mapping[str, tuple[frozenset[Kind], Kind]] = {
    **dict.fromkeys(("contains", "startswith", "endswith"), (frozenset[Kind]({"text"}), "boolean")),
    **dict.fromkeys(("tolower", "toupper", "trim"), (frozenset[Kind]({"text"}), "text")),
    "length": (frozenset[Kind]({"text"}), "number"),
    "date": (frozenset[Kind]({"time", "date"}), "date"),
    **dict.fromkeys(
        ("year", "month", "day", "hour", "minute", "second"), (frozenset[Kind]({"time", "date"}), "number")
    ),
}


def kind_of(term: Term, column: Callable[[str], Column]) -> Kind:
    """The kind of a term. ``column`` finds a column by its name. Raises ODataError for a term whose parts do not
    fit together, and what ``column`` raises."""
    match term:
        case Literal(value):
            return kind_of_value(value)
        case Property(name):
            return KINDS[column(name).type]
        case Call(name, arguments):
            takes, result = _FUNCTIONS[name]
            for argument in arguments:
                if (kind := kind_of(argument, column)) not in takes and kind != "null":
                    wanted = " or a ".join(sorted(takes, reverse=True))
                    raise bad("$filter", f"{name} takes a {wanted}, and {_written(argument)} is a {kind}")
            return result
        case Compare(_, left, right):
            _check_pair(left, right, (kind_of(left, column), kind_of(right, column)), column)
        case In(left, values):
            # Once, and not for each value: an ``in`` may be the left of another.
            kind = kind_of(left, column)
            for value in values:
                _check_pair(left, Literal(value), (kind, kind_of_value(value)), column)
        case Logic(operator, parts):
            for part in parts:
                _check_truth(operator, part, column)
        case Not(part):
            _check_truth("not", part, column)
        case Member(name, values):
            if KINDS[column(name).type] != "list of texts":
                raise bad("$filter", f"{name} is no list")
            if any(kind_of_value(value) != "text" for value in values or ()):
                raise bad("$filter", f"{name} is a list of texts")
    return "boolean"


def check_filter(term: Term, column: Callable[[str], Column]) -> None:
    """Raises ODataError for a filter that is not true or false, or whose parts do not fit together."""
    if (kind := kind_of(term, column)) not in ("boolean", "null"):
        raise bad("$filter", f"is true or false, and {_written(term)} is a {kind}")


def kind_of_value(value: Value) -> Kind:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case datetime():
            return "time"
        case date():
            return "date"
        case str():
            return "text"


def _check_truth(operator: str, part: Term, column: Callable[[str], Column]) -> None:
    if (kind := kind_of(part, column)) not in ("boolean", "null"):
        raise bad("$filter", f"{operator} takes what is true or false, and {_written(part)} is a {kind}")


def _check_pair(left: Term, right: Term, kinds: tuple[Kind, Kind], column: Callable[[str], Column]) -> None:
    if kinds[0] == kinds[1] or "null" in kinds:
        return
    both = set(kinds) == {"time", "date"}
    match left, right:
        case (Property(name), Literal(value)) | (Literal(value), Property(name)):
            type = column(name).type
            hint = f" (write 2026-11-21{'' if type == 'day' else 'T00:00:00Z'})" if both else ""
            raise bad("$filter", f"{name} is of the type {type}, and {written(value)} is not{hint}")
        case (_, Literal(datetime() as time)) | (Literal(datetime() as time), _) if both and _is_midnight(time):
            return  # It is the same as its day, which a function has made of a time.
    one, other = (f"{_written(term)} is a {kind}" for term, kind in zip((left, right), kinds, strict=True))
    raise bad("$filter", f"{one}, and {other}: they cannot be compared")


def _is_midnight(time: datetime) -> bool:
    at = time.astimezone(UTC)
    return not (at.hour or at.minute or at.second or at.microsecond)


def written(value: Value) -> str:
    """A literal as OData writes it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case date():
            return value.isoformat()
        case str():
            return "'" + value.replace("'", "''") + "'"
    return str(value)


def _written(term: Term) -> str:
    match term:
        case Literal(value):
            return written(value)
        case Property(name):
            return name
        case Call(name, _):
            return f"{name}(…)"
    return "the expression"
