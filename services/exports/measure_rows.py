"""The columns of a measure's file, from the JSON Schema of its answer, and the rows that fit them. Pure.

The model determines the columns; the rows do not. An empty answer, an answer of nulls only and a full answer have
the same columns of the same types.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import orjson

from services.exports.columns import Column, Row, Type

Json = Mapping[str, Any]
_REF = "$ref"
_CURRENCY = "currency"


def columns_of(schema: Json, definitions: Json) -> list[Column]:
    """The columns of the items of an answer, or of the answer where it has no items. ``definitions`` resolves
    references by their last part. A list in an item becomes rows of its own, numbered by ``offset``. Where the
    answer states the currency of its money, each row states it, too, in the last column."""
    model = _resolved(schema, definitions)
    properties = model.get("properties", {})
    if "items" in properties:
        item = _resolved(_resolved(properties["items"], definitions)["items"], definitions)
        fields = item.get("properties", {})
    else:
        fields = {
            name: each
            for name, each in properties.items()
            if name != "masked" and _resolved(each, definitions).get("type") != "array"
        }
    flat = [(name, each) for name, each in _flat("", fields, definitions)]
    single = [_column(name, each) for name, each in flat if each.get("type") != "array"]
    lists = [
        _column(name, {**_resolved(each["items"], definitions), "description": each.get("description", "")})
        for name, each in flat
        if each.get("type") == "array"
    ]
    if lists:
        offset = Column("offset", "integer", "Position in the lists of the item, from 0.", tells=())
        single = [*single, offset, *lists]
    if _CURRENCY in properties and all(column.name != _CURRENCY for column in single):
        # Few different texts, as in the datasets.
        single.append(replace(_column(_CURRENCY, _resolved(properties[_CURRENCY], definitions)), type="choice"))
    return single


def rows_of(answer: Json, columns: Sequence[Column]) -> list[Row]:
    """The items of an answer as rows of these columns."""
    items = answer.get("items", [answer])
    beside = {_CURRENCY: answer[_CURRENCY]} if _CURRENCY in answer else {}
    return [_made(row, columns) for item in items for row in _long({**beside, **item}, columns)]


def knows(answer: Json, columns: Sequence[Column]) -> bool:
    """Whether every field of the items of an answer has a column. An answer of a newer service may contain
    more."""
    names = {column.name.partition(".")[0] for column in columns} | {"masked"}
    return all(item.keys() <= names for item in answer.get("items", []))


def _resolved(schema: Json, definitions: Json) -> Json:
    """The schema with references resolved and without null as an alternative."""
    if _REF in schema:
        found = _resolved(definitions[str(schema[_REF]).rpartition("/")[2]], definitions)
        return {**found, **{key: value for key, value in schema.items() if key != _REF}}
    if "anyOf" in schema:
        ways = [_resolved(one, definitions) for one in schema["anyOf"] if one.get("type") != "null"]
        kinds = {one.get("type") for one in ways}
        # An integer is a number, too.
        way = ways[0] if len(kinds) == 1 else {"type": "number" if kinds == {"integer", "number"} else "string"}
        return {**way, **{key: value for key, value in schema.items() if key != "anyOf"}}
    return schema


def _flat(prefix: str, fields: Json, definitions: Json) -> Iterator[tuple[str, Json]]:
    for name, each in fields.items():
        found = _resolved(each, definitions)
        if found.get("type") == "object" and "properties" in found:
            yield from _flat(f"{prefix}{name}.", found["properties"], definitions)
        elif prefix + name != "masked":
            yield prefix + name, found


def _column(name: str, schema: Json) -> Column:
    kind: Type = "text"
    match schema:
        case {"type": "string", "format": "date"}:
            kind = "day"
        case {"type": "string", "format": "date-time"}:
            kind = "time"
        case {"enum": _} | {"const": _}:
            kind = "choice"
        case {"type": "integer"}:
            kind = "integer"
        case {"type": "number"}:
            kind = "number"
        case {"type": "boolean"}:
            kind = "boolean"
        case {"type": "object" | "array"}:
            kind = "json"
    # The services mask fields: `masked` of the answer lists the hidden columns.
    return Column(name, kind, schema.get("description") or f"{name} of the measure.", tells=())


def _long(item: Json, columns: Sequence[Column]) -> Iterator[dict[str, Any]]:
    row = {
        column.name: _at(item, column.name) for column in columns if column.name != "offset" or "offset" in item
    }
    lists = {name: value for name, value in row.items() if isinstance(value, list)}
    if "offset" in item or not any(column.name == "offset" for column in columns):
        yield row
        return
    for at in range(max((len(value) for value in lists.values()), default=0)):
        yield row | {"offset": at} | {name: _nth(value, at) for name, value in lists.items()}


def _nth(values: list[Any], at: int) -> Any:
    return values[at] if at < len(values) else None


def _at(item: Json, name: str) -> Any:
    value: Any = item
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _made(row: dict[str, Any], columns: Sequence[Column]) -> Row:
    return {
        column.name: None if (value := row.get(column.name)) is None else _MADE[column.type](value)
        for column in columns
    }


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


_MADE: Mapping[Type, Callable[[Any], Any]] = {
    "text": str,
    "choice": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "time": datetime.fromisoformat,
    "day": date.fromisoformat,
    "texts": list,
    "json": _json,
}
