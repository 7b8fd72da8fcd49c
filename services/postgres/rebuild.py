"""Makes every row anew, beside a sink that goes on: first those that have a document, then those that have none.

First every claim gets another mark, so that no slice that was read before is applied. Then, for each piece of rows
the positions are locked, and with them all slices; the documents are read, and the rows are written. What a slice
has read before and writes afterwards is older only where a change follows that it has not read yet. So it does not
matter what happens at the same time, or whether this ends.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from psycopg import sql
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from services.postgres.connections import Connections, prepare
from services.postgres.projection import TABLES, Key, rows_of
from services.postgres.rows import write
from shared.contracts.errors import Stale
from shared.contracts.events import document_id
from shared.mongo.errors import translated
from shared.mongo.limits import STREAM_MS
from shared.runtime.protocols import Document
from shared.sinks.rebuilding import PIECE, patiently, pieces, settled

T = TypeVar("T")

# Waits for the slices under way, and lets no other one begin until the end of the transaction.
_LOCK = "LOCK TABLE {schema}.positions IN SHARE ROW EXCLUSIVE MODE"
_FENCE = "UPDATE {schema}.positions SET claim = %s"
_KEYS = "SELECT {key} FROM {table} WHERE ({key}) > ({last}) ORDER BY {key} LIMIT %s"


class SinkRebuild:
    """``name_of`` returns the present full name of a collection of relations. ``report`` receives what is being
    done and how many rows are done; ``stopped`` says whether to end early. ``pause`` waits some seconds before
    another attempt."""

    def __init__(
        self,
        database: Database[Document],
        name_of: Callable[[str], str],
        connections: Connections,
        report: Callable[[str, int], None],
        stopped: Callable[[], bool],
        pause: Callable[[float], None],
    ) -> None:
        self._database = database.with_options(read_concern=ReadConcern("majority"))
        self._name_of, self._connections = name_of, connections
        self._report, self._stopped, self._pause = report, stopped, pause

    def run(self) -> tuple[int, int] | None:
        """How many documents were written and how many rows were deleted; None when it was stopped. Raises
        Unavailable after many attempts, and ConfigurationError."""
        self._patiently(partial(prepare, self._connections))
        self._patiently(self._fence)
        return settled(partial(self._patiently, self._names), self.write_all, self._sweep_all, self._stopped)

    def write_all(self) -> int:
        """Make the rows of every document anew. Returns how many documents there were."""
        written = 0
        for table in TABLES:
            for keys in pieces(self._documents(table)):
                if self._stopped():
                    return written
                self._patiently(partial(self._refresh, table, keys))
                written += len(keys)
                self._report(table, written)
        return written

    def _sweep_all(self) -> int:
        """Look at the documents of every row. Returns how many had none, and were deleted."""
        deleted = 0
        for table in TABLES:
            for keys in self._stored(table):
                if self._stopped():
                    return deleted
                deleted += self._patiently(partial(self._refresh, table, keys))
                self._report(f"rows without a document in {table}", deleted)
        return deleted

    def _names(self) -> list[str]:
        return [self._name_of(table) for table in TABLES]

    def _fence(self) -> None:
        with self._connections.lent() as connection:
            connection.execute(self._of(_FENCE), [f"rebuild/{secrets.token_hex(8)}"])

    def _refresh(self, table: str, keys: Sequence[Key]) -> int:
        """Write the rows of these keys as their documents are. Returns how many rows were deleted."""
        ids = {key: document_id(*key) for key in keys}
        with self._connections.lent() as connection:
            connection.execute(self._of(_LOCK))
            name = self._name_of(table)
            with translated():
                wanted = {"_id": {"$in": list(ids.values())}}
                found = {each["_id"]: each for each in self._database[name].find(wanted)}
            if self._name_of(table) != name:
                raise Stale("another version of relations is live since")
            return write(connection, self._connections.schema, rows_of({table: ids}, {table: found}))

    def _documents(self, table: str) -> Iterator[Key]:
        """The keys of all documents that can be rows."""
        fields = TABLES[table].key
        with translated():
            for each in self._database[self._name_of(table)].find(
                {}, dict.fromkeys(fields, 1), batch_size=PIECE, max_time_ms=STREAM_MS
            ):
                key = tuple(each[field] for field in fields)
                if not any("\0" in part for part in key):  # of which the sink has made a dead letter
                    yield key

    def _stored(self, table: str) -> Iterator[list[Key]]:
        """The keys of all rows, in pieces."""
        fields = TABLES[table].key
        query = sql.SQL(_KEYS).format(
            key=sql.SQL(", ").join(map(sql.Identifier, fields)),
            table=sql.Identifier(self._connections.schema, table),
            last=sql.SQL(", ").join([sql.Placeholder()] * len(fields)),
        )
        last: Key = ("",) * len(fields)  # no id is empty
        while keys := self._patiently(partial(self._after, query, last)):
            yield keys
            last = keys[-1]

    def _after(self, query: sql.Composed, last: Key) -> list[Key]:
        with self._connections.lent() as connection:
            return connection.execute(query, [*last, PIECE]).fetchall()

    def _of(self, query: str) -> sql.Composed:
        return sql.SQL(query).format(schema=sql.Identifier(self._connections.schema))

    def _patiently(self, step: Callable[[], T]) -> T:
        return patiently(step, self._stopped, self._pause)
