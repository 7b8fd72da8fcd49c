"""Mapped columns that no row of JSON lines has: their rows name their columns themselves. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches

from services.importer.reading import lookup
from services.importer.row import BadRow, Fields, Row
from shared.contracts.spelling import nfc

#: So many names of columns are kept, to find a similar one.
_NAMES = 500
_ABSENT = object()


class Lacking:
    """``used`` maps each column to the key of the mapping that names it."""

    def __init__(self, used: Mapping[str, str]) -> None:
        self._lacking = dict(used)
        self._names: dict[str, None] = {}
        self._rows = 0

    def watch(self, rows: Iterable[Row | BadRow]) -> Iterator[Row | BadRow]:
        for row in rows:
            if self._lacking and isinstance(row, Row):
                self._see(row.fields)
            yield row

    def _see(self, fields: Fields) -> None:
        self._rows += 1
        for column in [column for column in self._lacking if lookup(fields, column, _ABSENT) is not _ABSENT]:
            del self._lacking[column]
        if self._lacking and len(self._names) < _NAMES:
            self._names.update(dict.fromkeys(_names(fields)))

    def faults(self) -> list[str]:
        """What to say of each column that no row had; nothing if there were no rows."""
        return [
            f'{key}: no row has a column "{column}"{self._hint(column)}'
            for column, key in self._lacking.items()
            if self._rows
        ]

    def _hint(self, column: str) -> str:
        twins = [name for name in self._names if nfc(name) == nfc(column)]
        if twins:
            return ", but one that is spelled in another Unicode form: copy the name from the file"
        close = get_close_matches(column, self._names, n=1)
        return f', but "{close[0]}"' if close else ""


def _names(fields: Fields) -> Iterator[str]:
    for name, value in fields.items():
        yield name
        if isinstance(value, dict):
            yield from (f"{name}.{part}" for part in value)
