"""A table of a file, as a draft of its mapping needs it: some of its rows, and what its columns are."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from services.importer import guess
from services.importer.files import File
from services.importer.mapping import MappingError
from services.importer.reading import lookup
from services.importer.row import Row
from services.importer.rows import open_rows
from shared.measures.currencies import DIGITS

_SAMPLED = 1_000


@dataclass
class Table:
    """The options by which it is read, its columns, some of its rows, and role → columns, the likeliest first."""

    options: dict[str, Any]
    columns: list[str]
    rows: Sequence[Mapping[str, Any]]
    roles: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, options: dict[str, Any]) -> "Table":
        """Raises MappingError for one without columns, or that cannot be read."""
        try:
            file = File.model_validate(options, context={"folder": path.parent})
        except ValidationError:
            # As of a table whose name is not text.
            raise MappingError(f"{path}: has a table that no mapping could name") from None
        with open_rows(file) as opened:
            rows = [row.fields for row in islice(opened.rows, _SAMPLED) if isinstance(row, Row)]
            named = opened.columns
        columns = list(dict.fromkeys(named if named is not None else _names(rows)))
        if not columns:
            raise MappingError(f"{path}: nothing could be read from it")
        return cls(options, columns, rows, guess.roles(columns))

    def column(self, role: str) -> str | None:
        """The likeliest column by its name."""
        return self.roles.get(role, [None])[0]

    def plausible(self, role: str) -> str | None:
        """The likeliest column whose values fit its name. That of amounts is in ``money``."""
        fits = guess.time_form if role in ("time", "changed") else guess.number_form
        return next((name for name in self.roles.get(role, []) if fits(self.values(name)) is not None), None)

    def money(self) -> tuple[str, guess.Number] | None:
        """The column of amounts, and their notation."""
        decimals = self.decimals()
        for column in self.roles.get("amount", []):
            if number := guess.number_form(self.values(column), decimals):
                return column, number
        return None

    def codes(self) -> set[str]:
        """The values of the column of currencies."""
        column = self.column("currency")
        return {str(code).strip() for code in (self.values(column) if column else []) if code}

    def decimals(self) -> int:
        """The most decimals of the currencies that occur."""
        return max((DIGITS[code.upper()] for code in self.codes() if code.upper() in DIGITS), default=2)

    def values(self, column: str) -> list[Any]:
        return [lookup(row, column) for row in self.rows]

    def has(self, column: str) -> bool:
        """Whether a cell of the column holds anything."""
        return any(value not in (None, "") for value in self.values(column))


def _names(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The columns of JSON lines; those of nested objects as paths."""
    for row in rows:
        for name, value in row.items():
            if isinstance(value, dict):
                yield from (f"{name}.{part}" for part in value if not isinstance(value[part], dict | list))
            elif not isinstance(value, list):
                yield name
