"""Reads rows from text files: CSV and JSON lines, also gzip. Memory does not grow with the file."""

import codecs
import contextlib
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, cast

from services.importer import encoding
from services.importer.csv_rows import Cells, Dialect, Refused, apart, read_csv, stated_delimiter
from services.importer.csv_widths import Misfit, Widths, whole_rows
from services.importer.files import File
from services.importer.json_rows import NotJson, read_json
from services.importer.mapping import MappingError
from services.importer.row import A_HEADER, BadRow, Row, Rows, above_header, clean, repeats_header, shown
from services.importer.values import unwrapped

#: How files begin that are no text → what they are, and what to do.
_KINDS = {
    b"PK\x03\x04": 'a workbook (set format = "xlsx") or a zip archive (unpack it)',
    b"\x1f\x8b": "packed by gzip: unpack it, or let its name end in .gz",
    b"\xd0\xcf\x11\xe0": "in the format of Excel before 2007: save it as .xlsx",
    b"SQLite format 3\0": 'a database: set format = "sqlite"',
    b"BZh91AY&SY": "packed by bzip2: unpack it",
    b"\xfd7zXZ\0": "packed by xz: unpack it",
    b"\x28\xb5\x2f\xfd": "packed by zstd: unpack it",
    b"7z\xbc\xaf\x27\x1c": "an archive: unpack it",
    b"PAR1\x15": 'Parquet: set format = "parquet"',
    b"Obj\x01": "Avro: write its rows as JSON lines",
    b"%PDF-": "PDF: export it as CSV",
}
#: JSON that is no lines of objects: an array of them, or one over several lines.
_DOCUMENT = re.compile(rb"\s*(?:\[\s*\{|\{[ \t\r]*\n)")


@contextmanager
def open_text(file: File) -> Iterator[Rows]:
    """Raises MappingError if the file does not fit the mapping."""
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(file.path.open("rb"))
        size = file.path.stat().st_size
        zipped = file.path.name.lower().endswith(".gz")
        binary = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=raw))) if zipped else raw
        sample = binary.read(encoding.SAMPLE)
        if kind := next((said for mark, said in _KINDS.items() if sample.startswith(mark)), None):
            raise MappingError(f"{file.path}: is not text, but {kind}")
        if wrong := encoding.mismatch(sample, file.encoding):
            raise MappingError(f"{file.path}: {wrong}")
        binary.seek(0)
        hint = encoding.hint(file.encoding, encoding.likely(sample))
        lines: Iterable[bytes | str] = binary
        if file.format == "csv" or file.encoding != "utf-8-sig":
            # Undecodable bytes become surrogates, so that they only reject their row.
            text = io.TextIOWrapper(binary, file.encoding, errors="surrogateescape", newline="")
            lines = stack.enter_context(text)
        if file.format == "csv":
            columns, rows = _csv(file, cast(Iterable[str], lines), notes, hint)
        else:
            if found := _DOCUMENT.match(sample.removeprefix(codecs.BOM_UTF8)):
                each = ".[]" if b"[" in found[0] else "."
                raise MappingError(
                    f"{file.path}: is JSON of several lines or objects, and rows are objects of one line each: "
                    f"jq -c '{each}' makes such lines"
                )
            columns, rows = None, _jsonl(lines, file.encoding, hint)
        yield Rows(columns, rows, size, raw.tell, notes)


def read_sample(path: Path) -> bytes:
    """The start of a text file, decompressed if it is gzip. Raises MappingError."""
    try:
        with path.open("rb") as raw:
            zipped = path.name.lower().endswith(".gz")
            return gzip.GzipFile(fileobj=raw).read(encoding.SAMPLE) if zipped else raw.read(encoding.SAMPLE)
    except (OSError, EOFError, zlib.error) as error:
        raise MappingError(f"{path}: cannot be read: {error}") from None


def _csv(
    file: File, lines: Iterable[str], notes: list[str], hint: str
) -> tuple[tuple[str, ...], Iterator[Row | BadRow]]:
    """The columns and the rows. ``hint`` is the fault of what is not text in the stated encoding."""
    lines = _ended(lines, notes)
    first = next(lines, "")
    start, delimiter = 1, file.delimiter or ","
    if stated := stated_delimiter(first):
        if file.delimiter not in (None, stated):
            raise MappingError(
                f'{file.path}: its first line says that "{stated}" separates its cells, and the mapping says '
                f'"{file.delimiter}": take out delimiter, or that line'
            )
        start, delimiter = 2, stated
    elif first:
        lines = chain([first], lines)
    if file.header_row is not None:
        if file.header_row < start:
            raise MappingError(
                f"{file.path}: header_row = {file.header_row} is the line that states the delimiter"
            )
        skipped = sum(1 for _ in islice(lines, file.header_row - start))
        if skipped:
            notes.append(above_header(skipped, file.header_row))
        start = file.header_row
    records = read_csv(lines, Dialect(delimiter, file.quote, file.multiline), start)
    header = next(records, None) if file.header else None
    if file.header_row is not None and header is not None and header.first != file.header_row:
        raise MappingError(f"{file.path}: line {file.header_row}, which is the header by header_row, is empty")
    if isinstance(header, Refused):
        raise MappingError(f"{file.path}: line {header.number}, the header, {header.detail}")
    names = tuple(unwrapped(name.strip()) for name in file.columns or (header.cells if header else ()))
    if file.header and (header is None or not any(names)):
        raise MappingError(f"{file.path}: has no header line")
    if not clean(*names):
        raise MappingError(f"{file.path}: its header {hint}")
    check_distinct(file, names)
    return tuple(name for name in names if name), _csv_rows(
        file, records, names, header.cells if header else list(names), notes, hint
    )


def _csv_rows(
    file: File,
    records: Iterator[Cells | Refused],
    names: tuple[str, ...],
    header: list[str],
    notes: list[str],
    hint: str,
) -> Iterator[Row | BadRow]:
    short, damaged, warned = 0, False, False
    for found in whole_rows(records, Widths(names, file.needed(), file.short_rows)):
        if isinstance(found, Refused):
            if not damaged:
                notes.append(f"line {found.number} {found.detail}")
            damaged = True
            yield BadRow(found.number, "quotes", found.detail, shown(found.content))
            continue
        number, cells, lines = found.record
        if isinstance(found, Misfit):
            detail = found.detail
            if found.by_habit and short and len(cells) < len(names) and not warned:
                warned = True
                notes.append(
                    f"line {number} lacks its last cell and is rejected, though others before it were accepted: "
                    "the rows before it and the 1,000 behind it decide; set short_rows = true to accept all"
                )
            if lines:
                detail = f"is in a row of {len(lines)} lines, to line {number}, which {detail}"
                for line in apart(found.record, detail):
                    yield BadRow(line.number, "columns", detail, shown(line.content))
                continue
            yield BadRow(number, "columns", detail, [shown(cell) for cell in cells])
            continue
        # Where files with a byte order mark were joined, it stands before the header.
        if repeats_header([cells[0].removeprefix("\ufeff"), *cells[1:]], header):
            yield BadRow(number, "columns", A_HEADER, [shown(cell) for cell in cells])
            continue
        short += found.short
        texts = list(map(unwrapped, found.cells)) if '="' in "".join(cells) else found.cells
        fields = {name: text for name, text in zip(names, texts, strict=True) if name}
        if clean(*cells) and not encoding.misread(cells, file.encoding):
            yield Row(number, fields)
        else:
            content = {name: shown(cell) for name, cell in fields.items()}
            yield BadRow(number, "encoding", hint, content)
    if short:
        notes.append(f'{short:,} rows lack their last cell ("{names[-1]}"), which was read as empty')


def _ended(lines: Iterable[str], notes: list[str]) -> Iterator[str]:
    line = "\n"
    for line in lines:
        yield line
    if not line.endswith(("\n", "\r")):
        notes.append(
            "the last line does not end with a line break: if the file was truncated, its last row is incomplete"
        )


def _jsonl(lines: Iterable[bytes | str], stated: str, hint: str) -> Iterator[Row | BadRow]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if number == 1 and isinstance(line, bytes):
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            fields: Any = read_json(line)
        except NotJson as error:
            detail = str(error) if _is_text(line) else hint
            yield BadRow(number, "not_json", detail, shown(line))
            continue
        if isinstance(line, str) and encoding.misread([line], stated):
            yield BadRow(number, "encoding", hint, shown(line))
        elif isinstance(fields, dict):
            yield Row(number, fields)
        else:
            yield BadRow(number, "not_json", "is not a JSON object", shown(line))


def _is_text(line: bytes | str) -> bool:
    return clean(line) if isinstance(line, str) else clean(line.decode("utf-8", "surrogateescape"))


def check_distinct(file: File, columns: tuple[str, ...]) -> None:
    """Raise MappingError if two columns share a name. Any number of columns may have no name."""
    if twice := {name for name in columns if name and columns.count(name) > 1}:
        raise MappingError(
            f'{file.path}: two columns are called "{min(twice)}": name them with columns or in the query'
        )
