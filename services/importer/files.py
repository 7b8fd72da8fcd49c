"""The part of a mapping that describes a file of rows and its format. Pure but for ``$VARIABLES``."""

import codecs
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

Character = Annotated[str, StringConstraints(min_length=1, max_length=1)]
Format = Literal["csv", "debezium", "jsonl", "parquet", "sqlite", "xlsx"]
ENDINGS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}


_INSTEAD: dict[str, str] = {
    ".xls .xlsb .ods": "save it as .xlsx",
    ".json": "rows are objects of one line each, .jsonl",
    ".zip .7z .rar .tar .tgz .bz2 .xz .zst": "unpack it, or pack the file itself by gzip",
    ".avro .orc .feather .arrow": "write its rows as Parquet or JSON lines",
}


def instead_of(ending: str) -> str:
    """What to do about a file with an ending that is not read, in brackets; empty if nothing is known."""
    return next((f" ({said})" for endings, said in _INSTEAD.items() if ending in endings.split()), "")


class Table(BaseModel):
    """A table of a mapping file: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", arbitrary_types_allowed=True)


def _resolve(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str) or not value:
        raise ValueError("should be the path of a file")
    folder: Path = (info.context or {}).get("folder", Path())
    expanded = os.path.expandvars(value)
    try:
        return folder / (Path(expanded).expanduser() if expanded.startswith("~") else Path(expanded))
    except RuntimeError:
        raise ValueError("begins with ~ and the name of nobody here; a file of that name is written ./~") from None


class File(Table):
    """A file of rows. ``path`` is relative to the mapping file; ``~`` and ``$VARIABLES`` are replaced.

    ``format`` follows from the ending (``.gz`` may follow CSV and JSON lines). ``delimiter`` is a comma (``.tsv``:
    a tab), or the one in a first line ``sep=;``. ``columns`` names the columns of a CSV file or a sheet and
    replaces its header line if it has one. ``header_row = 3`` skips what stands above the header: its line, or its
    row in Excel, from 1. ``multiline = true`` accepts line breaks in quoted cells, even if one
    of their lines looks like a row. ``short_rows = true`` accepts every row that lacks its last cell, or has empty
    ones too many, whatever the rows around it do. SQLite needs ``table`` or ``query``; Excel needs ``sheet`` if
    several are not empty. ``merged = "fill"`` reads the value of a sheet's merged cells in each of them; otherwise
    rows that need one which is not the first are rejected. ``missing`` lists the values that mean a missing one,
    besides SQL's NULL, JSON's null and Excel's empty cell. ``debezium`` is no file: ``table`` is one whose changes
    ``kith capture`` reads from Kafka.
    """

    path: Annotated[Path, BeforeValidator(_resolve)]
    format: Format
    delimiter: Character | None = None
    quote: Annotated[str, StringConstraints(max_length=1)] = '"'
    encoding: str = "utf-8-sig"
    header: bool = True
    header_row: Annotated[int, Field(ge=1)] | None = None
    columns: Annotated[list[str], Field(min_length=1)] | None = None
    multiline: bool = False
    short_rows: bool = False
    sheet: str | None = None
    merged: Literal["reject", "fill"] = "reject"
    table: str | None = None
    query: str | None = None
    missing: list[str | int | float] = [""]

    @model_validator(mode="before")
    @classmethod
    def _guess_format(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("path"), str):
            return value
        ending = Path(value["path"].lower().removesuffix(".gz")).suffix
        guessed: dict[str, str] = {}
        if ending in ENDINGS:
            guessed["format"] = ENDINGS[ending]
        elif "format" not in value:
            raise ValueError(f'the ending "{ending}" of path is unknown{instead_of(ending)}: set format')
        if ending == ".tsv":
            guessed["delimiter"] = "\t"
        return guessed | value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            name = codecs.lookup(value).name
            "".encode(name)  # rot13 and others are codecs, but none of text
        except (LookupError, UnicodeError):
            raise ValueError("is not a known encoding of text") from None
        return "utf-8-sig" if name == "utf-8" else name  # the same, but for a byte order mark at the start

    @model_validator(mode="after")
    def _fits_its_format(self) -> Self:
        if self.format == "sqlite" and (self.table is None) == (self.query is None):
            raise ValueError("SQLite needs either table or query")
        if self.format == "debezium" and self.query is not None:
            raise ValueError("query is for SQLite only")
        if self.format not in ("sqlite", "debezium") and (self.table is not None or self.query is not None):
            raise ValueError("table and query are for SQLite only")
        if self.format != "xlsx" and self.sheet is not None:
            raise ValueError("sheet is for Excel files only")
        if self.format != "xlsx" and self.merged != "reject":
            raise ValueError("merged is for Excel files only")
        if self.header_row is not None and (self.format not in ("csv", "xlsx") or not self.header):
            raise ValueError("header_row is for CSV and Excel files with a header")
        if self.format != "csv" and self.short_rows:
            raise ValueError("short_rows is for CSV files only")
        if self.format in ("csv", "xlsx") and not self.header and self.columns is None:
            raise ValueError("a file without a header line (header = false) needs columns")
        return self

    def needed(self) -> frozenset[str]:
        """The columns without which a row cannot be used."""
        return frozenset()
