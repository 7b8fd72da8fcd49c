"""Changes of relations → rows. Pure.

A change only names what may be different. The rows are made of the documents as they are once the number of the
slice has been taken: so it does not matter how often, by whom, or in which order of partitions it is done.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from services.cassandra.subjects import subjects_of
from shared.cassandra.rows import Row
from shared.contracts.changes import RelationChange
from shared.runtime.protocols import Answer, Ask, GetCurrent, Outcome, Record
from shared.runtime.relation_changes import ReadsRelationChanges
from shared.runtime.sequence_numbers import NUMBER, ORIGIN


@dataclass(frozen=True, slots=True)
class Rows:
    """The effect of a slice: rows, and the number that was taken before their documents were read."""

    number: int
    rows: Sequence[Row]


class CassandraProjection(ReadsRelationChanges):
    """Folds the changes of relations into rows."""

    name = "cassandra"
    version = 1

    def project(self, items: Sequence[tuple[Record, RelationChange]]) -> Generator[Ask, Answer, Outcome]:
        """Fold a slice of one partition."""
        if not items:
            return Outcome()
        subjects = subjects_of((record.partition.number, change) for record, change in items)
        number, documents = yield GetCurrent(subjects.ids, _numbers(record for record, _ in items))
        return Outcome(effects=[Rows(number, subjects.rows(documents))])


def _numbers(records: "Generator[Record, None, None]") -> dict[str, int]:
    """Origin → the highest number of its changes. The runner has checked their form."""
    found: dict[str, int] = {}
    for record in records:
        headers = dict(record.headers)
        if ORIGIN in headers and NUMBER in headers:
            origin = headers[ORIGIN].decode()
            found[origin] = max(int(headers[NUMBER]), found.get(origin, 0))
    return found
