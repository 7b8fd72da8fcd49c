"""The checks before anything is published: the columns of every file, and the lists from other files."""

from collections.abc import Callable
from typing import Any
from unicodedata import category

from services.importer.lacking import Lacking
from services.importer.mapping import Collect, MappingError, Source
from services.importer.reading import lookup, missing_values, present
from services.importer.row import BadRow, Row
from services.importer.rows import open_rows
from services.importer.values import BadValue, to_text
from shared.contracts.errors import InvalidEvent
from shared.contracts.spelling import nfc


def check_columns(source: Source) -> None:
    """Raise MappingError if a file of the source cannot be opened or lacks a mapped column."""
    _check(source, f"[[source]] {source.name}: ", source.columns_used())
    for name, file in source.collect.items():
        where = f"[[source]] {source.name}: collect.{name}."
        _check(file, where, {file.key: "key", file.value: "value"})


def _check(file: Source | Collect, where: str, used: dict[str, str]) -> None:
    with open_rows(file) as rows:
        for column, key in used.items():
            if rows.columns is not None and column not in rows.columns:
                has = ", ".join(rows.columns)
                mark = next((c for c in ";,\t|" if len(rows.columns) == 1 and c in has), None)
                if mark and file.format == "csv":
                    raise MappingError(f"{where}{key}: {file.path.name} is separated by {mark!r}: set delimiter")
                if nfc(column) in {nfc(name) for name in rows.columns}:
                    raise MappingError(
                        f'{where}{key}: {file.path.name} spells "{column}" in another Unicode form: copy the '
                        "name from the file's first line"
                    )
                if alike := next((name for name in rows.columns if _plain(name) == _plain(column)), None):
                    raise MappingError(
                        f'{where}{key}: {file.path.name} has no column "{column}", but "{_escaped(alike)}", which '
                        "differs in case, blanks or characters that are not seen: write it like this"
                    )
                hint = f'; a constant is written {{ const = "{column}" }}' if key.startswith("fields.") else ""
                raise MappingError(f'{where}{key}: {file.path.name} has no column "{column}", but {has}{hint}')


def _plain(name: str) -> str:
    """What people see of a column's name."""
    seen = "".join(" " if c.isspace() else c for c in nfc(name) if category(c) != "Cf")
    return " ".join(seen.split()).casefold()


def _escaped(name: str) -> str:
    """The name as it can be written in a mapping, with what is not seen as \\uNNNN."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in name)


def gather(
    file: Collect, where: str, reject: Callable[[Row | BadRow, InvalidEvent], None]
) -> tuple[dict[str, list[str]], list[str]]:
    """The lists of a ``[source.collect]``: key → distinct values in the file's order; and notes about the file.
    ``where`` is its place in the mapping. A row that cannot be read is handed to ``reject``. Raises MappingError
    if no row has one of the columns."""
    missing = missing_values(file.missing)
    found: dict[str, dict[str, None]] = {}
    rejected = 0
    with open_rows(file) as rows:
        lacking = Lacking({file.key: "key", file.value: "value"} if rows.columns is None else {})
        for row in lacking.watch(rows.rows):
            try:
                if isinstance(row, BadRow):
                    raise InvalidEvent(row.reason, row.detail, row.field)
                key, value = (
                    _text(row, column, part, missing)
                    for column, part in ((file.key, "key"), (file.value, "value"))
                )
                if key is not None and value is not None:
                    found.setdefault(nfc(key), {})[value] = None
            except InvalidEvent as error:
                rejected += 1
                reject(row, error)
        notes = [f"{file.path.name}: {note}" for note in rows.notes]
    if faults := lacking.faults():
        raise MappingError(f"{where}.{faults[0]}: {file.path.name}")
    if rejected:
        notes.append(f"{rejected:,} rows of {file.path.name} were rejected, so that lists may lack a value")
    return {key: list(values)[: file.limit] for key, values in found.items()}, notes


def _text(row: Row, column: str, part: str, missing: frozenset[Any]) -> str | None:
    try:
        value = present(lookup(row.fields, column), missing)
        return None if value is None else to_text(value)
    except BadValue as error:
        raise InvalidEvent("invalid", f"{error} (column {column})", part) from None
