"""Connections to Postgres, and what its errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Any

import psycopg
from psycopg import sql

from services.postgres.schema import MIGRATIONS
from shared.contracts.errors import ConfigurationError, Unavailable

Connection = psycopg.Connection[tuple[Any, ...]]

#: Postgres ends a statement after this time, and a connection whose peer is gone is noticed within it.
_STATEMENT_MS, _PEER_MS = 60_000, 15_000
# While an answer is awaited nothing is sent: without probes a host that is gone is not noticed for hours.
_PROBE_SECONDS = 5
_CONNECT_SECONDS = 5


class Connections:
    """Lends connections to one database; each thread that borrows has one to itself. Thread-safe. ``schema`` is
    the one that the tables are in."""

    def __init__(self, dsn: str, schema: str) -> None:
        """Raises ConfigurationError when ``dsn`` is none. Opens nothing."""
        try:
            psycopg.conninfo.conninfo_to_dict(dsn)
        except psycopg.ProgrammingError as error:
            # Postgres quotes the text, which may hold a password.
            raise ConfigurationError("KITH_POSTGRES is no address of a Postgres server") from error
        self._dsn, self.schema = dsn, schema
        self._idle: LifoQueue[Connection] = LifoQueue()

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """A connection for one transaction, which the block's end commits and an error rolls back. Raises
        Unavailable."""
        with translated():
            connection = self._take()
            try:
                with connection.transaction():
                    yield connection
            except BaseException:
                connection.close()
                raise
            self._idle.put(connection)

    def close(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    def _take(self) -> Connection:
        try:
            return self._idle.get_nowait()
        except Empty:
            return psycopg.connect(
                self._dsn,
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
                tcp_user_timeout=_PEER_MS,
                keepalives_idle=_PROBE_SECONDS,
                keepalives_interval=_PROBE_SECONDS,
                keepalives_count=2,
                application_name="kith",
                options=f"-c statement_timeout={_STATEMENT_MS} -c lock_timeout={_PEER_MS} -c timezone=UTC",
            )


@contextmanager
def translated() -> Iterator[None]:
    """Translates psycopg's errors to Unavailable where another try may help, at once or after an operator has
    acted. Others are raised as they are."""
    try:
        yield
    except (psycopg.errors.InvalidPassword, psycopg.errors.InvalidCatalogName) as error:
        raise Unavailable(f"Postgres refuses the connection: {_said(error)}") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        # A server that starts, stops, is full or is gone; a transaction that lost against another one.
        raise Unavailable(f"Postgres: {_said(error)}") from error
    except (
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.InvalidSchemaName,
        psycopg.errors.ReadOnlySqlTransaction,
        # A column or a constraint that somebody has added or changed.
        psycopg.errors.DatatypeMismatch,
        psycopg.errors.IntegrityError,
    ) as error:
        raise Unavailable(f"Postgres refuses, and somebody has to change that: {_said(error)}") from error


def _said(error: psycopg.Error) -> str:
    """The first line of an error: those after it may quote values."""
    return (error.diag.message_primary or str(error)).strip().partition("\n")[0] or type(error).__name__


def prepare(connections: Connections) -> None:
    """Bring the schema to this version of Kith. Makes nothing, and needs no right to, where it is there already.
    Raises Unavailable, and ConfigurationError when a newer version of Kith has made it, or somebody else."""
    schema = connections.schema
    with connections.lent() as connection:
        if (found := _version(connection, schema)) == len(MIGRATIONS):
            return
        # One process after the other; the others find it done.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 8711))", [schema])
        _check_known(schema, _version(connection, schema))
        name = sql.Identifier(schema)
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
        connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {}.version (version integer NOT NULL)").format(name)
        )
        # Once more: to wait for the lock did not tell this connection of a schema that was made meanwhile.
        _check_known(schema, found := _version(connection, schema))
        try:
            for migration in MIGRATIONS[found:]:
                connection.execute(sql.SQL(migration).format(schema=name))
        except psycopg.errors.DuplicateTable as error:
            raise _of_another(schema, _said(error)) from error
        connection.execute(sql.SQL("DELETE FROM {}.version").format(name))
        connection.execute(sql.SQL("INSERT INTO {}.version VALUES (%s)").format(name), [len(MIGRATIONS)])


def _version(connection: Connection, schema: str) -> int:
    found = connection.execute("SELECT to_regclass(%s)", [f'"{schema}".version']).fetchone()
    if found is None or found[0] is None:
        return 0
    query = sql.SQL("SELECT coalesce(max(version), 0) FROM {}.version").format(sql.Identifier(schema))
    try:
        stored = connection.execute(query).fetchone()
    except (psycopg.errors.UndefinedFunction, psycopg.errors.DatatypeMismatch) as error:
        raise _of_another(schema, "its table version is another one") from error
    return 0 if stored is None else int(stored[0])


def _check_known(schema: str, version: int) -> None:
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"the schema {schema} in Postgres has version {version}, made by a newer Kith; this one knows "
            f"version {len(MIGRATIONS)}: install the newer one, or set KITH_POSTGRES_SCHEMA to another name"
        )


def _of_another(schema: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the schema {schema} in Postgres has tables that Kith has not made ({why}): set KITH_POSTGRES_SCHEMA to"
        " another name, or remove them"
    )
