"""The target of the sink: the rows of a slice, in Cassandra."""

from collections.abc import Sequence

from services.cassandra.projection import Rows
from shared.cassandra.protocol import Tables
from shared.cassandra.writer import write
from shared.runtime.protocols import Claim, Progress


class CassandraTarget:
    """Needs no fence for claims: each slice has a number of its own (shared.cassandra.numbers)."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def claimed(self, claim: Claim) -> Progress | None:  # noqa: ARG002 - the numbers fence
        """Make what is missing. Raises Unavailable."""
        self._tables.prepare()
        return None

    def apply(self, claim: Claim, after: Progress, effects: Sequence[Rows]) -> None:  # noqa: ARG002
        """Write the rows, and return when a quorum has them. Raises Unavailable."""
        for each in effects:
            write(self._tables, each.number, each.rows)
