"""What the sink and the lists need of Cassandra. ``shared.cassandra.store`` implements it, and
``shared.testing.memory_cassandra`` by the rule for cells; one contract suite holds both to it. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from shared.cassandra.rows import Key, Row

Found = Mapping[str, Any]


class Stamped(NamedTuple):
    """A write with its timestamp."""

    timestamp: int
    row: Row


class Entry(NamedTuple):
    """A relationship's place in the order of its provider."""

    score: float
    id: str
    consumer_id: str


class Tables(Protocol):
    """Rows by table. Thread-safe. Every method raises Unavailable."""

    def prepare(self) -> None:
        """Make what is missing of the keyspace and the tables."""

    def write(self, groups: Sequence[Sequence[Stamped]]) -> None:
        """Write groups, each of one partition key and at once, and return when a quorum of the local datacenter
        has all of them."""

    def rows(self, table: str, partition: Key) -> Iterator[Found]:
        """The rows of a partition, by clustering."""

    def some(self, table: str, wanted: Mapping[Key, Collection[str]]) -> list[Found]:
        """The rows of partitions with these values in the first clustering column, in any order."""

    def entries(self, partitions: Iterable[Key], after: tuple[float, str] | None, limit: int) -> list[list[Entry]]:
        """Per partition of the order by score, at most ``limit`` entries after a place: the highest score first,
        and by id within one score."""

    def keys(self, table: str) -> Iterator[Key]:
        """The keys of all rows, in any order."""
