"""Reads one field's value from a row, by the steps that ``FieldSpec`` lists. Pure."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from services.importer.fields import FieldSpec, Target
from services.importer.mapping import Source
from services.importer.numbers import Style, decimals_of, multiply, to_decimal, to_int
from services.importer.targets import IDS
from services.importer.times import instant, is_midnight, parse
from services.importer.values import (
    LOST,
    BadValue,
    Unreadable,
    check_result,
    to_bool,
    to_float,
    to_id,
    to_object,
    to_personal,
    to_plain,
    to_text,
)
from shared.contracts.spelling import nfc
from shared.measures.currencies import DIGITS

Fields = Mapping[str, Any]
#: Name of a [source.collect] → key → the values gathered for it.
Collected = Mapping[str, Mapping[str, list[str]]]
_WHITE_SPACE = " \t\r\n\f\v\u00a0\u202f"
#: Most decimals of a number whose scale does not limit them: three may be a group of thousands.
_FEW_DECIMALS = 2
#: Factors that make minor units of a currency.
_MINOR = frozenset(Decimal(10) ** digits for digits in DIGITS.values() if digits)
#: Factors of money in thousands, or ten thousands, of a currency without minor units, as Japanese, Korean and
#: Vietnamese lists have it.
_LARGE = (Decimal(1_000), Decimal(10_000))


class FieldReader:
    """Reads a field from every row of a source. ``column`` is its column, if it is a single one."""

    def __init__(
        self, spec: FieldSpec, target: Target, source: Source, collected: Collected, path: str = ""
    ) -> None:
        code = source.fields.get("currency") if path == "amount" and spec.scale not in (1, "hundredths") else None
        #: Reads the currency of an amount that is multiplied by its scale.
        self._currency = None if code is None else FieldReader(code, "text", source, collected, "currency")
        self.column = spec.column
        # Text that the mapping declares as text is kept as it is written, as is what it states itself.
        self._as_written = spec.type == "text"
        stated = (spec.const, *(spec.map or {}).values())
        self._own = frozenset(each for each in stated if isinstance(each, str))
        self._names = path in IDS
        self._identifies = path.startswith("personal.")
        self._is_place = path.startswith("location.")
        self._spec = spec
        self._target = target
        self._kind = spec.kind(target)
        # Of the times that were read: all, those at midnight, and those of these that are another day in UTC.
        self._times = self._midnights = self._moved = 0
        self._lost = 0
        self._zone = spec.timezone or source.timezone
        self._source_missing = missing_values(source.missing)
        missing = source.missing if spec.missing is None else spec.missing
        self._missing = missing_values(missing if spec.const is None else [])
        self._strip = spec.strip + _WHITE_SPACE if spec.strip else None
        self._fold = str.casefold if spec.ignore_case else str
        self._map = None if spec.map is None else {nfc(self._fold(key)): to for key, to in spec.map.items()}
        self._style = _style(spec, self._kind, path)
        self._factor = spec.factor
        self._pieces = spec.pieces()
        self._lists = collected.get(spec.collect or "", {})
        self._key = "" if spec.collect is None else source.collect[spec.collect].joined_on

    def __call__(self, row: Fields) -> Any:
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

    def _origin(self, row: Fields) -> Any:
        spec = self._spec
        if spec.column is not None:
            return lookup(row, spec.column)
        if spec.const is not None:
            return spec.const
        if spec.collect is not None:
            key = self._part(row, self._key)
            return None if key is None else self._lists.get(nfc(to_text(key)))
        text = ""
        for literal, column in self._pieces:
            text += literal
            if column is not None:
                part = self._part(row, column)
                if part is None:
                    return None
                text += self._text(part)
        return text

    def _part(self, row: Fields, column: str) -> Any:
        return present(lookup(row, column), self._source_missing)

    def _many(self, value: Any, row: Fields) -> list[Any] | None:
        items = value if isinstance(value, list) else [value]
        found = [result for item in items if (result := self._one(item, row)) is not None]
        if self._target == "list" or self._spec.collect is not None:
            found = list(dict.fromkeys(found))  # a map may have made two of them equal
        return found or None

    def _one(self, value: Any, row: Fields) -> Any:
        value = present(value, self._missing, self._strip)
        if value is not None and self._map is not None:
            value = self._mapped(value)
        if isinstance(value, str) and not self._as_written and self._spec.const is None:
            check_result(value)
        if self._spec.case is not None and isinstance(value, str):
            value = getattr(value, self._spec.case)()
        return None if value is None else self._typed(value, row)

    def _mapped(self, value: Any) -> Any:
        assert self._map is not None
        key = nfc(self._fold(to_text(value)))
        if key in self._map:
            return self._map[key]
        if self._spec.unmapped == "reject":
            raise BadValue("is not in the map")
        return value if self._spec.unmapped == "keep" else None

    def _typed(self, value: Any, row: Fields) -> Any:
        match self._kind:
            case "text" | "list":
                return self._text(value)
            case "int" | "float":
                return self._number(value, row)
            case "bool":
                return to_bool(value)
            case "time":
                return self._time(value)
            case "object":
                return to_object(value)
            case "any":
                return to_plain(value)

    def _time(self, value: Any) -> str:
        parsed = parse(value, self._spec.format)
        found = instant(parsed, self._zone, day=self._spec.day)
        self._times += 1
        if is_midnight(parsed):
            self._midnights += 1
            self._moved += found[:10] != parsed.isoformat()[:10]
        return found

    def notes(self) -> list[str]:
        """What the values that were read have in common, and may not be meant."""
        if self._lost and self.column is not None:
            return [
                f'{self._lost:,} values of column "{self.column}" contain U+FFFD: what wrote the file could not '
                "read a character of them"
            ]
        if self._spec.day or not self._moved or self._midnights < self._times or self.column is None:
            return []
        return [
            f'all {self._times:,} times of column "{self.column}" are midnight, which is the day before in UTC, '
            "by which reports count: set day = true if they are days"
        ]

    def _text(self, value: Any) -> str:
        self._lost += isinstance(value, str) and LOST in value
        if isinstance(value, str) and (self._as_written or value in self._own):
            return to_text(value)
        if self._names:
            return to_id(value)
        return to_personal(value) if self._identifies else to_text(value)

    def _number(self, value: Any, row: Fields) -> int | float | None:
        spec = self._spec
        style, factor = self._scaled(row)
        number = to_decimal(value, style)
        if spec.multiply is not None:
            other = self._part(row, spec.multiply)
            if other is None:
                return None
            number = multiply(number, to_decimal(other, self._style._replace(decimals=None)))
        if factor != 1:
            number = multiply(number, factor)
        if self._kind == "int":
            return to_int(number, spec.round)
        # Places have more decimals than anybody can measure; the nearest number is the same place.
        return float(number) if self._is_place or spec.round else to_float(number)

    def _scaled(self, row: Fields) -> tuple[Style, Decimal]:
        """The notation and the factor of a row's number."""
        spec, style, factor = self._spec, self._style, self._factor
        if self._currency is None:
            return style, factor
        digits = self._digits(row)
        if spec.scale != "currency":
            # One factor for all currencies is the commonest fault of mappings: 1500 JPY become 150,000.
            large = digits == 0 and factor in _LARGE
            if digits is not None and factor in _MINOR and factor != 10**digits and not large:
                raise BadValue(
                    f"is multiplied by scale = {factor}, which does not make the minor units of its currency "
                    '(ISO 4217): set scale = "currency"'
                )
            return style, factor
        if digits is None:
            raise BadValue('has no currency of ISO 4217, whose digits scale = "currency" needs')
        # Programs that write two decimals for every currency write 1500.00 JPY.
        return style if spec.round else style._replace(decimals=digits, zeros=True), Decimal(10) ** digits

    def _digits(self, row: Fields) -> int | None:
        assert self._currency is not None
        try:
            return DIGITS.get(self._currency(row) or "")
        except BadValue:
            return None  # of which the field of the currency says why


def _style(spec: FieldSpec, kind: Target, path: str) -> Style:
    decimals = None
    if kind == "int" and not spec.round:
        decimals = decimals_of(spec.factor)
        if not decimals and path != "amount":
            decimals = _FEW_DECIMALS
    return Style(
        spec.decimal,
        spec.thousands,
        tuple(spec.negative),
        decimals,
        exponent=kind != "int",
        signs=spec.strip + _WHITE_SPACE if spec.strip else "",
        indian=spec.groups == "indian",
    )


def lookup(row: Fields, column: str, absent: Any = None) -> Any:
    """A column's value, or ``absent``; in a row of nested objects, ``a.b`` is ``b`` in ``a``."""
    if column in row or "." not in column:
        return row.get(column, absent)
    value: Any = row
    for part in column.split("."):
        if isinstance(value, Unreadable):
            return value
        if not isinstance(value, dict):
            return absent
        value = value.get(part, absent)
    return value


def missing_values(stated: Iterable[Any]) -> frozenset[Any]:
    """The values of ``missing`` as ``present`` takes them: text in NFC."""
    return frozenset(nfc(value) if isinstance(value, str) else value for value in stated)


def present(value: Any, missing: frozenset[Any], strip: str | None = None) -> Any:
    """The value, text stripped of white space (or of ``strip``); None if it is missing, in whatever spelling."""
    if isinstance(value, Unreadable):
        if value.text and nfc(value.text) in missing:
            return None
        raise BadValue(value.detail)
    if isinstance(value, str):
        value = value.strip(strip)
        return None if nfc(value) in missing else value
    if isinstance(value, list | dict | bool):
        return value
    return None if value in missing else value
