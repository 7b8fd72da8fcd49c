"""Rows out of CSV, JSON lines and SQLite files, one at a time: memory does not grow with the file."""

import contextlib
import csv
import gzip
import io
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from services.importer.files import File
from services.importer.mapping import MappingError

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """``number`` is the row's line in a text file (the last of several), and a running number in SQLite."""

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
    count bytes of the file as it lies on disk, or rows of a SQLite table (of a query, ``size`` is None)."""

    columns: tuple[str, ...] | None
    rows: Iterator[Row | BadRow]
    size: int | None
    position: Callable[[], int]


def open_rows(file: File) -> AbstractContextManager[Rows]:
    """Open a file of any format. Raises MappingError, then and while reading, when it is not readable as the
    mapping says; a single row that is not comes as a BadRow."""
    return _sqlite(file) if file.format == "sqlite" else _text(file)


@contextmanager
def _text(file: File) -> Iterator[Rows]:
    with contextlib.ExitStack() as stack:
        with _explained(file.path):
            raw = stack.enter_context(file.path.open("rb"))
            size = file.path.stat().st_size
            zipped = file.path.name.lower().endswith(".gz")
            binary = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=raw))) if zipped else raw
            lines: Iterable[bytes | str] = binary
            if file.format == "csv" or file.encoding != "utf-8-sig":
                # Bytes that are no text become surrogates, so that they cost their row only.
                text = io.TextIOWrapper(binary, file.encoding, errors="surrogateescape", newline="")
                lines = stack.enter_context(text)
            columns, rows = _csv(file, lines) if file.format == "csv" else (None, _jsonl(lines))
        yield Rows(columns, _guarded(file.path, rows), size, raw.tell)


def _csv(file: File, lines: Iterable[Any]) -> tuple[tuple[str, ...], Iterator[Row | BadRow]]:
    reader = csv.reader(
        lines,
        delimiter=file.delimiter,
        quotechar=file.quote or None,
        quoting=csv.QUOTE_MINIMAL if file.quote else csv.QUOTE_NONE,
    )
    header = next(reader, None) if file.header else None
    if file.header and not header:
        raise MappingError(f"{file.path}: has no header line")
    columns = tuple(name.strip() for name in file.columns or header or ())
    _check_distinct(file.path, columns)
    return columns, _csv_rows(reader, columns, file.encoding)


def _csv_rows(reader: Any, columns: tuple[str, ...], encoding: str) -> Iterator[Row | BadRow]:
    width = len(columns)
    while True:
        try:
            cells: list[str] = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(reader.line_num, "not_csv", str(error), None)
            continue
        if len(cells) == width and _clean(*cells):
            yield Row(reader.line_num, dict(zip(columns, cells, strict=True)))
        elif len(cells) == width:
            fields = {column: _shown(cell) for column, cell in zip(columns, cells, strict=True)}
            yield BadRow(reader.line_num, "encoding", f"is not text in {encoding}", fields)
        elif cells:
            detail = f"has {len(cells)} columns instead of {width}"
            yield BadRow(reader.line_num, "columns", detail, [_shown(cell) for cell in cells])


def _jsonl(lines: Iterable[bytes | str]) -> Iterator[Row | BadRow]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if number == 1 and isinstance(line, bytes):
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            yield BadRow(number, "not_json", error.msg, _shown(line))
            continue
        if isinstance(fields, dict):
            yield Row(number, fields)
        else:
            yield BadRow(number, "not_json", "is not a JSON object", fields)


@contextmanager
def _sqlite(file: File) -> Iterator[Rows]:
    with contextlib.ExitStack() as stack:
        with _explained(file.path):
            file.path.stat()  # SQLite itself only says that it is unable to open it
            connection = sqlite3.connect(f"{file.path.absolute().as_uri()}?mode=ro", uri=True)
            stack.enter_context(contextlib.closing(connection))
            connection.text_factory = lambda data: data.decode(file.encoding, "surrogateescape")
            size = None
            if file.table is not None:
                name = '"' + file.table.replace('"', '""') + '"'
                cursor = connection.execute(f"SELECT * FROM {name}")
                size = connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            else:
                cursor = connection.execute(file.query or "")
            if cursor.description is None:
                raise MappingError(f"{file.path}: the query gives no rows: it is not a SELECT")
            columns = tuple(part[0] for part in cursor.description)
            _check_distinct(file.path, columns)
        position = 0

        def rows() -> Iterator[Row | BadRow]:
            nonlocal position
            for position, cells in enumerate(cursor, start=1):
                fields = dict(zip(columns, cells, strict=True))
                if _clean(*(cell for cell in cells if isinstance(cell, str))):
                    yield Row(position, fields)
                else:
                    shown = {name: _shown(cell) for name, cell in fields.items()}
                    yield BadRow(position, "encoding", f"is not text in {file.encoding}", shown)

        yield Rows(columns, _guarded(file.path, rows()), size, lambda: position)


def _check_distinct(path: Path, columns: tuple[str, ...]) -> None:
    if twice := {name for name in columns if columns.count(name) > 1}:
        raise MappingError(
            f'{path}: two columns are called "{min(twice)}": name them with columns or in the query'
        )


def _clean(*cells: str) -> bool:
    text = "".join(cells)
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def _guarded(path: Path, rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    with _explained(path):
        yield from rows


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        hint = " (is the environment variable set?)" if "$" in str(path) else ""
        raise MappingError(f"{path}: there is no such file{hint}") from None
    except (OSError, EOFError, zlib.error, UnicodeError, csv.Error, sqlite3.Error) as error:
        raise MappingError(f"{path}: cannot be read: {error}") from error
