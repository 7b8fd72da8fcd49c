"""Answers of measures as tables and as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.measures.rows import Row, flat, model_names, names_of, rows_of, scalars


def as_csv(found: BaseModel) -> str:
    """An answer as CSV, flat: see ``rows_of``."""
    rows = rows_of(found.model_dump(mode="json"))
    text = io.StringIO()
    writer = csv.DictWriter(text, names_of(rows) or model_names(type(found)), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def show(question: str, found: BaseModel, console: Console | None = None) -> None:
    """Print an answer: its question, its single numbers, its lists as tables."""
    console = console or Console()
    answer = found.model_dump(mode="json")
    console.print(Text(question, style="bold"))
    facts = Table.grid(padding=(0, 2))
    for name, value in scalars(answer).items():
        facts.add_row(Text(_words(name)), Text(_shown(value), justify="right"))
    if facts.row_count:
        console.print(facts)
    for name in ("notes", "grid", "totals", "items"):
        match answer.get(name):
            case [dict(), *_] as rows:
                console.print(_table([_wide(flat(row)) for row in rows]))
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
