"""Exports as text: CSV and JSON lines."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import orjson

from services.exports.columns import Batches, Column, Type

#: What makes a spreadsheet take a cell for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(columns: Sequence[Column], batches: Batches) -> Iterator[bytes]:
    """CSV (RFC 4180): UTF-8, CRLF, a head line, quotes where they are needed.

    Nothing is an empty cell. Times are ``2026-11-21T07:00:00.000000Z``, days ``2026-11-21``, a list of texts is
    JSON. A text that a spreadsheet would run as a formula (it begins with =, +, -, @, a tab or a carriage return)
    gets an apostrophe in front; numbers do not, for they cannot be one.
    """
    names = [column.name for column in columns]
    shown = [_SHOWN[column.type] for column in columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(names)
    for rows in batches:
        for row in rows:
            writer.writerow(
                [
                    "" if (value := row.get(name)) is None else show(value)
                    for name, show in zip(names, shown, strict=True)
                ]
            )
        yield text.getvalue().encode("utf-8", "replace")
        text.seek(0)
        text.truncate()
    if text.tell():
        yield text.getvalue().encode()


def json_lines(columns: Sequence[Column], batches: Batches) -> Iterator[bytes]:
    """A JSON object a line, with the columns that are not null. What CSV has as JSON text is a JSON value here."""
    names = [(column.name, column.type == "json") for column in columns]
    for rows in batches:
        lines = [
            orjson.dumps(
                {
                    name: orjson.Fragment(value) if nested else value
                    for name, nested in names
                    if (value := row.get(name)) is not None
                },
                option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE,
            )
            for row in rows
        ]
        yield b"".join(lines)


def iso(time: datetime) -> str:
    """``2026-11-21T07:00:00.000000Z`` of an aware UTC time."""
    return f"{time.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _list(values: Sequence[str]) -> str:
    return orjson.dumps(values).decode()


def _day(day: date) -> str:
    return day.isoformat()


def _boolean(value: bool) -> str:
    return "true" if value else "false"


_SHOWN: Mapping[Type, Callable[[Any], Any]] = {
    "text": _safe,
    "choice": _safe,
    "integer": int,
    "number": repr,
    "boolean": _boolean,
    "time": iso,
    "day": _day,
    "texts": _list,
    # Begins with "{", which is no formula.
    "json": str,
}
