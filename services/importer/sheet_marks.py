"""What a sheet says about its cells besides their values: merged ranges and hidden rows. Memory grows with
them, not with all rows."""

import re
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from openpyxl.utils.cell import range_boundaries

from services.importer.row import NotAWorkbook
from services.importer.values import Unreadable

#: A sheet has at most this many rows.
MOST_ROWS = 1_048_576
_BLOCK = 1 << 20
#: No tag of a row or a range is longer.
_TAG = 4096
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s>/]")
_MARK = re.compile(
    rb'<(?:\w+:)?(?:c\s(?:[^>]*?\s)?r="(?P<column>[A-Z]{1,3})\d+"[^>]*|row\b(?P<row>[^>]*)'
    rb'|mergeCell\b[^>]*?\sref="(?P<range>[A-Z0-9:$]+)"[^>]*)>'
)
_HIDDEN = re.compile(rb'\shidden="(?:1|true)"')
_NUMBER = re.compile(rb'\sr="(\d+)"')
_MERGED = Unreadable(
    "", 'is part of merged cells, of which only the first has a value: set merged = "fill" if it counts for each'
)


class Range(NamedTuple):
    """Merged cells: the first and the last row, from 1, and the first and the last column, from 0."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Marks:
    hidden: frozenset[int] = frozenset()
    merged: tuple[Range, ...] = ()


def marks_of(path: Path, part: str) -> Marks:
    """The marks of the sheet that is ``part`` of the workbook. Raises NotAWorkbook for rows, or cells of one,
    out of their order, of which openpyxl would leave some out."""
    hidden, merged, last, column = set(), [], 0, (0, b"")
    with zipfile.ZipFile(path) as archive, archive.open(part) as file:
        for match in _matches(file, _MARK):
            if (letters := match["column"]) is not None:
                before, column = column, (len(letters), letters)
                if column <= before:
                    cell, other = f"{letters.decode()}{last}", f"{before[1].decode()}{last}"
                    raise NotAWorkbook(f"has cell {cell} behind cell {other}: open it in Excel and save it")
                continue
            if match["range"] is not None:
                left, top, right, bottom = range_boundaries(match["range"].decode())
                if None not in (left, top, right, bottom):
                    merged.append(Range(int(top or 0), int(bottom or 0), int(left or 1) - 1, int(right or 1) - 1))
                continue
            number = _NUMBER.search(match["row"])
            if number and int(number[1]) <= last <= MOST_ROWS:
                raise NotAWorkbook(f"has row {int(number[1])} behind row {last}: open it in Excel and save it")
            last, column = int(number[1]) if number else last + 1, (0, b"")
            if _HIDDEN.search(match["row"]):
                hidden.add(last)
    return Marks(frozenset(hidden), tuple(sorted(merged)))


def calculates(path: Path) -> bool:
    """Whether any sheet contains a formula."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/") and name.endswith(".xml"):
                with archive.open(name) as part:
                    if any(True for _ in _matches(part, _FORMULA)):
                        return True
    return False


def _matches(file: IO[bytes], pattern: re.Pattern[bytes]) -> Iterator[re.Match[bytes]]:
    rest = b""
    while block := file.read(_BLOCK):
        text, end = rest + block, 0
        for match in pattern.finditer(text):
            end = match.end()
            yield match
        rest = text[max(end, len(text) - _TAG) :]


class Spread:
    """Says of the rows of a sheet, in their order, which cells belong to merged ones: Excel keeps the value in the
    first one of them. With ``fill`` it counts for each, otherwise they cannot be read."""

    def __init__(self, merged: tuple[Range, ...], fill: bool) -> None:
        self._coming, self._fill = deque(merged), fill
        self._open: list[tuple[Range, Any]] = []

    def __call__(self, number: int, cells: list[Any], width: int) -> list[Any]:
        """The first ``width`` cells of a row, and what follows them unchanged."""
        self._open = [(each, value) for each, value in self._open if each.bottom >= number]
        while self._coming and self._coming[0].top <= number:
            each = self._coming.popleft()
            # A range that begins in an empty row holds nothing.
            if each.top == number and each.left < len(cells) and cells[each.left] is not None:
                self._open.append((each, cells[each.left]))
        for each, value in self._open:
            end = min(each.right + 1, width)
            cells += [None] * (end - len(cells))
            for column in range(each.left, end):
                if cells[column] is None:
                    cells[column] = value if self._fill else _MERGED
        return cells
