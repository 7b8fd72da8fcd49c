"""The checks before anything is published: the columns of every file, and the lists from other files."""

from services.importer.mapping import Collect, MappingError, Source
from services.importer.reading import lookup, missing_values, present
from services.importer.row import BadRow
from services.importer.rows import open_rows
from services.importer.values import BadValue, to_text
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
                hint = f'; a constant is written {{ const = "{column}" }}' if key.startswith("fields.") else ""
                raise MappingError(f'{where}{key}: {file.path.name} has no column "{column}", but {has}{hint}')


def gather(file: Collect) -> dict[str, list[str]]:
    """The lists of a ``[source.collect]``: key → distinct values in the file's order."""
    missing = missing_values(file.missing)
    found: dict[str, dict[str, None]] = {}
    with open_rows(file) as rows:
        for row in rows.rows:
            try:
                if isinstance(row, BadRow):
                    raise BadValue(row.detail)
                key, value = (present(lookup(row.fields, name), missing) for name in (file.key, file.value))
                if key is not None and value is not None:
                    found.setdefault(nfc(to_text(key)), {})[to_text(value)] = None
            except BadValue as error:
                raise MappingError(f"{file.path}: row {row.number}: {error}") from None
    return {key: list(values)[: file.limit] for key, values in found.items()}
