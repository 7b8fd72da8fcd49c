"""The output of the readers of all formats: rows, and rows that cannot be read. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Fields = dict[str, Any]

A_HEADER = "is the header, and no row of its own"


class NotAWorkbook(ValueError):
    """The file cannot be read as a workbook, or is ambiguous. The message contains the reason."""


@dataclass(frozen=True, slots=True)
class Row:
    """``number`` is the row's line in a text file (the last one of several), its row number in a workbook, and a
    running number in SQLite and Parquet."""

    number: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read. ``reason``, ``detail`` and ``field`` are those of an InvalidEvent; ``content``
    is the row as far as it can be shown, undecodable bytes as ``\\xNN``."""

    number: int
    reason: str
    detail: str
    content: Any
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """An open file. ``columns`` is None if every row has its own (JSON lines). ``size`` and ``position()`` count
    bytes of the file on disk, or rows of a SQLite table or a Parquet file (``size`` is None for a query and a
    workbook). ``notes`` is complete when all rows are read: rows that were read, but may be unexpected."""

    columns: tuple[str, ...] | None
    rows: Iterator[Row | BadRow]
    size: int | None
    position: Callable[[], int]
    notes: list[str] = field(default_factory=list)


def shown(value: Any) -> Any:
    """A printable form of a value, undecodable bytes as ``\\xNN``."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def clean(*cells: str) -> bool:
    """Whether cells contain no undecodable bytes."""
    text = "".join(cells)
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def above_header(skipped: int, header: int) -> str:
    return f"{skipped:,} rows above the header (header_row = {header}) were skipped"


def repeats_header(cells: Sequence[Any], header: Sequence[Any]) -> bool:
    """Whether a row is the header, as where files were joined or pages printed, or a mapping says that there is
    none. One column alone may be called as a value of it is."""
    if not header or cells[0] != header[0]:
        return False
    names = [name for name in header if name]
    return len(names) > 1 and [cell for cell in cells if cell] == names


def misfit(cells: int, names: Sequence[str]) -> str:
    """The fault of a row with the wrong number of cells."""
    title = (
        ": if a title stands above the header, set header_row to the row of the header"
        if sum(map(bool, names)) == 1
        else ""
    )
    return f"has {cells} columns instead of {len(names)}{title}"
