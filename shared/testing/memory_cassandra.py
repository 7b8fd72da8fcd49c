"""Cassandra's tables in memory, by its rule for cells: of two writes to a cell the one with the higher timestamp
wins, whenever it arrives; of two with one timestamp a deletion, and else the greater value, cell by cell."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared.cassandra.protocol import Entry, Found, Stamped
from shared.cassandra.rows import Key, Row
from shared.cassandra.tables import BY_SCORE, TABLES, Table
from shared.contracts.errors import Unavailable

#: Timestamp, and the value; None: a tombstone, or no value.
_Cell = tuple[int, Any]


class _StoredRow:
    """The cells of a row. ``marker`` makes it a row even without a value."""

    def __init__(self) -> None:
        self.deleted = 0
        self.marker = 0
        self.cells: dict[str, _Cell] = {}

    def put(self, stamp: int, values: Mapping[str, Any]) -> None:
        self.marker = max(self.marker, stamp)
        for name, value in values.items():
            known = self.cells.get(name)
            if known is None or _order(stamp, value) > _order(*known):
                self.cells[name] = (stamp, value)

    def delete(self, stamp: int) -> None:
        self.deleted = max(self.deleted, stamp)

    def visible(self) -> dict[str, Any] | None:
        found = {name: None if stamp <= self.deleted else value for name, (stamp, value) in self.cells.items()}
        live = self.marker > self.deleted or any(value is not None for value in found.values())
        return found if live else None


def _order(stamp: int, value: Any) -> tuple[int, bool, str]:
    # A tombstone wins over a value. Among values Cassandra compares the bytes; any order of them will do here.
    return stamp, value is None, repr(value)


class MemoryTables:
    """``Tables``. While ``available`` is false, every method fails."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[Key, _StoredRow]] = {name: {} for name in TABLES}
        self.available = True
        #: Every write that has arrived, for tests.
        self.arrived: list[Stamped] = []

    def prepare(self) -> None:
        self._check()

    def write(self, groups: Sequence[Sequence[Stamped]]) -> None:
        self._check()
        for group in groups:
            for write in group:
                self.apply(write)

    def apply(self, write: Stamped) -> None:
        """One write arrives."""
        self.arrived.append(write)
        table, row = TABLES[write.row.table], write.row
        stored = self._rows[row.table].setdefault(row.key, _StoredRow())
        if row.values is None:
            stored.delete(write.timestamp)
        else:
            assert set(row.values) == set(table.columns) - set(table.key), "a column is not bound"
            stored.put(write.timestamp, row.values)

    def rows(self, table: str, partition: Key) -> Iterator[Found]:
        self._check()
        return iter([row for row in self._live(table) if _partition(TABLES[table], row) == partition])

    def some(self, table: str, wanted: Mapping[Key, Collection[str]]) -> list[Found]:
        self._check()
        first = TABLES[table].clustering[0]
        return [row for row in self._live(table) if row[first] in wanted.get(_partition(TABLES[table], row), ())]

    def entries(self, partitions: Iterable[Key], after: tuple[float, str] | None, limit: int) -> list[list[Entry]]:
        begin = None if after is None else (-after[0], after[1])
        found = []
        for partition in partitions:
            rows = sorted(self.rows(BY_SCORE, partition), key=lambda row: (-row["score"], row["id"]))
            left = [row for row in rows if begin is None or (-row["score"], row["id"]) > begin]
            found.append([Entry(row["score"], row["id"], row["consumer_id"]) for row in left[:limit]])
        return found

    def keys(self, table: str) -> Iterator[Key]:
        self._check()
        return iter([tuple(row[name] for name in TABLES[table].key) for row in self._live(table)])

    def all(self, table: str) -> list[Row]:
        """Every row, by key."""
        spec = TABLES[table]
        found = [
            Row(table, tuple(row[n] for n in spec.key), {n: row[n] for n in spec.columns if n not in spec.key})
            for row in self._live(table)
        ]
        return sorted(found, key=lambda row: row.key)

    def _live(self, table: str) -> list[Found]:
        spec = TABLES[table]
        rows = ((key, row.visible()) for key, row in self._rows[table].items())
        return [{**dict(zip(spec.key, key, strict=True)), **row} for key, row in rows if row is not None]

    def _check(self) -> None:
        if not self.available:
            raise Unavailable("Cassandra is unavailable")


def _partition(table: Table, row: Found) -> Key:
    return tuple(row[name] for name in table.partition)
