"""Answers of measures as flat rows, for tables and files. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

Row = dict[str, Any]
#: Members of an answer that its rows do not repeat.
_ABOUT = frozenset({"period.first", "period.last", "period.zone"})


def rows_of(answer: Mapping[str, Any]) -> list[Row]:
    """The items of an answer, or the answer itself when it has none, one row each. A list within an item becomes
    rows of its own with their ``offset``. Sums by currency become columns like ``amount.EUR``."""
    items = answer.get("items", [{name: value for name, value in scalars(answer).items() if name not in _ABOUT}])
    return [row for item in items for row in long(flat(item))]


def names_of(rows: Iterable[Row]) -> list[str]:
    """The columns of all rows: a currency may occur in only some."""
    return list(dict.fromkeys(name for row in rows for name in row))


def model_names(model: type[BaseModel]) -> list[str]:
    """The columns of the items of an empty answer."""
    annotation = model.model_fields["items"].annotation
    return list(annotation.__args__[0].model_fields)  # type: ignore[union-attr]


def scalars(answer: Mapping[str, Any]) -> Row:
    """The members of an answer other than its lists."""
    return flat({name: value for name, value in answer.items() if not isinstance(value, list)})


def flat(item: Mapping[str, Any]) -> Row:
    row: Row = {}
    for name, value in item.items():
        if isinstance(value, dict):
            row |= {f"{name}.{part}": inner for part, inner in value.items()}
        else:
            row[name] = value
    return row


def long(row: Row) -> Iterable[Row]:
    lists = {name: value for name, value in row.items() if isinstance(value, list)}
    if not lists:
        return [row]
    single = {name: value for name, value in row.items() if name not in lists}
    length = max(map(len, lists.values()))
    return [
        {**single, "offset": at, **{name: value[at] for name, value in lists.items() if at < len(value)}}
        for at in range(length)
    ]
