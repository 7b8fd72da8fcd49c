"""Which rows of CSV are whole by the number of their cells. Pure.

Spreadsheets leave out an empty last cell, and append empty ones. A lost or a doubled delimiter looks the same, and
would merge or split cells. So another number of cells than the header's is accepted only where it is the habit of
the file: of the rows before one, and of the next ones behind it.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import NamedTuple

from services.importer.csv_rows import Cells, Refused
from services.importer.row import misfit

#: Rows that are read ahead to see the habits of a file.
_AHEAD = 1_000
#: So many rows are a habit, if they are this share of all.
_HABIT, _SHARE = 3, 0.01


class Whole(NamedTuple):
    """A row with a cell for each column. ``short``: it lacks its last cell."""

    record: Cells
    cells: list[str]
    short: bool


class Misfit(NamedTuple):
    """A row that is not certainly whole, and why. ``by_habit``: other rows say so, and ``any_habit`` would not."""

    record: Cells
    detail: str
    by_habit: bool = False


def fit(cells: Sequence[str], names: Sequence[str], needed: frozenset[str]) -> list[str] | None:
    """The cells of a row, one per column; None if their number cannot fit. Columns without a name need no cell."""
    width = len(names)
    if len(cells) == width:
        return list(cells)
    if len(cells) > width:
        return None if any(cell.strip() for cell in cells[width:]) else list(cells[:width])
    lacking = [name for name in names[len(cells) :] if name]
    if not lacking or (len(lacking) == 1 and width - len(cells) == 1 and lacking[0] not in needed):
        return [*cells, *[""] * (width - len(cells))]
    return None


@dataclass(slots=True)
class Widths:
    """The numbers of cells of a file's rows, and what they say of one row. With ``any_habit`` each is taken that
    can fit. ``remedy`` is what can be done about a row that is refused."""

    names: Sequence[str]
    needed: frozenset[str]
    any_habit: bool = False
    remedy: str = "set short_rows = true if this file leaves out or appends empty last cells"
    _seen: Counter[int] = field(default_factory=Counter)
    _total: int = 0
    _last_is_used: bool = False

    def see(self, cells: Sequence[str]) -> None:
        width = len(self.names)
        if len(cells) == width or fit(cells, self.names, self.needed) is not None:
            self._seen[len(cells)] += 1
            self._total += 1
            if len(cells) >= width and not self._last_is_used:
                self._last_is_used = bool(cells[width - 1].strip())

    def judged(self, record: Cells) -> Whole | Misfit:
        cells, width = record.cells, len(self.names)
        if len(cells) == width and self._usual(width):
            return Whole(record, cells, False)
        found = fit(cells, self.names, self.needed)
        if found is None:
            return Misfit(record, misfit(len(cells), self.names))
        short = len(cells) == width - 1 and bool(self.names[-1])
        if self.any_habit or (self._usual(len(cells)) and not (short and self._doubtful(cells))):
            return Whole(record, found, short)
        if len(cells) == width:
            usual = max(self._seen, key=lambda number: self._seen[number])
            return Misfit(record, f"has {width} columns, and the other rows have {usual}: {self.remedy}", True)
        lost = "its last cell or a delimiter is missing" if len(cells) < width else "a delimiter may be too many"
        return Misfit(record, f"{misfit(len(cells), self.names)}: {lost}; {self.remedy}", True)

    def _usual(self, number: int) -> bool:
        count = self._seen[number]
        if count >= max(_HABIT, _SHARE * self._total):
            return True
        return count == (max(self._seen.values()) if number == len(self.names) else self._total)

    def _doubtful(self, cells: Sequence[str]) -> bool:
        """Whether a row may lack another cell than its last one: that holds something elsewhere, or the row writes
        empty cells."""
        return self._last_is_used or not cells[-1].strip()


def whole_rows(records: Iterable[Cells | Refused], widths: Widths) -> Iterator[Whole | Misfit | Refused]:
    """The rows in their order. Where a line break may have cut one in two, both parts are misfits."""
    before: Whole | Misfit | Refused | None = None
    for after in chain(_judged(records, widths), [None]):
        if isinstance(before, Whole) and isinstance(after, Whole):
            yield before
            before = after
            continue
        if isinstance(before, Whole) and isinstance(after, Misfit) and _one_row(before, after, widths):
            yield Misfit(before.record, f"may go on in line {after.record.number}, which is no row of its own")
        elif before is not None:
            yield before
        if isinstance(before, Misfit) and isinstance(after, Whole) and _one_row(after, before, widths):
            after = Misfit(after.record, f"may begin in line {before.record.number}, which is no row of its own")
        before = after


def _one_row(row: Whole, part: Misfit, widths: Widths) -> bool:
    """Whether both would be one row without a line break in a cell. (Those in quoted cells cut nothing.)

    Blanks and the sign that ends files in DOS are no part of a cell, so a line of them alone cuts off nothing. A
    footer of one cell (``Total``) looks like the rest of the last row's last cell."""
    match part.record.cells:
        case [cell] if not cell.replace("\x1a", "").strip():
            return False
    return not part.record.lines and 1 < len(row.record.cells) + len(part.record.cells) - 1 <= len(widths.names)


def _judged(records: Iterable[Cells | Refused], widths: Widths) -> Iterator[Whole | Misfit | Refused]:
    ahead: deque[Cells | Refused] = deque()
    for record in chain(records, repeat(None)):
        if record is not None:
            if isinstance(record, Cells):
                widths.see(record.cells)
            ahead.append(record)
            if len(ahead) <= _AHEAD:
                continue
        elif not ahead:
            return
        first = ahead.popleft()
        yield widths.judged(first) if isinstance(first, Cells) else first
