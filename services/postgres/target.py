"""The target in Postgres: the rows of a slice and the position after it, in one transaction.

A claim leaves its mark at the position. A slice moves the position only where the mark is its own, so what an
older claim applies late has no effect, and two transactions of one partition wait for each other there. It moves
the position only from where this process has left it: a database that is restored meanwhile may hold the same
mark, and lacks what came after the backup.
"""

import secrets
import threading
from collections.abc import Sequence
from typing import NamedTuple

from psycopg import sql

from services.postgres.connections import Connection, Connections
from services.postgres.rows import to_json, write
from shared.contracts.errors import Fenced
from shared.runtime.protocols import Claim, Progress
from shared.sinks.target import Row

_CLAIM = """
INSERT INTO {schema}.positions AS p (position, claim) VALUES (%s, %s)
ON CONFLICT (position) DO UPDATE SET claim = excluded.claim RETURNING p.next, p.seen
"""
_MOVE = """
UPDATE {schema}.positions SET next = %s, seen = %s, moved = now()
WHERE position = %s AND claim = %s AND next IS NOT DISTINCT FROM %s
"""


class _Held(NamedTuple):
    """What the position holds, as far as this process knows."""

    mark: str
    next: int | None


class PostgresTarget:
    """Thread-safe, as ``Target`` demands it."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._schema = sql.Identifier(connections.schema)
        #: Of each claim. The mark is not its epoch: a MongoDB restored from a backup counts them anew.
        self._held: dict[Claim, _Held] = {}
        self._lock = threading.Lock()

    def claimed(self, claim: Claim) -> Progress | None:
        mark = f"{claim.epoch}/{secrets.token_hex(8)}"
        with self._connections.lent() as connection:
            query = sql.SQL(_CLAIM).format(schema=self._schema)
            found = connection.execute(query, [claim.position, mark]).fetchone()
        assert found is not None
        with self._lock:
            others = {known: each for known, each in self._held.items() if known.position != claim.position}
            self._held = {**others, claim: _Held(mark, found[0])}
        return Progress(found[0], 0, found[1])

    def apply(self, claim: Claim, after: Progress, effects: Sequence[Row]) -> None:
        mark, next = self._held.get(claim, _Held("", None))
        with self._connections.lent() as connection:
            moved = connection.execute(
                sql.SQL(_MOVE).format(schema=self._schema),
                [after.next, to_json(after.seen), claim.position, mark, next],
            )
            if moved.rowcount != 1:
                raise Fenced(claim.position)
            self._write(connection, effects)
        with self._lock:
            if claim in self._held:
                self._held = {**self._held, claim: _Held(mark, after.next)}

    def _write(self, connection: Connection, rows: Sequence[Row]) -> None:
        write(connection, self._connections.schema, rows)
