"""Tables for a terminal in which nothing is cut: columns that do not fit are left out, what is still too wide then
takes several lines, and where that does not do, each row is a paragraph. Numbers and dates stay whole."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shared.observability.terminal import printable

#: Between two columns, with the line of the box.
_GAP = 3
#: A column of ids or texts is not made narrower than this.
_NARROW = 14


class Column(NamedTuple):
    """``right`` is for numbers and dates, which never break, ``wrap`` for prose, which may take several lines. If
    not all columns fit, those of the lowest ``rank`` are left out first."""

    name: str
    right: bool = False
    wrap: bool = False
    rank: int = 9


class Row(NamedTuple):
    """The cells, and a style for all of them."""

    cells: Sequence[str]
    style: str = ""


def fitted(title: str, columns: Sequence[Column], rows: Iterable[Row], console: Console) -> RenderableType:
    """A table that fits the console. Control characters are escaped."""
    found = _harmless(rows)
    layout = _layout(columns, found, console.width)
    if layout.widths:
        return layout.table(title, found)
    parts = _titled(title)
    for number, row in enumerate(found):
        parts += [Text(""), *layout.paragraph(row)] if number else layout.paragraph(row)
    return Group(*parts)


def with_notes(
    title: str, columns: Sequence[Column], rows: Sequence[Row], notes: Sequence[Text], console: Console
) -> Group:
    """A table that fits the console, with a note below each row, which may take several lines."""
    found = _harmless(rows)
    layout = _layout(columns, found, console.width)
    parts = _titled(title)
    for number, (row, note) in enumerate(zip(found, notes, strict=True)):
        parts += [layout.table("", [row], header=not number)] if layout.widths else layout.paragraph(row)
        parts.append(Padding(note, (0, 0, 0, 2)))
    return Group(*parts)


def _titled(title: str) -> list[RenderableType]:
    return [Text(title, style="bold")] if title else []


def _harmless(rows: Iterable[Row]) -> list[Row]:
    return [Row([printable(cell) for cell in row.cells], row.style) for row in rows]


@dataclass(frozen=True, slots=True)
class _Layout:
    """``widths`` are those of the columns that are shown, by their index; without any, rows are paragraphs."""

    columns: Sequence[Column]
    widths: dict[int, int]
    width: int

    def table(self, title: str, rows: Sequence[Row], header: bool = True) -> Table:
        table = Table(
            title=title or None, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False
        )
        table.show_edge, table.show_header = False, header
        for index, width in self.widths.items():
            column = self.columns[index]
            table.add_column(
                column.name, justify="right" if column.right else "left", overflow="fold", width=width
            )
        for row in rows:
            table.add_row(*(Text(row.cells[index]) for index in self.widths), style=row.style)
        return table

    def paragraph(self, row: Row) -> list[RenderableType]:
        """All columns of a row, one below the other."""
        margin = max(cell_len(column.name) for column in self.columns) + 2
        pairs = list(zip(self.columns, row.cells, strict=True))
        room = self.width - margin
        beside = room >= max(cell_len(cell) if column.right else _NARROW for column, cell in pairs)
        grid = Table.grid()
        grid.add_column(width=margin if beside else self.width, overflow="fold")
        if beside:
            grid.add_column(width=room, overflow="fold")
        for column, cell in pairs:
            for cells in [[column.name, cell]] if beside else [[column.name], [cell]]:
                grid.add_row(*map(Text, cells), style=row.style)
        return [grid]


def _layout(columns: Sequence[Column], rows: Sequence[Row], width: int) -> _Layout:
    wanted = [max(map(cell_len, [column.name, *_cells(rows, at)])) for at, column in enumerate(columns)]
    least = [
        min(wanted[at], max(_longest_word([column.name, *_cells(rows, at)]), 1)) if column.wrap else wanted[at]
        for at, column in enumerate(columns)
    ]
    # A column without any value says nothing.
    kept = [at for at, column in enumerate(columns) if column.rank == 9 or not rows or any(_cells(rows, at))]
    while _total([least[at] for at in kept]) > width:
        droppable = [at for at in kept if columns[at].rank < 9]
        if not droppable:
            return _Layout(columns, _folded(columns, rows, kept, least, width), width)
        kept.remove(min(droppable, key=lambda at: (columns[at].rank, -at)))
    return _Layout(columns, _narrowed({at: wanted[at] for at in kept}, least, width), width)


def _folded(
    columns: Sequence[Column], rows: Sequence[Row], kept: Sequence[int], least: Sequence[int], width: int
) -> dict[int, int]:
    """The widths if ids, and headings between their words, are broken over lines; empty if that does not do."""
    lowest = [
        max([_longest_word([column.name]), *map(cell_len, _cells(rows, at))])
        if column.right
        else min(least[at], _NARROW)
        for at, column in enumerate(columns)
    ]
    if _total([lowest[at] for at in kept]) > width:
        return {}
    return _narrowed({at: least[at] for at in kept}, lowest, width)


def _narrowed(widths: dict[int, int], lowest: Sequence[int], width: int) -> dict[int, int]:
    """The widths, the widest made narrower until all fit, none below its lowest."""
    while (beyond := _total(list(widths.values())) - width) > 0:
        wide = [at for at in widths if widths[at] > lowest[at]]
        widest = max(wide, key=lambda at: widths[at])
        others = [widths[at] for at in wide if widths[at] < widths[widest]]
        widths[widest] = max(lowest[widest], widths[widest] - beyond, max(others, default=1) - 1)
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _cells(rows: Sequence[Row], at: int) -> Iterator[str]:
    return (row.cells[at] for row in rows)


def _longest_word(texts: Iterable[str]) -> int:
    return max((cell_len(word) for text in texts for word in text.split()), default=0)
