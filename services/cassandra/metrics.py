"""Metrics of the tables."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from shared.cassandra.protocol import Entry, Found, Stamped, Tables
from shared.cassandra.rows import Key


class MeteredTables:
    """``tables``, whose writes are counted in ``registry``."""

    def __init__(self, tables: Tables, registry: CollectorRegistry) -> None:
        self._tables = tables
        self._writes = Counter(
            "kith_cassandra_writes", "Rows written or deleted, by table.", ["table"], registry=registry
        )
        self._seconds = Histogram(
            "kith_cassandra_write_seconds",
            "Duration of the writes of a slice, until a quorum has all of them.",
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10),
            registry=registry,
        )

    def prepare(self) -> None:
        self._tables.prepare()

    def write(self, groups: Sequence[Sequence[Stamped]]) -> None:
        begin = time.monotonic()
        self._tables.write(groups)
        self._seconds.observe(time.monotonic() - begin)
        for group in groups:
            for write in group:
                self._writes.labels(write.row.table).inc()

    def rows(self, table: str, partition: Key) -> Iterator[Found]:
        return self._tables.rows(table, partition)

    def some(self, table: str, wanted: Mapping[Key, Collection[str]]) -> list[Found]:
        return self._tables.some(table, wanted)

    def entries(self, partitions: Iterable[Key], after: tuple[float, str] | None, limit: int) -> list[list[Entry]]:
        return self._tables.entries(partitions, after, limit)

    def keys(self, table: str) -> Iterator[Key]:
        return self._tables.keys(table)
