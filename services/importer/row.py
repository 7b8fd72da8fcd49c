"""What the readers of all formats give: rows, and rows that cannot be read. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """``number`` is the row's line in a text file (the last of several), Excel's number of it in a workbook, and a
    running number in SQLite."""

    number: int
    fields: Fields


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read. ``reason`` and ``detail`` are those of an InvalidEvent; ``content`` is the
    row as far as it can be shown, bytes that are no text as ``\\xNN``."""

    number: int
    reason: str
    detail: str
    content: Any


@dataclass(frozen=True, slots=True)
class Rows:
    """An open file. ``columns`` is None where every row has its own (JSON lines). ``size`` and ``position()``
    count bytes of the file as it lies on disk, or rows of a SQLite table (of a query and of a workbook,
    ``size`` is None). ``notes`` is complete when the rows are read: what was read and may still surprise."""

    columns: tuple[str, ...] | None
    rows: Iterator[Row | BadRow]
    size: int | None
    position: Callable[[], int]
    notes: list[str] = field(default_factory=list)


def shown(value: Any) -> Any:
    """A value as a person can read it, bytes that are no text as ``\\xNN``."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def clean(*cells: str) -> bool:
    """Whether cells are text, without bytes that were none."""
    text = "".join(cells)
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
