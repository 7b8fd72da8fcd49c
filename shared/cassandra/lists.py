"""Lists of relationships out of Cassandra, strongest first: the same documents in the same order as MongoDB's.

They are as of the last change that the sink has stored.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

from shared.cassandra.protocol import Entry, Found, Tables
from shared.cassandra.rows import Key, relationship_of
from shared.cassandra.tables import BUCKETS, BY_CONSUMER, BY_PROVIDER
from shared.runtime.protocols import Document

Place = tuple[float, str]


class RelationshipLists:
    """Reads of ``tables``. Every method raises Unavailable."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def page(self, tenant: str, side: str, id: str, limit: int, after: Place | None) -> list[Document]:
        """At most ``limit`` relationships of a consumer (``side`` "consumer_id") or provider after a place, which
        is a score and a relationship's id: the highest score first, and by id within one score."""
        if side == "consumer_id":
            return self._of_consumer(tenant, id, limit, after)
        return self._of_provider(tenant, id, limit, after)

    def _of_consumer(self, tenant: str, id: str, limit: int, after: Place | None) -> list[Document]:
        """One partition is read whole: of the order, only what is wanted stays in memory."""
        found = (
            (_place(each), each) for each in map(relationship_of, self._tables.rows(BY_CONSUMER, (tenant, id)))
        )
        begin = None if after is None else (-after[0], after[1])
        left = ((place, each) for place, each in found if begin is None or place > begin)
        return [each for _, each in heapq.nsmallest(limit, left, key=lambda found: found[0])]

    def _of_provider(self, tenant: str, id: str, limit: int, after: Place | None) -> list[Document]:
        partitions: Sequence[Key] = [(tenant, id, bucket) for bucket in range(BUCKETS)]
        items: list[Document] = []
        while len(items) < limit:
            wanted = limit - len(items)
            found = self._tables.entries(partitions, after, wanted)
            merged = heapq.merge(
                *map(_with_partition, partitions, found), key=lambda each: (-each[1].score, each[1].id)
            )
            entries = list(islice(merged, wanted))
            items += self._that_count(entries)
            if len(entries) < wanted:
                break
            # Some did not count: further on in the order.
            after = (entries[-1][1].score, entries[-1][1].id)
        return items

    def _that_count(self, entries: Sequence[tuple[Key, Entry]]) -> list[Document]:
        """The relationships of these entries, without those of which the relationship has another score: they were
        left behind by a writer that came late."""
        wanted: defaultdict[Key, list[str]] = defaultdict(list)
        for partition, entry in entries:
            wanted[partition].append(entry.consumer_id)
        rows = {row["consumer_id"]: row for row in self._tables.some(BY_PROVIDER, wanted)}
        return [
            relationship_of(row)
            for _, entry in entries
            if (row := rows.get(entry.consumer_id)) is not None and row["score"] == entry.score
        ]


def _place(document: Document | Found) -> Place:
    return -document["score"], document["_id"]


def _with_partition(partition: Key, entries: Sequence[Entry]) -> Iterator[tuple[Key, Entry]]:
    return ((partition, entry) for entry in entries)
