"""Rows of CSV. Pure.

Quoting is strict (RFC 4180): a quoted cell begins and ends with a quotation mark, and no other cell contains one.
A lenient reader would let a stray mark join rows. Each line of the file ends up in exactly one row, read or
rejected: if a quoted cell over several lines is doubtful, each of its lines is rejected.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

#: A quoted cell is at most this many characters long, so that a stray mark does not hold a whole file.
LONGEST_CELL = 131_072
#: Lines of so few cells are too common in prose to be taken for rows.
_FEW_CELLS = 2
#: A first line that states the delimiter for Excel.
_SEPARATOR = re.compile(r'"?sep=(.)"?\1*')
_DOUBTFUL = "looks like a row in a quoted cell: where cells do hold such lines, set multiline = true"


class Cells(NamedTuple):
    """A whole row. ``number`` is its last line; ``lines`` are all its lines if there are several."""

    number: int
    cells: list[str]
    lines: tuple[str, ...] = ()

    @property
    def first(self) -> int:
        """The number of its first line."""
        return self.number - max(len(self.lines) - 1, 0)


class Refused(NamedTuple):
    """A line that is not a row, or not certainly one."""

    number: int
    detail: str
    content: str

    @property
    def first(self) -> int:
        return self.number


def stated_delimiter(line: str) -> str | None:
    """The delimiter that a first line like ``sep=;`` states."""
    found = _SEPARATOR.fullmatch(line.rstrip("\r\n"))
    return None if found is None else found[1]


def apart(row: Cells, detail: str) -> Iterator[Refused]:
    """The lines of a row with the wrong number of cells, one by one: a stray mark may have joined them."""
    for number, line in enumerate(row.lines, row.first):
        yield Refused(number, detail, line)


class Dialect(NamedTuple):
    """``whole_lines``: cells may contain line breaks even if one of their lines looks like a row."""

    delimiter: str
    quote: str
    whole_lines: bool = False


def read_csv(lines: Iterable[str], dialect: Dialect, start: int = 1) -> Iterator[Cells | Refused]:
    """Rows and rejected lines, in order; empty lines are skipped. ``start`` is the number of the first line."""
    row: _Row | None = None
    for number, line in enumerate(lines, start):
        text = line.rstrip("\r\n")
        if row is None:
            if not text:
                continue
            if not dialect.quote or dialect.quote not in text:
                yield Cells(number, text.split(dialect.delimiter))
                continue
            row = _Row(dialect, number)
        if row.take(line, text):
            yield from row.end()
            row = None
    if row is not None:
        yield from row.refused(f"is in a cell whose quotation mark, in line {row.first}, never ends")


@dataclass(slots=True)
class _Row:
    """A row while it is read, line after line."""

    dialect: Dialect
    first: int
    lines: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    wrong: str = ""
    size: int = 0
    #: The open cell: its text so far, and the line (from 0) in which it began.
    parts: list[str] | None = None
    began: int = 0
    #: The lines that lie in quoted cells as a whole.
    within: list[str] = field(default_factory=list)

    def take(self, line: str, text: str) -> bool:
        """Read one more line. True when the row is complete or cannot be a row."""
        delimiter, quote = self.dialect.delimiter, self.dialect.quote
        self.lines.append(text)
        at = 0
        while True:
            if self.parts is None:
                if text.startswith(quote, at):
                    self.parts, self.began, self.size, at = [], len(self.lines), 0, at + 1
                    continue
                end = text.find(delimiter, _text_formula(text, at, quote))
                cell = text[at:] if end < 0 else text[at:end]
                if quote in cell and _text_formula(cell, 0, quote) != len(cell):
                    self.wrong = "has a quotation mark in a cell that does not begin with one"
                    return True
                self.cells.append(cell)
            else:
                end = text.find(quote, at)
                if end < 0:
                    return self._goes_on(line[at:])
                if text.startswith(quote, end + 1):
                    self.parts.append(text[at : end + 1])
                    at = end + 2
                    continue
                self.cells.append("".join([*self.parts, text[at:end]]))
                self.parts = None
                self.within += self.lines[self.began : -1]
                if self.began < len(self.lines) and self._joins_rows(text[:end]):
                    self.wrong = _DOUBTFUL
                    return True
                end += 1
                if end < len(text) and not text.startswith(delimiter, end):
                    self.wrong = "has text behind a quotation mark that ends a cell"
                    return True
            if end < 0 or end >= len(text):
                return True
            at = end + 1

    def _goes_on(self, rest: str) -> bool:
        assert self.parts is not None
        self.parts.append(rest)
        self.size += len(rest)
        if self.size > LONGEST_CELL:
            self.wrong = f"is in a quoted cell of more than {LONGEST_CELL:,} characters"
        return bool(self.wrong)

    def _joins_rows(self, before: str) -> bool:
        """Whether marks in two rows have joined both: the line in which the cell ends has as many cells before
        that end as a row has (``before``), and an earlier line has enough cells for a row."""
        delimiter, column = self.dialect.delimiter, len(self.cells)
        if self.dialect.whole_lines or before.count(delimiter) != column - 1:
            return False
        if column > 1:
            return True
        width = self.lines[-1].count(delimiter)
        return any(line.count(delimiter) >= width for line in self.lines[:-1])

    def _holds_a_row(self) -> bool:
        """Whether a line in a quoted cell has the cells of a row. In prose, a blank follows a comma."""
        delimiter, width = self.dialect.delimiter, len(self.cells)
        if self.dialect.whole_lines or width <= _FEW_CELLS:
            return False
        rows = [cells for line in self.within if len(cells := line.split(delimiter)) == width]
        return any(not any(cell.startswith(" ") for cell in cells[1:]) for cells in rows)

    def end(self) -> Iterator[Cells | Refused]:
        if not self.wrong and self._holds_a_row():
            self.wrong = _DOUBTFUL
        if not self.wrong:
            several = tuple(self.lines) if len(self.lines) > 1 else ()
            yield Cells(self.first + len(self.lines) - 1, self.cells, several)
            return
        detail = self.wrong
        if len(self.lines) > 1:
            detail += f" (a quoted cell begins in line {self.first + max(self.began, 1) - 1})"
        yield from self.refused(detail)

    def refused(self, detail: str) -> Iterator[Refused]:
        for number, line in enumerate(self.lines, self.first):
            yield Refused(number, detail, line)


def _text_formula(text: str, at: int, quote: str) -> int:
    """Where a cell like ="00123", which programs write for Excel, ends; ``at`` if there is none."""
    if not text.startswith("=" + quote, at):
        return at
    end = text.find(quote, at + 2)
    return at if end < 0 else end + 1
