"""Writes the rows of a number: stamped, grouped by partition key, and with the order of relationships."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from shared.cassandra.numbers import timestamp
from shared.cassandra.protocol import Stamped, Tables
from shared.cassandra.rows import Key, Row
from shared.cassandra.tables import BY_PROVIDER, BY_SCORE, TABLES
from shared.contracts.events import document_id

#: Writes of one batch. All of one partition, so it is one mutation at each replica.
_MOST_OF_A_BATCH = 50


def write(tables: Tables, number: int, rows: Sequence[Row]) -> None:
    """Write rows that were made of documents read after ``number`` was taken. Raises Unavailable when some may be
    missing; they are then made anew, with another number."""
    known = _scores(tables, [row for row in rows if row.table == BY_PROVIDER])
    groups: defaultdict[Key, list[Stamped]] = defaultdict(list)
    sequence = 0
    for row in rows:
        # A relationship and its place in the order are in one partition, hence in one batch: all of it or nothing.
        partition = (*row.key[: len(TABLES[row.table].partition)], "relationships" in row.table)
        for each in (row, *(_places(row, known.get(row.key)) if row.table == BY_PROVIDER else ())):
            groups[partition].append(Stamped(timestamp(number, sequence), each))
            sequence += 1
    tables.write(list(in_batches(groups.values())))


def _places(row: Row, stored: float | None) -> Iterable[Row]:
    """What becomes of a relationship's place in the order. ``stored`` is the score of its row until now."""
    *partition, consumer_id = row.key
    id = document_id(str(partition[0]), str(consumer_id), str(partition[1]))
    score = None if row.values is None else row.values["score"]
    if stored is not None and stored != score:
        yield Row(BY_SCORE, (*partition, stored, id), None)
    if score is not None:
        yield Row(BY_SCORE, (*partition, score, id), {"consumer_id": consumer_id})


def _scores(tables: Tables, rows: Sequence[Row]) -> dict[Key, float]:
    wanted: defaultdict[Key, list[str]] = defaultdict(list)
    for row in rows:
        wanted[row.key[:-1]].append(str(row.key[-1]))
    found = tables.some(BY_PROVIDER, wanted) if wanted else []
    return {tuple(row[name] for name in TABLES[BY_PROVIDER].key): row["score"] for row in found}


def in_batches(groups: Iterable[list[Stamped]]) -> Iterable[list[Stamped]]:
    """Writes of one partition each, in groups that are not too large for a batch."""
    for group in groups:
        batch: list[Stamped] = []
        for write in group:
            # Not between a relationship and its places, which follow it.
            if len(batch) >= _MOST_OF_A_BATCH and write.row.table != BY_SCORE:
                yield batch
                batch = []
            batch.append(write)
        yield batch
