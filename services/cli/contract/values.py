"""Values of JSON, as JSON Schema sees them. Pure."""

import re
from fractions import Fraction
from typing import Any


def type_of(value: Any) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_of(value: Any, type: str) -> bool:
    """Whether a value is of a type: 1 and 1.0 are integers and numbers."""
    if type == "integer" and isinstance(value, float):
        return value.is_integer()
    return type_of(value) in ((type, "integer") if type == "number" else (type,))


def same(one: Any, other: Any) -> bool:
    """Whether two values are one: 1 and 1.0 are, 1 and true are not."""
    if is_number(one) and is_number(other):
        return bool(one == other)
    if type_of(one) != type_of(other) or isinstance(one, dict) != isinstance(other, dict):
        return False  # the dates of TOML are no objects
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    return bool(one == other)


def keeps(value: Any, word: str, bound: Any) -> bool:
    """Whether a value keeps a bound such as ``maxLength``; one of another type does. Raises ValueError for a
    ``pattern`` that cannot be decided."""
    if is_number(value):
        return _number_keeps(value, word, bound)
    if isinstance(value, str):
        if word == "pattern":
            return _matches(value, bound)
        return _size_keeps(len(value), word, "Length", bound)
    if isinstance(value, list):
        if word == "uniqueItems":
            return not bound or not any(same(each, other) for at, each in enumerate(value) for other in value[:at])
        return _size_keeps(len(value), word, "Items", bound)
    return not isinstance(value, dict) or _size_keeps(len(value), word, "Properties", bound)


def _number_keeps(value: float, word: str, bound: float) -> bool:
    if word == "multipleOf":
        return Fraction(str(value)) % Fraction(str(bound)) == 0
    return {
        "minimum": value >= bound,
        "exclusiveMinimum": value > bound,
        "maximum": value <= bound,
        "exclusiveMaximum": value < bound,
    }.get(word, True)


def _size_keeps(size: int, word: str, of: str, bound: float) -> bool:
    if word == f"min{of}":
        return size >= bound
    return word != f"max{of}" or size <= bound


def _matches(value: str, pattern: str) -> bool:
    """Matches as ECMA-262 does, as far as Python's expressions mean the same."""
    if not value.isascii() or "\n" in value:
        raise ValueError(f"pattern {pattern!r} is not compared with {value!r}")
    try:
        return re.search(pattern, value, re.ASCII) is not None
    except re.error as error:
        raise ValueError(f"pattern {pattern!r}: {error}") from None
