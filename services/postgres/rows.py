"""Writes rows into the tables, each as it is from now on."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import orjson
from psycopg import sql

from services.postgres.connections import Connection
from services.postgres.projection import TABLES, Table
from services.postgres.schema import TYPES
from shared.sinks.target import Row

# What is there already is not written again: a repeated slice costs no new version of a row.
_PUT = """
INSERT INTO {table} AS t ({columns}) SELECT * FROM unnest({arrays})
ON CONFLICT ({key}) DO UPDATE SET ({values}) = ROW({new})
WHERE ({old}) IS DISTINCT FROM ({new})
"""
_REMOVE = "DELETE FROM {table} AS t USING unnest({arrays}) AS gone ({key}) WHERE ({own}) = ({gone})"


def write(connection: Connection, schema: str, rows: Iterable[Row]) -> int:
    """Write rows, those of a table one after the other, in the transaction of ``connection``. Returns how many
    were deleted. Raises psycopg's errors."""
    deleted = 0
    for name, several in groupby(rows, attrgetter("table")):
        deleted += _write(connection, sql.Identifier(schema, name), TABLES[name], list(several))
    return deleted


def _write(connection: Connection, place: sql.Identifier, table: Table, rows: Sequence[Row]) -> int:
    if put := [{**dict(zip(table.key, r.key, strict=True)), **r.values} for r in rows if r.values is not None]:
        connection.execute(*_put(place, table, put))
    if gone := [dict(zip(table.key, row.key, strict=True)) for row in rows if row.values is None]:
        return connection.execute(*_remove(place, table, gone)).rowcount
    return 0


def _put(place: sql.Identifier, table: Table, rows: Sequence[Mapping[str, Any]]) -> tuple[sql.Composed, list[Any]]:
    columns = list(rows[0])
    values = [name for name in columns if name not in table.key]
    query = sql.SQL(_PUT).format(
        table=place,
        columns=_names(columns),
        arrays=_arrays(columns),
        key=_names(table.key),
        values=_names(values),
        old=_names(values, "t"),
        new=_names(values, "excluded"),
    )
    return query, _values(columns, rows)


def _remove(
    place: sql.Identifier, table: Table, rows: Sequence[Mapping[str, Any]]
) -> tuple[sql.Composed, list[Any]]:
    query = sql.SQL(_REMOVE).format(
        table=place,
        arrays=_arrays(table.key),
        key=_names(table.key),
        own=_names(table.key, "t"),
        gone=_names(table.key, "gone"),
    )
    return query, _values(table.key, rows)


def _names(columns: Sequence[str], of: str = "") -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(of, name) if of else sql.Identifier(name) for name in columns)


def _arrays(columns: Sequence[str]) -> sql.Composed:
    """A parameter per column, with all of its values: however many rows, it is one statement."""
    types = [TYPES.get(name, "text") for name in columns]
    # Arrays of JSON are sent as text.
    casts = ["::text[]::jsonb[]" if type == "jsonb" else f"::{type}[]" for type in types]
    return sql.SQL(", ").join(sql.SQL("%s" + cast) for cast in casts)


def _values(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    return [[_plain(TYPES.get(name), row[name]) for row in rows] for name in columns]


def _plain(type: str | None, value: Any) -> Any:
    """A value as psycopg sends it in an array. MongoDB's large integers are a class of their own, and an array of
    two classes is refused."""
    if type == "jsonb":
        return to_json(value)
    return int(value) if type == "bigint" and value is not None else value


def to_json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
