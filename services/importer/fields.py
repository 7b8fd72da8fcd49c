"""The source of one field of an event: the tables of ``[source.fields]``. Pure."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from services.importer.times import check_form

_TEMPLATE = re.compile(r"\{([^{}]+)\}")
Target = Literal["text", "int", "float", "bool", "time", "list", "object", "any"]
Scalar = bool | int | float | str


def _zone(value: Any) -> Any:
    try:
        return ZoneInfo(value)
    except (LookupError, ValueError, TypeError, OSError):
        raise ValueError('is not a time zone like "Europe/Berlin" or "UTC"') from None


Zone = Annotated[ZoneInfo, BeforeValidator(_zone)]


class FieldSpec(BaseModel):
    """One of ``column``, ``const``, ``template`` and ``collect`` gives the value. These steps follow, in this
    order: ``split`` into a list, strip, ``missing``, ``map``, ``case``, ``multiply`` and ``scale`` (numbers),
    ``type``, and ``default`` if nothing is left.

    The two commonest tables have a short form: text for ``{column = text}``, and a number, a boolean or a time for
    ``{const = value}``.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", arbitrary_types_allowed=True)

    column: str | None = Field(None, description="Column, or in JSON lines a path like user.address.city.")
    const: Scalar | datetime | date | list[Scalar] | None = Field(None, description="The same for every row.")
    template: str | None = Field(None, description="Text with {column} in it; {{ and }} are braces.")
    collect: str | None = Field(None, description="Name of a [source.collect.NAME].")

    split: str | None = Field(None, min_length=1, description="Cut text at each of these into a list.")
    strip: str = Field("", description="Characters to remove at both ends, besides white space.")
    missing: list[str | int | float] | None = Field(None, description="In place of the source's missing.")
    map: dict[str, Scalar] | None = Field(None, description="Value to value; or the name of a [maps.NAME].")
    ignore_case: bool = Field(False, description="Look values up in the map regardless of case.")
    unmapped: Literal["keep", "missing", "reject"] = Field("keep", description="Values not in the map.")
    case: Literal["lower", "upper", "title"] | None = None
    type: Literal["text", "int", "float", "bool", "time"] | None = Field(
        None,
        description="Needed for traits only; the other fields have a fixed type. Text keeps a "
        "value that looks like a number or a spreadsheet error as it is written.",
    )
    decimal: Literal[".", ","] = Field(".", description="The decimal sign.")
    thousands: Literal["", ".", ",", " ", "'", "_", "\u00a0", "\u202f", "\u2019"] = Field(
        "",
        description="The thousands separator: groups of three digits. A blank stands for U+00A0 and U+202F, too.",
    )
    groups: Literal["three", "indian"] = Field(
        "three", description="Digits between thousands separators: 1,000,000, or in Indian groups 10,00,000."
    )
    negative: list[Literal["minus", "trailing", "brackets"]] = Field(
        [],
        description='Forms besides -5 that are negative: "minus" is U+2212, "trailing" is 5-, "brackets" is (5).',
    )
    multiply: str | None = Field(None, description="A column to multiply with, such as a quantity.")
    scale: int | float | Literal["currency", "hundredths"] = Field(
        1,
        description='A factor: 100 makes cents of units. "currency" is that of the row\'s currency in ISO 4217: '
        '100 for EUR, 1 for JPY, 1000 for KWD. "hundredths" is 100 for every currency, where a system stores '
        "1500 JPY as 15.00, and 12.345 KWD as 123.45.",
    )
    round: bool = Field(
        False,
        description="Round to a whole number instead of rejecting the row; any number of decimals is allowed. A "
        "float becomes the nearest one that can be stored.",
    )
    format: str | None = Field(
        None,
        description='"unix", "unix_ms", "unix_us" or a strptime pattern; ISO 8601 if none. A day without a time '
        "of day is that day in the time zone.",
    )
    timezone: Zone | None = Field(None, description="Of times without an offset.")
    day: bool = Field(
        False, description="Midnight is a day, as pandas and databases write days; other times are rejected."
    )
    default: Scalar | None = Field(None, description="In place of a missing value.")
    when: str | None = Field(None, description="Leave the field out if this column is missing in the row.")

    @field_validator("map", mode="before")
    @classmethod
    def _named_map(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        maps = (info.context or {}).get("maps", {})
        if value not in maps:
            raise ValueError(f"there is no [maps.{value}]")
        return maps[value]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        origins = (self.column, self.const, self.template, self.collect)
        if sum(origin is not None for origin in origins) != 1:
            raise ValueError("needs exactly one of column, const, template and collect")
        if self.template is not None and not _TEMPLATE.search(self.template):
            raise ValueError("template: names no {column}")
        if self.map is None and (self.ignore_case or self.unmapped != "keep"):
            raise ValueError("ignore_case and unmapped need a map")
        if self.thousands == self.decimal:
            raise ValueError("thousands and decimal are the same character")
        if self.groups != "three" and not self.thousands:
            raise ValueError("groups needs thousands")
        return self

    @property
    def factor(self) -> Decimal:
        """The factor that is the same for all rows."""
        return Decimal({"currency": "1", "hundredths": "100"}.get(str(self.scale), str(self.scale)))

    def kind(self, target: Target) -> Target:
        """The type that the value is converted to, for a field whose schema type is ``target``."""
        return self.type if target == "any" and self.type is not None else target

    def check(self, target: Target) -> None:
        """Raise ValueError if a key of this table does not apply to a field of the type ``target``."""
        kind = self.kind(target)
        if self.type is not None and self.type != kind:
            raise ValueError(f"type: this field is always {kind}")
        if self.collect is not None and target not in ("list", "any"):
            raise ValueError(f"collect: gives a list, and this field is {kind}")
        numeric = (self.multiply, self.scale != 1, self.round, self.decimal != ".", self.thousands, self.negative)
        if any(numeric) and kind not in ("int", "float"):
            raise ValueError("multiply, scale, round, decimal, thousands and negative are for numbers: set type")
        if (self.format or self.timezone or self.day) and kind != "time":
            raise ValueError("format, timezone and day are for times: set type")
        if self.format is not None:
            check_form(self.format)

    def columns_used(self) -> list[str]:
        """The columns of the source from which the field is made."""
        names = [name for name in (self.column, self.multiply, self.when) if name is not None]
        return names + _TEMPLATE.findall(_unbraced(self.template or ""))

    def pieces(self) -> list[tuple[str, str | None]]:
        """The template as pairs of literal text and the column that follows it (None at the end)."""
        found: list[tuple[str, str | None]] = []
        end = 0
        text = _unbraced(self.template or "")
        for match in _TEMPLATE.finditer(text):
            found.append((_braced(text[end : match.start()]), match[1]))
            end = match.end()
        return [*found, (_braced(text[end:]), None)]


def shorthand(value: Any) -> Any:
    if isinstance(value, str):
        return {"column": value}
    return {"const": value} if isinstance(value, bool | int | float | date) else value


def _unbraced(template: str) -> str:
    return template.replace("{{", "\0").replace("}}", "\1")


def _braced(text: str) -> str:
    return text.replace("\0", "{").replace("\1", "}")
