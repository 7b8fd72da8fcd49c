"""The target in Postgres: the rows of a slice and the position after it, in one transaction.

A claim leaves its mark at the position. A slice moves the position only where the mark is its own, so what an
older claim applies late has no effect, and two transactions of one partition wait for each other there.
"""

import secrets
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import orjson
from psycopg import sql

from services.postgres.connections import Connection, Connections
from services.postgres.projection import TABLES, Table
from services.postgres.schema import TYPES
from shared.contracts.errors import Fenced
from shared.runtime.protocols import Claim, Progress
from shared.sinks.target import Row

_CLAIM = """
INSERT INTO {schema}.positions AS p (position, claim) VALUES (%s, %s)
ON CONFLICT (position) DO UPDATE SET claim = excluded.claim RETURNING p.next, p.seen
"""
_MOVE = """
UPDATE {schema}.positions SET next = %s, seen = %s, moved = now() WHERE position = %s AND claim = %s
"""
# What is there already is not written again: a repeated slice costs no new version of a row.
_PUT = """
INSERT INTO {table} AS t ({columns}) SELECT * FROM unnest({arrays})
ON CONFLICT ({key}) DO UPDATE SET ({values}) = ROW({new})
WHERE ({old}) IS DISTINCT FROM ({new})
"""
_REMOVE = "DELETE FROM {table} AS t USING unnest({arrays}) AS gone ({key}) WHERE ({own}) = ({gone})"


class PostgresTarget:
    """Thread-safe, as ``Target`` demands it."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._schema = sql.Identifier(connections.schema)
        #: The mark of each claim. Not its epoch: a MongoDB restored from a backup counts them anew.
        self._marks: dict[Claim, str] = {}

    def claimed(self, claim: Claim) -> Progress | None:
        mark = f"{claim.epoch}/{secrets.token_hex(8)}"
        with self._connections.lent() as connection:
            query = sql.SQL(_CLAIM).format(schema=self._schema)
            found = connection.execute(query, [claim.position, mark]).fetchone()
        assert found is not None
        self._marks = {known: each for known, each in self._marks.items() if known.position != claim.position}
        self._marks[claim] = mark
        return Progress(found[0], 0, found[1])

    def apply(self, claim: Claim, after: Progress, effects: Sequence[Row]) -> None:
        with self._connections.lent() as connection:
            moved = connection.execute(
                sql.SQL(_MOVE).format(schema=self._schema),
                [after.next, _json(after.seen), claim.position, self._marks.get(claim, "")],
            )
            if moved.rowcount != 1:
                raise Fenced(claim.position)
            for name, rows in groupby(effects, attrgetter("table")):
                self._write(connection, name, TABLES[name], list(rows))

    def _write(self, connection: Connection, name: str, table: Table, rows: Sequence[Row]) -> None:
        place = sql.Identifier(self._connections.schema, name)
        if put := [{**dict(zip(table.key, r.key, strict=True)), **r.values} for r in rows if r.values is not None]:
            connection.execute(*_put(place, table, put))
        if gone := [dict(zip(table.key, row.key, strict=True)) for row in rows if row.values is None]:
            connection.execute(*_remove(place, table, gone))


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
    of_json = {name for name in columns if TYPES.get(name) == "jsonb"}
    return [[_json(row[name]) if name in of_json else row[name] for row in rows] for name in columns]


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
