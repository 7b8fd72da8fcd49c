"""``kith import --init``: drafts a mapping from the content of a file, for the user to correct."""

import contextlib
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable
from io import StringIO
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from services.importer import encoding, guess
from services.importer.csv_rows import Cells, Dialect, Refused, read_csv
from services.importer.draft_fields import UNSURE, plain, profile, quoted, relation, stem
from services.importer.files import ENDINGS, instead_of
from services.importer.mapping import MappingError, parse
from services.importer.row import NotAWorkbook
from services.importer.sampled import Table
from services.importer.text_rows import read_sample
from shared.observability.terminal import printable

_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile("sep=.?")
#: So many rows are looked at for the delimiter and the header.
_LOOKED_AT = 50


def write_draft(path: Path) -> Path:
    """Write a mapping of the file at ``path`` beside it. Raises MappingError if there is one already, or if the
    file cannot be read."""
    target = path.with_name(f"{stem(path)}.toml")
    if target.exists():
        raise MappingError(f"{target}: exists already. Move it away first, or correct it by hand.")
    text = draft(path)
    parse(text, target)  # every draft must be a valid mapping; a test checks that for any file
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise MappingError(f"{target}: cannot be written: {error.strerror}") from None
    return target


def draft(path: Path) -> str:
    """The mapping as text."""
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending not in ENDINGS:
        raise MappingError(
            f'{path}: the ending "{ending}" is unknown{instead_of(ending)}; known ones are {", ".join(ENDINGS)}'
        )
    if not path.is_file():
        raise MappingError(f"{path}: there is no such file")
    format = ENDINGS[ending]
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise MappingError(f"{path}: its name is not text in UTF-8, and a mapping could not name it") from None
    # A ~ in front would be somebody's home.
    options: dict[str, Any] = {"path": f"./{path.name}" if path.name.startswith("~") else path.name}
    if format in ("csv", "jsonl"):
        options |= _text_options(path, format)
    parts = _parts(path, format, options)
    tables = [Table.read(path, part) for part in parts]
    used: set[str] = set()
    sources = [source for table in tables for source in _sources(path, table, used)]
    cells = [cell for table in tables for row in table.rows for cell in row.values()]
    missing = ", ".join(quoted(word) for word in guess.missing(cells))
    name = printable(path.name)
    return (
        f"# A first mapping of {name}, made from what was seen in it. Lines with # ? are guesses.\n"
        f"# Then: kith import {printable(quote(stem(path) + '.toml'))} --dry-run\n\n"
        f'[defaults]\ntimezone = "UTC"{UNSURE} of times without an offset, and of days\nmissing = [{missing}]\n\n'
        + "\n".join(sources)
    )


def _text_options(path: Path, format: Literal["csv", "jsonl", "sqlite", "xlsx"]) -> dict[str, Any]:
    sample = read_sample(path)
    found = encoding.likely(sample)
    options: dict[str, Any] = {} if found == "utf-8" else {"encoding": found}
    if format == "csv":
        text = sample.decode("utf-8-sig" if found == "utf-8" else found, "replace")
        options["delimiter"] = _delimiter(text)
        read = islice(read_csv(StringIO(text, newline=""), Dialect(options["delimiter"], '"')), _LOOKED_AT)
        rows = [
            (row.first, _cells(row, options["delimiter"]))
            for row in read
            if isinstance(row, Refused) or not _SEPARATOR.fullmatch(row.cells[0])
        ]
        titled = _below_title((number, sum(bool(cell.strip()) for cell in cells)) for number, cells in rows)
        if rows and not titled and guess.is_data(first := rows[0][1]):
            options |= {"header": False, "columns": [f"column_{n}" for n, _ in enumerate(first, 1)]}
        options |= titled
    return options


def _cells(row: Cells | Refused, delimiter: str) -> list[str]:
    return row.cells if isinstance(row, Cells) else row.content.split(delimiter)


def _below_title(rows: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """Where the header stands, if titles do above it. ``rows`` are numbers of rows and of their filled cells."""
    filled = list(rows)
    header = next((number for number, cells in filled if cells > 1), None)
    return {} if header is None or header == filled[0][0] else {"header_row": header}


def _delimiter(text: str) -> str:
    """The delimiter: the character that gives the same number of cells, more than one, in the most rows."""
    if stated := re.match(r'"?sep=(.)"?', text):
        return stated[1]
    best, found = (0, 0), ","
    for delimiter in _DELIMITERS:
        rows = islice(read_csv(StringIO(text, newline=""), Dialect(delimiter, '"')), _LOOKED_AT)
        widths = Counter(len(row.cells) for row in rows if isinstance(row, Cells) and len(row.cells) > 1)
        if widths and (score := (widths.most_common(1)[0][1], max(widths))) > best:
            best, found = score, delimiter
    return found


def _parts(path: Path, format: str, options: dict[str, Any]) -> list[dict[str, Any]]:
    """The options of each table in the file."""
    if format == "sqlite":
        try:
            with contextlib.closing(
                sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            ) as connection:
                names = connection.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
                )
                tables = [str(name) for (name,) in names]
        except sqlite3.Error as error:
            raise MappingError(f"{path}: cannot be read: {error}") from None
        if not tables:
            raise MappingError(f"{path}: has no tables")
        return [options | {"table": name} for name in tables]
    if format == "xlsx":
        from services.importer.workbook import sheets  # openpyxl takes 0.2 s to import

        try:
            return [options | {"sheet": name} | _below_title(rows) for name, rows in sheets(path, _LOOKED_AT)]
        except NotAWorkbook as error:
            raise MappingError(f"{path}: {error}") from None
    return [options]


def _sources(path: Path, table: Table, used: set[str]) -> list[str]:
    consumer, provider, personal = (
        table.column("consumer"),
        table.column("provider"),
        [column for role in guess.PERSONAL for column in table.roles.get(role, [])],
    )
    happens = table.plausible("time") or table.money() or table.plausible("rating")
    label = _label(path, table.options, used)
    if (consumer and (provider or happens)) or (provider and happens):
        sources = [_source(path, table, label, "relation.recorded", relation(table, path))]
        if consumer and personal:
            label = _label(path, table.options, used, "-consumers")
            people = profile(table, "consumer", personal)
            sources.append(_source(path, table, label, "consumer.upserted", people))
        return sources
    if provider and not consumer:
        return [_source(path, table, label, "provider.upserted", profile(table, "provider", []))]
    if consumer or personal:
        return [_source(path, table, label, "consumer.upserted", profile(table, "consumer", personal))]
    return [_source(path, table, label, "relation.recorded", relation(table, path))]


def _label(path: Path, options: dict[str, Any], used: set[str], ending: str = "") -> str:
    name = plain(str(options.get("table") or options.get("sheet") or stem(path)))
    label, number = name + ending, 2
    while label in used:
        label, number = f"{name}{ending}-{number}", number + 1
    used.add(label)
    return label


def _source(path: Path, table: Table, label: str, type: str, body: tuple[list[str], list[str]]) -> str:
    options = [f"{key} = {_toml(value)}" + _doubt(key, value) for key, value in table.options.items()]
    if (name := plain(stem(path))) != stem(path):
        # The default is made of the mapping's own name, which may be none that events can have.
        options.append(f"source = {quoted(f'{name}/{label}')}")
    above, fields = body
    lines = ["[[source]]", f"name = {quoted(label)}", *options, f'type = "{type}"{UNSURE}', *above]
    return "\n".join([*lines, "", "[source.fields]", *fields, ""])


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(quoted, value))}]"
    return quoted(value) if isinstance(value, str) else str(value).lower()


def _doubt(option: str, value: Any) -> str:
    if option == "header_row":
        return f"{UNSURE} what stands above is skipped"
    if option == "header":
        return f"{UNSURE} the first line looks like a row: name the columns"
    if option != "encoding" or value.startswith("utf"):
        return ""
    others = "cp1250 (Central Europe), cp1254 (Turkish)" if value == "cp1252" else "cp1252 (Western)"
    return f"{UNSURE} or {others}"
