"""The Postgres sink for tests: its world in the suite of sinks, and its rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from pymongo.database import Database

from services.postgres.connections import Connections, prepare
from services.postgres.projection import TABLES, PostgresProjection
from services.postgres.target import PostgresTarget
from shared.runtime.protocols import Document, Projection
from shared.sinks.target import Target
from tests.support.builders import TOPICS
from tests.support.sinks import Place


class PostgresWorld:
    """A schema of its own, empty."""

    def __init__(self, dsn: str, schema: str) -> None:
        self.dsn, self.schema = dsn, schema
        self._opened: list[Connections] = []
        self.connections = self.connect()
        self.drop()
        prepare(self.connections)

    def target(self) -> Target[Any]:
        return PostgresTarget(self.connect())

    def connect(self) -> Connections:
        """Connections of another process."""
        self._opened.append(opened := Connections(self.dsn, self.schema))
        return opened

    def close(self) -> None:
        self.drop()
        for each in self._opened:
            each.close()

    def projection(self) -> Projection[Any]:
        return PostgresProjection(TOPICS)

    def held(self) -> dict[Place, int]:
        return {(str(a), str(b), str(c)): row["amount"] for (a, b, c), row in self.rows("relations").items()}

    def rows(self, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
        """The rows of a table, as the projection makes them."""
        return read_rows(self.dsn, self.schema, name)

    def copied(self) -> Callable[[], None]:
        names = ("positions", *TABLES)
        with psycopg.connect(self.dsn) as connection:
            kept = {name: self._all(connection, name) for name in names}
        return lambda: self._restore(kept)

    def _all(self, connection: psycopg.Connection[Any], name: str) -> list[bytes]:
        query = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(self.schema, name))
        with connection.cursor().copy(query) as copy:
            return [bytes(block) for block in copy]

    def _restore(self, kept: Mapping[str, Sequence[bytes]]) -> None:
        with psycopg.connect(self.dsn) as connection:
            for name, blocks in kept.items():
                table = sql.Identifier(self.schema, name)
                connection.execute(sql.SQL("DELETE FROM {}").format(table))
                with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(table)) as copy:
                    for block in blocks:
                        copy.write(block)

    def drop(self) -> None:
        with self.connections.lent() as connection:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(self.schema)))


def expected_rows(database: Database[Document]) -> dict[str, Any]:
    """The rows of every document, whether a change has named it or not, by table."""
    return {
        name: {
            tuple(document[field] for field in table.key): values
            for document in database[name].find()
            if (values := table.values(document)) is not None
        }
        for name, table in TABLES.items()
    }


def read_rows(dsn: str, schema: str, name: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows of a table, as the projection makes them."""
    key = TABLES[name].key
    with psycopg.connect(dsn, options="-c timezone=UTC", row_factory=dict_row) as connection:
        query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, name))
        found = connection.execute(query).fetchall()
    return {
        tuple(row[part] for part in key): {column: row[column] for column in row if column not in key}
        for row in found
    }
