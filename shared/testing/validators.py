"""MongoDB's document validation in memory: the subset of JSON Schema that Kith's collections use. Pure."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_INT32 = 2**31


def violations(schema: Mapping[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """The violations of ``schema`` (MongoDB's ``$jsonSchema``) in ``value``, one sentence each; none when it is
    valid.

    Raises NotImplementedError for an unknown keyword, because ignoring one would accept what MongoDB rejects.
    """
    if unknown := schema.keys() - _KEYWORDS:
        raise NotImplementedError(f"{path or 'schema'}: {', '.join(sorted(unknown))}")
    types = schema.get("bsonType")
    if types is not None and _type_of(value) not in ([types] if isinstance(types, str) else types):
        yield f"{path}: {_type_of(value)} is not {types}"
        return
    if "enum" in schema and not any(type(value) is type(each) and value == each for each in schema["enum"]):
        yield f"{path}: not one of {schema['enum']}"
    if "anyOf" in schema and all(any(violations(each, value, path)) for each in schema["anyOf"]):
        yield f"{path}: matches none of anyOf"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            yield f"{path}: below {schema['minimum']}"
        if "maximum" in schema and value > schema["maximum"]:
            yield f"{path}: above {schema['maximum']}"
    elif isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{path}: does not match {schema['pattern']}"
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{path}: fewer than {schema['minItems']} items"
        for index, each in enumerate(value):
            yield from violations(schema.get("items", {}), each, f"{path}[{index}]")
    elif isinstance(value, dict):
        yield from _members(schema, value, path)


def _members(schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: missing"
    for name, each in value.items():
        place = f"{path}.{name}" if path else name
        found = [schema["properties"][name]] if name in schema.get("properties", {}) else []
        found += [
            part for pattern, part in schema.get("patternProperties", {}).items() if re.search(pattern, name)
        ]
        for part in found:
            yield from violations(part, each, place)
        if not found and (rest := schema.get("additionalProperties", True)) is not True:
            if rest is False:
                yield f"{place}: not a known field"
            else:
                yield from violations(rest, each, place)


def _type_of(value: Any) -> str:
    """The BSON type that pymongo stores ``value`` as."""
    if value is None:
        return "null"
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    if isinstance(value, int):
        return "int" if -_INT32 <= value < _INT32 else "long"
    raise NotImplementedError(type(value).__name__)


_TYPES = (
    (bool, "bool"),
    (str, "string"),
    (float, "double"),
    (datetime, "date"),
    (bytes, "binData"),
    (dict, "object"),
    (list, "array"),
    (tuple, "array"),
)
_KEYWORDS = {
    "bsonType",
    "required",
    "properties",
    "patternProperties",
    "additionalProperties",
    "items",
    "minItems",
    "enum",
    "anyOf",
    "pattern",
    "minimum",
    "maximum",
}
