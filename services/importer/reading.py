"""One field's value out of a row, by the steps that ``FieldSpec`` lists. Pure."""

from collections.abc import Mapping
from typing import Any

from services.importer.fields import FieldSpec, Target
from services.importer.mapping import Source
from services.importer.values import (
    BadValue,
    multiply,
    to_bool,
    to_decimal,
    to_int,
    to_object,
    to_plain,
    to_text,
    to_time,
)

Row = Mapping[str, Any]
#: Name of a [source.collect] → key → the values gathered for it.
Collected = Mapping[str, Mapping[str, list[str]]]
_WHITE_SPACE = " \t\r\n\f\v\u00a0"


class FieldReader:
    """Reads a field of every row of a source. ``column`` is the column it comes from, if it is just one."""

    def __init__(self, spec: FieldSpec, target: Target, source: Source, collected: Collected) -> None:
        self.column = spec.column
        self._spec = spec
        self._target = target
        self._kind = spec.kind(target)
        self._zone = spec.timezone or source.timezone
        self._source_missing = frozenset(source.missing)
        missing = source.missing if spec.missing is None else spec.missing
        self._missing = frozenset(missing if spec.const is None else [])
        self._strip = spec.strip + _WHITE_SPACE if spec.strip else None
        fold = str.casefold if spec.ignore_case else str
        self._map = None if spec.map is None else {fold(key): value for key, value in spec.map.items()}
        self._pieces = spec.pieces()
        self._lists = collected.get(spec.collect or "", {})
        self._key = "" if spec.collect is None else source.collect[spec.collect].joined_on

    def __call__(self, row: Row) -> Any:
        """The value, ready for JSON; None when it is missing. Raises BadValue."""
        spec = self._spec
        if spec.when is not None and self._part(row, spec.when) is None:
            return None
        value = self._origin(row)
        if isinstance(value, str) and spec.split is not None:
            value = value.split(spec.split)
        if self._target == "list" or (self._target == "any" and isinstance(value, list)):
            result = self._many(value, row)
        else:
            result = self._one(value, row)
        return spec.default if result is None else result

    def _origin(self, row: Row) -> Any:
        spec = self._spec
        if spec.column is not None:
            return lookup(row, spec.column)
        if spec.const is not None:
            return spec.const
        if spec.collect is not None:
            key = self._part(row, self._key)
            return None if key is None else self._lists.get(to_text(key))
        text = ""
        for literal, column in self._pieces:
            text += literal
            if column is not None:
                part = self._part(row, column)
                if part is None:
                    return None
                text += to_text(part)
        return text

    def _part(self, row: Row, column: str) -> Any:
        return present(lookup(row, column), self._source_missing)

    def _many(self, value: Any, row: Row) -> list[Any] | None:
        items = value if isinstance(value, list) else [value]
        found = [result for item in items if (result := self._one(item, row)) is not None]
        if self._target == "list" or self._spec.collect is not None:
            found = list(dict.fromkeys(found))  # a map may have made two of them equal
        return found or None

    def _one(self, value: Any, row: Row) -> Any:
        value = present(value, self._missing, self._strip)
        if value is not None and self._map is not None:
            value = self._mapped(value)
        if self._spec.case is not None and isinstance(value, str):
            value = getattr(value, self._spec.case)()
        return None if value is None else self._typed(value, row)

    def _mapped(self, value: Any) -> Any:
        assert self._map is not None
        text = to_text(value)
        key = text.casefold() if self._spec.ignore_case else text
        if key in self._map:
            return self._map[key]
        if self._spec.unmapped == "reject":
            raise BadValue("is not in the map")
        return value if self._spec.unmapped == "keep" else None

    def _typed(self, value: Any, row: Row) -> Any:
        match self._kind:
            case "text" | "list":
                return to_text(value)
            case "int" | "float":
                return self._number(value, row)
            case "bool":
                return to_bool(value)
            case "time":
                return to_time(value, self._spec.format, self._zone)
            case "object":
                return to_object(value)
            case "any":
                return to_plain(value)

    def _number(self, value: Any, row: Row) -> int | float | None:
        spec = self._spec
        number = to_decimal(value, spec.decimal, spec.thousands)
        if spec.multiply is not None:
            other = self._part(row, spec.multiply)
            if other is None:
                return None
            number = multiply(number, to_decimal(other, spec.decimal, spec.thousands))
        if spec.scale != 1:
            number = multiply(number, spec.factor)
        return to_int(number, spec.round) if self._kind == "int" else float(number)


def lookup(row: Row, column: str) -> Any:
    """A column's value or None; in a row of nested objects, ``a.b`` is ``b`` within ``a``."""
    if column in row or "." not in column:
        return row.get(column)
    value: Any = row
    for part in column.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def present(value: Any, missing: frozenset[Any], strip: str | None = None) -> Any:
    """The value, text without white space (or ``strip``) at its ends; None when it is missing."""
    if isinstance(value, str):
        value = value.strip(strip)
    elif isinstance(value, list | dict | bool):
        return value
    return None if value in missing else value
