"""Reads rows from CSV, JSON lines, Excel, Parquet and SQLite files, one at a time: memory does not grow with the
file."""

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from services.importer import encoding
from services.importer.files import File
from services.importer.mapping import MappingError
from services.importer.row import (
    A_HEADER,
    BadRow,
    NotAWorkbook,
    Row,
    Rows,
    above_header,
    clean,
    misfit,
    repeats_header,
    shown,
)
from services.importer.text_rows import check_distinct, open_text


@contextmanager
def open_rows(file: File) -> Iterator[Rows]:
    """Open a file of any format. Raises MappingError, now and while reading, if the file cannot be read as the
    mapping describes it; a single unreadable row is a BadRow."""
    if file.format == "debezium":
        raise MappingError(f"{file.table}: is a table of change capture, not a file: `kith capture` reads it")
    opening = {"sqlite": _sqlite, "xlsx": _workbook, "parquet": _parquet}.get(file.format, open_text)
    with contextlib.ExitStack() as stack:
        with _explained(file.path):
            _check_readable(file.path)
            rows = stack.enter_context(opening(file))
        yield replace(rows, rows=_guarded(file.path, rows.rows))


def _check_readable(path: Path) -> None:
    if path.is_dir():
        raise MappingError(f"{path}: is a folder: name a file in it")
    if path.exists() and not path.is_file():
        # A pipe without a writer would be waited for.
        raise MappingError(f"{path}: is no file, and a pipe cannot be read twice: write it to a file first")


@contextmanager
def _workbook(file: File) -> Iterator[Rows]:
    from services.importer.sheet_marks import Spread
    from services.importer.workbook import open_sheet  # openpyxl takes 0.2 s to import

    position = 0
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(file.path.open("rb"))
        cells, marks = stack.enter_context(open_sheet(raw, file.path, file.sheet))
        notes: list[str] = []
        wanted, skipped = file.header_row or 1, 0
        first, header = next(cells, (wanted, [])) if file.header else (0, [])
        while 0 < first < wanted and file.header_row:
            skipped += 1
            first, header = next(cells, (wanted, []))
        if skipped:
            notes.append(above_header(skipped, wanted))
        if file.header_row and first > wanted:
            raise MappingError(f"{file.path}: row {wanted}, which is the header by header_row, is empty")
        if file.header and not any(cell is not None for cell in header):
            raise MappingError(f"{file.path}: has no header line")
        names = tuple(file.columns or ("" if cell is None else str(cell).strip() for cell in header))
        check_distinct(file, names)
        spread = Spread(marks.merged, file.merged == "fill")
        spread(first, header, len(names))

        def rows() -> Iterator[Row | BadRow]:
            nonlocal position
            hidden = 0
            for position, bare in cells:
                row = spread(position, bare, len(names))
                hidden += position in marks.hidden
                if any(cell is not None for cell in row[len(names) :]):
                    content = ["" if cell is None else shown(str(cell)) for cell in row]
                    yield BadRow(position, "columns", misfit(len(row), names), content)
                    continue
                if repeats_header(row, header or names):
                    yield BadRow(position, "columns", A_HEADER, list(row))
                    continue
                found = dict(zip(names, [*row, *[None] * (len(names) - len(row))], strict=False))
                found.pop("", None)
                yield Row(position, found)
            if hidden:
                notes.append(
                    f"{hidden:,} rows that are hidden in Excel, as by a filter, were read like the others"
                )

        yield Rows(tuple(name for name in names if name), rows(), None, lambda: position, notes)


def _parquet(file: File) -> AbstractContextManager[Rows]:
    try:
        from services.importer.parquet_rows import open_parquet
    except ImportError:
        raise MappingError(f"{file.path}: Parquet needs pyarrow: install Kith's extra exports") from None
    return open_parquet(file)


@contextmanager
def _sqlite(file: File) -> Iterator[Rows]:
    with contextlib.ExitStack() as stack:
        file.path.stat()  # raises the reason; SQLite only reports that it cannot open the file
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
        check_distinct(file, columns)
        position = 0

        def rows() -> Iterator[Row | BadRow]:
            nonlocal position
            for position, cells in enumerate(cursor, start=1):
                fields = dict(zip(columns, cells, strict=True))
                if clean(*(cell for cell in cells if isinstance(cell, str))):
                    yield Row(position, fields)
                else:
                    content = {name: shown(cell) for name, cell in fields.items()}
                    yield BadRow(position, "encoding", encoding.hint(file.encoding), content)

        yield Rows(columns, rows(), size, lambda: position)


def _guarded(path: Path, rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    with _explained(path):
        yield from rows


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        hint = " (is the environment variable set?)" if "$" in str(path) else ""
        if any(sign in path.name for sign in "*?["):
            hint = " (a path is one file: * and ? stand for themselves; write a [[source]] for each file)"
        raise MappingError(f"{path}: there is no such file{hint}") from None
    except NotAWorkbook as error:
        raise MappingError(f"{path}: {error}") from None
    except (OSError, EOFError, zlib.error, UnicodeError, sqlite3.Error) as error:
        raise MappingError(f"{path}: cannot be read: {error}") from error
