"""Converts the values of a row in Debezium's envelope by their schema, where there is one. Pure."""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from services.importer.json_rows import NotJson, read_json
from services.importer.row import Fields
from services.importer.values import Unreadable
from shared.contracts.spelling import nfc

_MARK = "__debezium_unavailable_value"
#: What Debezium writes for a large value that a change has left as it was, and that Postgres therefore has not
#: logged: as text, as bytes in base64, as an hstore in JSON. A list holds nothing but the mark as text, bytes or
#: UUID (Java's UUID.nameUUIDFromBytes of it); or, of numbers, its bytes. An hstore as an
#: object has the mark as its name and value.
_UNCHANGED = frozenset({_MARK, base64.b64encode(_MARK.encode()).decode(), f'{{"{_MARK}":"{_MARK}"}}'})
_UNCHANGED_ITEMS = _UNCHANGED | {"b68a35a7-17ad-35b3-af2a-ae46edb4545a"}
_UNCHANGED_WHOLE: tuple[Any, ...] = (list(_MARK.encode()), {_MARK: _MARK})


class Unchanged(Unreadable):
    """A value that the change has left as it was, and that the log does not hold."""

    def __init__(self) -> None:
        super().__init__(
            "(unchanged)",
            "has not changed, and the log leaves such large values out: set REPLICA IDENTITY FULL for the table",
        )


def plain_row(row: Fields, schema: Any, part: str) -> Fields:
    """The row ``part`` (before, after) with dates, times without offset and decimals as such. ``schema`` is that
    of the whole envelope or None: then numbers are as they stand. A value that does not fit its schema is an
    Unreadable, which rejects the row where the mapping uses it."""
    columns = _columns(schema, part)
    return {name: _value(value, columns.get(name, {})) for name, value in row.items()}


def stored_in(column: str, row: Fields) -> str:
    """The column of the table in which the mapping's ``column`` is: of ``a.b``, a field of an object, ``a``."""
    return column if column in row else column.partition(".")[0]


def opened(value: Any, missing: frozenset[Any]) -> Any:
    """The object in a column, also where it is the text of one: so Debezium writes json and jsonb. None for a text
    that is in ``missing``."""
    text = value.strip() if isinstance(value, str) else ""
    if isinstance(value, str) and nfc(text) in missing:
        return None
    try:
        found = read_json(value) if isinstance(value, str) else value
    except NotJson as error:
        return Unreadable(text, f"is not a JSON object: {error}")
    known = found is None or isinstance(found, dict | Unreadable)
    return found if known else Unreadable(text, "is not a JSON object")


def is_filling(value: Any) -> bool:
    """Whether a value may be what Debezium writes for a column that Postgres has not logged."""
    if isinstance(value, str):
        return value in ("", "{}", "[]") or value.startswith("1970-01-01")
    return not value or (isinstance(value, date) and value.isoformat().startswith("1970-01-01"))


def holds_nullable(row: Fields, schema: Any, part: str) -> bool:
    """Whether a column has a value that may be null and has no default. Debezium has nothing else to write there
    for a column that Postgres has not logged: where null is not allowed, it writes the default or a filling."""
    columns = _columns(schema, part)
    return any(
        value is not None
        and not isinstance(value, Unchanged)
        and (column := columns.get(name, {})).get("optional") is True
        and column.get("default") is None
        for name, value in row.items()
    )


def _columns(schema: Any, part: str) -> Mapping[str, Mapping[str, Any]]:
    """Column → its schema."""
    for field in _fields(schema):
        if field.get("field") == part:
            return {str(column.get("field")): column for column in _fields(field)}
    return {}


def _fields(schema: Any) -> list[dict[str, Any]]:
    fields = schema.get("fields") if isinstance(schema, dict) else None
    return [field for field in fields if isinstance(field, dict)] if isinstance(fields, list) else []


def _value(value: Any, schema: Mapping[str, Any]) -> Any:
    if _is_unchanged(value):
        return Unchanged()
    convert = _CONVERT.get(str(schema.get("name")))
    if value is None or convert is None:
        return value
    try:
        return convert(value, schema)
    except (ValueError, TypeError, KeyError, OverflowError, ArithmeticError, binascii.Error):
        return Unreadable(repr(value), f"is no value of the type {schema['name']} that can be stored exactly")


def _is_unchanged(value: Any) -> bool:
    if isinstance(value, str):
        return value in _UNCHANGED or (_MARK in value and "".join(value.split()) in _UNCHANGED)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return _UNCHANGED_ITEMS.issuperset(value)
    return value in _UNCHANGED_WHOLE


def _since_1970(per_second: int) -> Callable[[Any, Mapping[str, Any]], datetime]:
    def convert(value: Any, _: Mapping[str, Any]) -> datetime:
        if type(value) is not int:
            raise TypeError
        microseconds, rest = divmod(value * 1_000_000, per_second)
        if rest:
            raise ValueError
        # Postgres' timestamp has no offset: the mapping's timezone says whose clock it was.
        return datetime(1970, 1, 1) + timedelta(microseconds=microseconds)  # noqa: DTZ001

    return convert


def _day(value: Any, _: Mapping[str, Any]) -> date:
    if type(value) is not int:
        raise TypeError
    return date(1970, 1, 1) + timedelta(days=value)


def _written(value: Any, _: Mapping[str, Any]) -> datetime | date:
    """A time or a day as ISO 8601: Debezium appends Z, though Postgres' timestamp and date have no offset."""
    if not isinstance(value, str):
        raise TypeError
    text = value.removesuffix("Z")
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


def _decimal(value: Any, schema: Mapping[str, Any]) -> Decimal | int:
    return _scaled(value, int(schema["parameters"]["scale"]))


def _variable(value: Any, _: Mapping[str, Any]) -> Decimal | int:
    return _scaled(value["value"], int(value["scale"]))


def _scaled(value: Any, scale: int) -> Decimal | int:
    """The number whose digits without the decimal sign are a big-endian integer in base64. A whole number without
    decimals, as numeric(20) has, may be an id."""
    if not -1_000 <= scale <= 1_000:
        raise ValueError
    digits = int.from_bytes(base64.b64decode(value, validate=True), signed=True)
    return Decimal(f"{digits}e{-scale}") if scale else digits


_CONVERT: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "io.debezium.time.Date": _day,
    "org.apache.kafka.connect.data.Date": _day,
    "io.debezium.time.Timestamp": _since_1970(1_000),
    "org.apache.kafka.connect.data.Timestamp": _since_1970(1_000),
    "io.debezium.time.MicroTimestamp": _since_1970(1_000_000),
    "io.debezium.time.NanoTimestamp": _since_1970(1_000_000_000),
    "io.debezium.time.IsoTimestamp": _written,
    "io.debezium.time.IsoDate": _written,
    "org.apache.kafka.connect.data.Decimal": _decimal,
    "io.debezium.data.VariableScaleDecimal": _variable,
}
