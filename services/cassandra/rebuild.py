"""Makes every row anew, beside a sink that goes on: first those that have a document, then those that have none.

Each piece takes a number and reads its documents, as a slice does. So it does not matter what happens at the same
time, or whether it ends: rows that were made anew are right, and the others are as they were.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

from pymongo.database import Database

from services.cassandra.reader import CurrentDocuments
from services.cassandra.subjects import AGGREGATES, RELATIONS, RELATIONSHIPS, Subjects
from shared.cassandra.protocol import Tables
from shared.cassandra.rows import Key, Row, score_of
from shared.cassandra.tables import AGGREGATES as SUMS
from shared.cassandra.tables import BY_CONSUMER, BY_PROVIDER, BY_SCORE, FACTS
from shared.cassandra.writer import write
from shared.contracts.events import document_id
from shared.mongo.errors import translated
from shared.mongo.limits import STREAM_MS
from shared.runtime.protocols import Document
from shared.sinks.rebuilding import PIECE, patiently, pieces, settled

T = TypeVar("T")

_FIELDS = {
    RELATIONS: ("tenant", "consumer_id", "relation_id"),
    RELATIONSHIPS: ("tenant", "consumer_id", "provider_id"),
    AGGREGATES: ("tenant", "by", "key", "day", "partition"),
}


class SinkRebuild:
    """``names`` returns the present full name of a collection. ``report`` receives what is being done and how many
    rows are done; ``stopped`` says whether to end early. ``pause`` waits some seconds before another attempt."""

    def __init__(
        self,
        database: Database[Document],
        names: Mapping[str, Callable[[str], str]],
        current: CurrentDocuments,
        tables: Tables,
        report: Callable[[str, int], None],
        stopped: Callable[[], bool],
        pause: Callable[[float], None],
    ) -> None:
        self._database, self._names = database, names
        self._current, self._tables = current, tables
        self._report, self._stopped, self._pause = report, stopped, pause

    def run(self) -> tuple[int, int] | None:
        """How many documents were written and how many rows were deleted; None when it was stopped. Raises
        Unavailable after many attempts."""
        self._patiently(self._tables.prepare)
        return settled(partial(self._patiently, self._full_names), self.write_all, self._sweep_all, self._stopped)

    def write_all(self) -> int:
        """Make the rows of every document anew. Returns how many documents there were."""
        written = 0
        for collection in (RELATIONS, RELATIONSHIPS, AGGREGATES):
            for piece in pieces(self._documents(collection)):
                if self._stopped():
                    return written
                subjects = Subjects()
                for document in piece:
                    _add_document(subjects, collection, document)
                self._patiently(partial(self._refresh, subjects))
                written += len(piece)
                self._report(collection, written)
        return written

    def _full_names(self) -> list[str]:
        return [name_of(collection) for collection, name_of in self._names.items()]

    def _sweep_all(self) -> int:
        deleted = 0
        for table in (FACTS, BY_CONSUMER, BY_PROVIDER, BY_SCORE, SUMS):
            for keys in pieces(self._tables.keys(table)):
                if self._stopped():
                    return deleted
                deleted += self._patiently(partial(self._sweep, table, keys))
                self._report(f"rows without a document in {table}", deleted)
        return deleted

    def _documents(self, collection: str) -> Iterator[Document]:
        wanted = {"retracted": False} if collection == RELATIONS else {}
        name = self._names[collection](collection)
        with translated():
            yield from self._database[name].find(
                wanted, dict.fromkeys(_FIELDS[collection], 1), batch_size=PIECE, max_time_ms=STREAM_MS
            )

    def _refresh(self, subjects: Subjects) -> None:
        number, documents = self._current.read(subjects.ids, {})
        write(self._tables, number, subjects.rows(documents))

    def _sweep(self, table: str, keys: list[Key]) -> int:
        """Delete the rows of a table that have no document, and places in the order of another score."""
        subjects = Subjects()
        for key in keys:
            _add_key(subjects, table, key)
        number, documents = self._current.read(subjects.ids, {})
        if table == BY_SCORE:
            found = documents.get(RELATIONSHIPS, {})
            rows = [
                Row(BY_SCORE, key, None)
                for key in keys
                if (document := found.get(key[4])) is None or score_of(document) != key[3]
            ]
        else:
            rows = [row for row in subjects.rows(documents) if row.values is None and row.table == table]
        write(self._tables, number, rows)
        return len(rows)

    def _patiently(self, step: Callable[[], T]) -> T:
        return patiently(step, self._stopped, self._pause)


def _add_document(subjects: Subjects, collection: str, document: Document) -> None:
    key = tuple(document[name] for name in _FIELDS[collection])
    if collection == RELATIONS:
        subjects.add_fact(*key)
    elif collection == RELATIONSHIPS:
        subjects.add_pair(key)
    else:
        subjects.add_place(key)


def _add_key(subjects: Subjects, table: str, key: Key) -> None:
    if table == FACTS:
        subjects.add_fact(*key)
    elif table == BY_CONSUMER:
        subjects.add_pair(key)
    elif table == BY_PROVIDER:
        subjects.add_pair((key[0], key[3], key[1]))
    elif table == BY_SCORE:
        subjects.add_pair(pair_of(key[0], key[1], key[4]))
    else:
        subjects.add_place(key)


def pair_of(tenant: str, provider_id: str, id: str) -> tuple[str, str, str]:
    """The pair that the id of a relationship names."""
    consumer = id[len(tenant) + 1 : len(id) - len(document_id("", provider_id))]
    return tenant, consumer.replace("%3A", ":").replace("%25", "%"), provider_id
