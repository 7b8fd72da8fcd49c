"""Tables for a terminal that never break a number, date or id: columns that do not fit are left out."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from shared.observability.terminal import printable


class Column(NamedTuple):
    """``right`` is for numbers, ``wrap`` for prose, which may take several lines. If not all columns fit, those of
    the lowest ``rank`` are left out first."""

    name: str
    right: bool = False
    wrap: bool = False
    rank: int = 9


class Row(NamedTuple):
    """The cells, and a style for all of them."""

    cells: Sequence[str]
    style: str = ""


def fitted(title: str, columns: Sequence[Column], rows: Iterable[Row], console: Console) -> Table:
    """A table that fits the console. Control characters are escaped."""
    kept, found = list(range(len(columns))), list(rows)
    while True:
        droppable = [index for index in kept if columns[index].rank < 9]
        if not droppable or _width(columns, found, kept, console) <= console.width:
            return _table(title, columns, found, kept)
        kept.remove(min(droppable, key=lambda index: (columns[index].rank, -index)))


def with_notes(
    title: str, columns: Sequence[Column], rows: Sequence[Row], notes: Sequence[Text], console: Console
) -> Group:
    """A table that fits the console, with a note below each row, which may take several lines."""
    rendered = console.render_lines(fitted("", columns, rows, console), console.options, pad=False)
    head, body = rendered[: len(rendered) - len(rows)], rendered[len(rendered) - len(rows) :]
    lines: list[RenderableType] = [Text(title, style="bold")] if title else []
    lines += [_as_text(line) for line in head]
    for line, note in zip(body, notes, strict=True):
        lines += [_as_text(line), Padding(note, (0, 0, 0, 2))]
    return Group(*lines)


def _as_text(line: Sequence[Segment]) -> Text:
    return Text.assemble(*((segment.text, segment.style or "") for segment in line), no_wrap=True)


def _width(columns: Sequence[Column], rows: Sequence[Row], kept: Sequence[int], console: Console) -> int:
    """The minimum width of the columns: one word for prose, whole cells for all others."""
    tight = [
        Row([max(cell.split() or [""], key=len) if columns[i].wrap else cell for i, cell in enumerate(row.cells)])
        for row in rows
    ]
    return Measurement.get(
        console, console.options.update(max_width=100_000), _table("", columns, tight, kept)
    ).maximum


def _table(title: str, columns: Sequence[Column], rows: Sequence[Row], kept: Sequence[int]) -> Table:
    table = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    table.show_edge = False
    for index in kept:
        column = columns[index]
        justify = "right" if column.right else "left"
        # Folded, and never cut, in a terminal that is narrower than one id.
        table.add_column(column.name, justify=justify, no_wrap=not column.wrap, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(printable(row.cells[index])) for index in kept), style=row.style)
    return table
