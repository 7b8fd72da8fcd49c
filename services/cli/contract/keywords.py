"""The keywords of JSON Schema that are compared, and the form of their values. Pure."""

from collections.abc import Callable, Mapping
from math import isnan
from typing import Any

from services.cli.contract.values import is_number

Schema = Mapping[str, Any] | bool

TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
#: A promise that has to be at least as narrow as the expectation, from below and from above.
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
#: A promise that has to be the same.
SAME = ("format", "pattern", "multipleOf", "uniqueItems")
_STRUCTURE = ("type", "enum", "const", "properties", "required", "additionalProperties", "items")
ALTERNATIVES = ("anyOf", "oneOf")
COMBINED = (*ALTERNATIVES, "allOf", "$ref")
NOTES = (
    *("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"),
    *("$schema", "$id", "$defs", "definitions", "$comment", "discriminator"),
)
_KNOWN = frozenset({*LOWER, *UPPER, *SAME, *_STRUCTURE, *COMBINED, *NOTES})


class Undecidable(ValueError):
    """The expectation uses what is not compared here. The message names it and its place."""


def undecidable(path: str, what: str) -> Undecidable:
    return Undecidable(f"{path or 'the document'}: {what}")


def _is_schema(value: Any) -> bool:
    return isinstance(value, Mapping | bool)


def _is_bound(value: Any) -> bool:
    return is_number(value) and not (isinstance(value, float) and isnan(value))


def _is_type(value: Any) -> bool:
    return isinstance(value, str) and value in TYPES


#: What the value of a keyword has to be, so that it can be compared.
_FORMS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys((*LOWER, *UPPER), _is_bound),
    **dict.fromkeys(
        (*ALTERNATIVES, "allOf"), lambda value: isinstance(value, list) and all(map(_is_schema, value))
    ),
    **dict.fromkeys(("pattern", "format", "$ref"), lambda value: isinstance(value, str)),
    **dict.fromkeys(("items", "additionalProperties"), _is_schema),
    "multipleOf": lambda value: _is_bound(value) and value > 0,
    "uniqueItems": lambda value: isinstance(value, bool),
    "enum": lambda value: isinstance(value, list),
    "required": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "properties": lambda value: isinstance(value, Mapping) and all(map(_is_schema, value.values())),
    "type": lambda value: all(map(_is_type, value if isinstance(value, list) else [value])),
}


def check_form(schema: Mapping[str, Any], path: str) -> None:
    """Raise Undecidable for a keyword that is not compared, or whose value cannot be."""
    if unknown := sorted(set(schema) - _KNOWN):
        raise undecidable(path, f"{unknown[0]} is not compared; leave it out")
    for word, value in schema.items():
        if word in _FORMS and not _FORMS[word](value):
            raise undecidable(path, f"{word} cannot be {value!r}"[:200])
