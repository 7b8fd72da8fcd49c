"""The values of an answer, formatted for people: money in major units, percentages, words. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from services.cli.report_table import Column, printable
from shared.measures.currencies import major, named
from shared.measures.units import Unit, label_of, model_of, unit_of

_NONE = "–"


def shown(value: Any, unit: Unit | None = None, currency: str | None = None) -> str:
    """A value as text; money is of ``currency``."""
    match value:
        case None:
            return _NONE
        case bool():
            return "yes" if value else "no"
        case int() | float() if unit == "minor":
            return major(value, currency)
        case int() | float() if unit == "fraction":
            return f"{_signed(f'{100 * value:,.1f}')}%"
        case int() | float() if unit == "times":
            return f"{value:,.2f}×"
        case int():
            return f"{value:,}"
        case float() if unit == "parameter":
            return f"{value:.4g}"
        case float() if unit == "degrees":
            return _signed(f"{value:.2f}")
        case float():
            return _signed(f"{value:,.1f}" if unit in ("days", "rate") else f"{value:,.2f}")
        case date():
            return value.isoformat()
    text = printable(str(value))
    return word(text) if unit == "word" else text


def _signed(number: str) -> str:
    """Zero has no sign, also where it is a rounded number below zero."""
    return number.lstrip("-") if not number.strip("-0.") else number


def word(name: str) -> str:
    """``potential_loyalists`` for people."""
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def columns_of(model: type[BaseModel], rows: Sequence[BaseModel], currency: str | None) -> list[Column]:
    """A column for each field; for each currency of a map of money; for each place of a field's last list."""
    lists = [name for name, field in model.model_fields.items() if _is_list(rows, name)]
    found: list[Column] = []
    for name, field in model.model_fields.items():
        values = [getattr(row, name) for row in rows]
        label, unit = label_of(name, field), unit_of(field)
        if name in lists:
            if name == lists[-1]:
                found += _places(values, unit)
        elif any(isinstance(value, Mapping) for value in values):
            found += _by_currency(label, values)
        elif name == "currency":
            found.append(Column(label, [named(value) for value in values], key=True))
        elif any(value is not None for value in values):
            money = [getattr(row, "currency", currency) for row in rows]
            cells = [shown(value, unit, each) for value, each in zip(values, money, strict=True)]
            number = any(isinstance(value, int | float) for value in values)
            key = not number and all(column.key for column in found)
            text = key and not name.endswith("_id") and not any(isinstance(value, date) for value in values)
            found.append(Column(label, cells, number, key, text))
    # A number in the first column, such as a rating, is the key of the table.
    if found and not found[0].key:
        found[0] = Column(found[0].label, found[0].cells, found[0].number, key=True)
    return found


def facts_of(answer: BaseModel, left_out: frozenset[str], currency: str | None) -> list[tuple[str, str, bool]]:
    """The single values of an answer with their labels, those of models within it, too."""
    found: list[tuple[str, str, bool]] = []
    for name, field in type(answer).model_fields.items():
        value = getattr(answer, name)
        # An answer has a total of relations or of money; the other one is null.
        if name in left_out or isinstance(value, list) or (value is None and name.startswith("total_")):
            continue
        if isinstance(value, BaseModel):
            within = facts_of(value, frozenset(), currency)
            found += [(f"{label_of(name, field)}: {label}", text, whole) for label, text, whole in within]
        elif value is not None or model_of(field) is None:
            found.append((label_of(name, field), _told(value, field, currency), True))
    return found


def _told(value: Any, field: FieldInfo, currency: str | None) -> str:
    unit = unit_of(field)
    text = shown(value, unit, currency)
    return f"{text} {named(currency)}" if unit == "minor" and value is not None and currency else text


def _is_list(rows: Sequence[BaseModel], name: str) -> bool:
    return any(isinstance(getattr(row, name), list) for row in rows)


def _places(values: Sequence[Sequence[Any]], unit: Unit | None) -> list[Column]:
    return [
        Column(f"+{at}", [shown(value[at], unit) if at < len(value) else _NONE for value in values], number=True)
        for at in range(max(map(len, values), default=0))
    ]


def _by_currency(label: str, values: Sequence[Mapping[str, int]]) -> list[Column]:
    currencies = sorted({currency for value in values for currency in value})
    return [
        Column(
            f"{label} {named(currency)}",
            [major(value[currency], currency) if currency in value else _NONE for value in values],
            number=True,
        )
        for currency in currencies
    ]
