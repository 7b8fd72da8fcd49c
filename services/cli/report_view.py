"""Answers of measures as tables and as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = dict[str, Any]


def as_csv(found: BaseModel) -> str:
    """The items of an answer, or the answer itself when it has none, one row each. What is a list within an item
    becomes rows of its own with their ``offset``; sums by currency become columns like ``amount.EUR``."""
    answer = found.model_dump(mode="json")
    items: Sequence[Row] = answer.get("items", [_scalars(answer)])
    rows = [row for item in items for row in _long(_flat(item))]
    text = io.StringIO()
    # Columns of all rows, for a currency may occur in some only. Without rows, those of the model.
    names = list(dict.fromkeys(name for row in rows for name in row)) or _columns(found)
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _columns(found: BaseModel) -> list[str]:
    model = type(found).model_fields["items"].annotation
    return list(model.__args__[0].model_fields)  # type: ignore[union-attr]


def show(question: str, found: BaseModel, console: Console | None = None) -> None:
    """Print an answer: its question, its single numbers, its lists as tables."""
    console = console or Console()
    answer = found.model_dump(mode="json")
    console.print(Text(question, style="bold"))
    facts = Table.grid(padding=(0, 2))
    for name, value in _scalars(answer).items():
        facts.add_row(Text(_words(name)), Text(_shown(value), justify="right"))
    if facts.row_count:
        console.print(facts)
    for name in ("notes", "grid", "totals", "items"):
        match answer.get(name):
            case [dict(), *_] as rows:
                console.print(_table([_wide(_flat(row)) for row in rows]))
            case [list(), *_] as rows:
                console.print(_grid(rows))
            case [str(), *_] as lines:
                for line in lines:
                    console.print(Text(line))
            case [] if name == "items":
                console.print("Nothing was found.")


def _grid(rows: Sequence[Sequence[int]]) -> Table:
    """RFM: the most recent on top."""
    table = Table("r \\ f", *(str(f) for f in range(1, len(rows) + 1)), box=SIMPLE_HEAD)
    for r, row in reversed(list(enumerate(rows, 1))):
        table.add_row(str(r), *(_shown(value) for value in row))
    return table


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        number = any(isinstance(row.get(name), int | float) for row in rows)
        table.add_column(Text(_words(name)), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(row.get(name))) for name in names))
    return table


def _scalars(answer: Mapping[str, Any]) -> Row:
    return _flat({name: value for name, value in answer.items() if not isinstance(value, list)})


def _flat(item: Mapping[str, Any]) -> Row:
    row: Row = {}
    for name, value in item.items():
        if isinstance(value, dict):
            row |= {f"{name}.{part}": inner for part, inner in value.items()}
        else:
            row[name] = value
    return row


def _long(row: Row) -> Iterable[Row]:
    lists = {name: value for name, value in row.items() if isinstance(value, list)}
    if not lists:
        return [row]
    single = {name: value for name, value in row.items() if name not in lists}
    length = max(map(len, lists.values()))
    return [
        {**single, "offset": at, **{name: value[at] for name, value in lists.items() if at < len(value)}}
        for at in range(length)
    ]


def _wide(row: Row) -> Row:
    """The last list of a row as columns of their own."""
    lists = [name for name, value in row.items() if isinstance(value, list)]
    single = {name: value for name, value in row.items() if name not in lists}
    return single | ({f"+{at}": value for at, value in enumerate(row[lists[-1]])} if lists else {})


def _words(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4g}"
    return str(value)
