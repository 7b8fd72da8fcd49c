"""Exports as text: CSV and JSON lines."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import orjson

from services.exports.columns import Batches, Column, Type
from shared.measures.csv_cells import guarded, guarded_json, row_writer

#: The byte order mark, by which Excel recognises UTF-8.
BOM = b"\xef\xbb\xbf"


def csv_lines(columns: Sequence[Column], batches: Batches) -> Iterator[bytes]:
    """CSV (RFC 4180): UTF-8, CRLF, a head line, quotes where they are needed.

    A missing value is an empty cell, an empty text ``""``. Times are ``2026-11-21T07:00:00.000000Z``, days
    ``2026-11-21``, a list of texts is JSON. A text that a spreadsheet would run as a formula gets a leading
    apostrophe, which ``shared.measures.csv_cells.unguarded`` removes; numbers cannot be formulas and get none.
    """
    names = [column.name for column in columns]
    shown = [_SHOWN[column.type] for column in columns]
    text = io.StringIO()
    write = row_writer(text)
    write([guarded(name) for name in names])
    for rows in batches:
        for row in rows:
            write(
                [
                    None if (value := row.get(name)) is None else show(value)
                    for name, show in zip(names, shown, strict=True)
                ]
            )
        yield text.getvalue().encode("utf-8", "replace")
        text.seek(0)
        text.truncate()
    if text.tell():
        yield text.getvalue().encode()


def json_lines(columns: Sequence[Column], batches: Batches) -> Iterator[bytes]:
    """One JSON object per line, with the columns that are not null. JSON text in CSV is a JSON value here. Times
    are in UTC and end with Z."""
    names = [(column.name, _IN_JSON.get(column.type, _as_it_is)) for column in columns]
    for rows in batches:
        lines = [
            orjson.dumps(
                {name: made(value) for name, made in names if (value := row.get(name)) is not None},
                option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE,
            )
            for row in rows
        ]
        yield b"".join(lines)


def iso(time: datetime, digits: int = 6) -> str:
    """``2026-11-21T07:00:00.000000Z`` of an aware time, with 6 or 3 digits of the second."""
    unit = "microseconds" if digits == 6 else "milliseconds"
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=unit)}Z"


def _list(values: Sequence[str]) -> str:
    return guarded_json(orjson.dumps(values).decode())


def _as_it_is(value: Any) -> Any:
    return value


def _utc(time: datetime) -> datetime:
    # orjson may not write the offset of other time zone classes.
    return time.astimezone(UTC)


def _day(day: date) -> str:
    return day.isoformat()


def _boolean(value: bool) -> str:
    return "true" if value else "false"


_SHOWN: Mapping[Type, Callable[[Any], Any]] = {
    "text": guarded,
    "choice": guarded,
    "integer": int,
    "number": repr,
    "boolean": _boolean,
    "time": iso,
    "day": _day,
    "texts": _list,
    "json": guarded_json,
}
_IN_JSON: Mapping[Type, Callable[[Any], Any]] = {"json": orjson.Fragment, "time": _utc}
