"""The tables in a Cassandra cluster: connected when first used, statements prepared once."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.cassandra.address import Address
from shared.cassandra.protocol import Entry, Found, Stamped
from shared.cassandra.rows import Key
from shared.cassandra.session import connect, translated
from shared.cassandra.tables import BY_SCORE, TABLES
from shared.contracts.errors import Unavailable
from shared.runtime.lazy import Lazy

#: Statements under way at once.
_AT_ONCE = 64
#: Values of one IN.
_MOST_VALUES = 100
_PAGE = 1_000


class CassandraTables:
    """``Tables`` of one cluster. ``close`` ends its connections."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Lazy[tuple[Any, Any]] = Lazy(lambda: connect(address), _shut_down)
        self._statements: dict[str, Any] = {}

    def prepare(self) -> None:
        address = self._address
        copies = f"{{'class': 'NetworkTopologyStrategy', '{address.datacenter}': {address.replication}}}"
        with translated():
            session = self._connected()
            # First it is looked whether it is there: the user need not be allowed to make one.
            known = session.execute(
                "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", [address.keyspace]
            )
            missing = set(TABLES) - {row[0] for row in known}
            if not missing:
                return
            spaces = session.execute("SELECT keyspace_name FROM system_schema.keyspaces")
            if address.keyspace not in {row[0] for row in spaces}:
                session.execute(
                    f"CREATE KEYSPACE IF NOT EXISTS {address.keyspace} WITH replication = {copies}", timeout=30
                )
            for name in sorted(missing):
                session.execute(TABLES[name].create(address.keyspace), timeout=30)

    def problems(self) -> list[str]:
        """Why Cassandra cannot be used; empty when it can."""
        try:
            with translated():
                self._connected().execute("SELECT release_version FROM system.local")
        except Unavailable as error:
            return [str(error)]
        return []

    def write(self, groups: Sequence[Sequence[Stamped]]) -> None:
        from cassandra.query import BatchStatement, BatchType

        with translated():
            bound = []
            for group in groups:
                statements = [self._bound(write) for write in group]
                if len(statements) == 1:
                    bound.append((statements[0], ()))
                elif statements:
                    batch = BatchStatement(BatchType.UNLOGGED)
                    for statement in statements:
                        batch.add(statement)
                    bound.append((batch, ()))
            self._all(bound)

    def rows(self, table: str, partition: Key) -> Iterator[Found]:
        with translated():
            statement = self._prepared(TABLES[table].select(self._keyspace)).bind(partition)
            statement.fetch_size = _PAGE
            for row in self._connected().execute(statement):
                yield _found(table, row)

    def some(self, table: str, wanted: Mapping[Key, Collection[str]]) -> list[Found]:
        first = TABLES[table].clustering[0]
        with translated():
            select = self._prepared(TABLES[table].select(self._keyspace, f' AND "{first}" IN ?'))
            calls = []
            for partition, given in wanted.items():
                values = list(given)
                for start in range(0, len(values), _MOST_VALUES):
                    calls.append((select, (*partition, values[start : start + _MOST_VALUES])))
            return [_found(table, row) for rows in self._all(calls) for row in rows]

    def entries(self, partitions: Iterable[Key], after: tuple[float, str] | None, limit: int) -> list[list[Entry]]:
        places = list(partitions)
        table = TABLES[BY_SCORE]
        with translated():
            if after is None:
                first = self._prepared(table.select(self._keyspace, " LIMIT ?"))
                return [_entries(rows) for rows in self._all([(first, (*place, limit)) for place in places])]
            # The order is mixed (score falls, id rises), so what follows a place is two ranges.
            same = self._prepared(table.select(self._keyspace, ' AND "score" = ? AND "id" > ? LIMIT ?'))
            lower = self._prepared(table.select(self._keyspace, ' AND "score" < ? LIMIT ?'))
            calls = [(same, (*place, *after, limit)) for place in places]
            calls += [(lower, (*place, after[0], limit)) for place in places]
            found = self._all(calls)
        halves = zip(found[: len(places)], found[len(places) :], strict=True)
        return [[*_entries(one), *_entries(other)][:limit] for one, other in halves]

    def keys(self, table: str) -> Iterator[Key]:
        with translated():
            statement = self._prepared(TABLES[table].select_keys(self._keyspace)).bind(())
            statement.fetch_size = _PAGE
            for row in self._connected().execute(statement):
                yield tuple(row)

    def empty(self) -> None:
        """Delete all rows. For tests."""
        with translated():
            for name in TABLES:
                self._connected().execute(f"TRUNCATE {self._keyspace}.{name}", timeout=60)

    def drop(self) -> None:
        """Delete the keyspace. For tests."""
        with translated():
            self._connected().execute(f"DROP KEYSPACE IF EXISTS {self._keyspace}", timeout=60)

    def close(self) -> None:
        self._connection.close()
        self._statements = {}

    @property
    def _keyspace(self) -> str:
        return self._address.keyspace

    def _connected(self) -> Any:
        """The session. Raises the driver's errors."""
        return self._connection.get()[1]

    def _prepared(self, text: str) -> Any:
        if (known := self._statements.get(text)) is None:
            known = self._statements[text] = self._connected().prepare(text)
        return known

    def _bound(self, write: Stamped) -> Any:
        table, row = TABLES[write.row.table], write.row
        if row.values is None:
            return self._prepared(table.delete(self._keyspace)).bind((write.timestamp, *row.key))
        values = {**dict(zip(table.key, row.key, strict=True)), **row.values}
        bound = [values[name] for name in table.columns]
        return self._prepared(table.insert(self._keyspace)).bind((*bound, write.timestamp))

    def _all(self, calls: Sequence[tuple[Any, Any]]) -> list[list[Any]]:
        """The rows of each call, in their order. Raises the first error, once none is under way any more."""
        from cassandra.concurrent import execute_concurrent

        found = execute_concurrent(
            self._connected(), calls, concurrency=_AT_ONCE, raise_on_first_error=False, results_generator=False
        )
        for good, result in found:
            if not good:
                raise result
        return [list(result) for _, result in found]


def _shut_down(connection: tuple[Any, Any]) -> None:
    connection[0].shutdown()


def _found(table: str, row: Sequence[Any]) -> Found:
    return {
        name: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
        for name, value in zip(TABLES[table].columns, row, strict=True)
    }


def _entries(rows: Iterable[Sequence[Any]]) -> list[Entry]:
    """Columns: tenant, provider, bucket, score, id, consumer."""
    return [Entry(row[3], row[4], row[5]) for row in rows]
