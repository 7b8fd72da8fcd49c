"""Explains an event from the messages about its subject and the services' progress. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from services.explain import verdicts as why
from services.explain.find import Asked, fields_of, name_of
from services.explain.model import Explanation
from services.explain.replay_log import Entry, ReplayLog, StoredState
from shared.contracts.events import document_id
from shared.contracts.topics import Topics
from shared.runtime.dead_letters import dead_letter_id
from shared.runtime.protocols import Document, Projection, Record


class History:
    """The messages of one topic about the subjects of an event, the event included.

    ``letters`` are the stored dead letters among them by id: a message that was rejected then counts as rejected,
    even if this version of Kith accepts it.
    """

    def __init__(
        self,
        topic: str,
        records: Sequence[Record],
        letters: Mapping[str, Document],
        asked: Asked,
        topics: Topics,
        projection: Projection[Any],
    ) -> None:
        self.topic = topic
        self._short = topics.short(topic)
        self._asked = asked
        self._projection = projection
        self._topics = topics
        self._entries = [self._entry(record, letters.get(dead_letter_id(record))) for record in records]

    def _entry(self, record: Record, letter: Document | None) -> Entry:
        name = name_of(fields_of(record.value))
        return Entry(record, name if name is not None and self._asked.admits(name) else None, letter)

    @property
    def places(self) -> dict[str, list[str]]:
        """Collection → ids of the documents that the event may have affected."""
        found: dict[str, set[str]] = {}
        facts: set[tuple[str, str, str]] = set()
        for entry in self._entries:
            event, _ = entry.decode(self._projection) if entry.name is not None else (None, None)
            if event is not None:
                collection, id = why.own_document(event, self._short)
                found.setdefault(collection, set()).add(id)
                if collection == "relations":
                    facts.add(_fact(entry.fields))
        for entry in self._entries if facts else ():
            fields = entry.fields
            data = fields.get("data")
            provider = data.get("provider_id") if isinstance(data, dict) else None
            if isinstance(provider, str) and _fact(fields) in facts:
                tenant, consumer, _ = _fact(fields)
                found.setdefault("relationships", set()).add(document_id(tenant, consumer, provider))
        return {collection: sorted(ids) for collection, ids in found.items()}

    def explain(self, stored: StoredState) -> list[Explanation]:
        """One explanation for each name that matches the request."""
        for entry in self._entries:
            entry.processed = entry.record.offset < stored.positions.get(entry.record.partition, 0)
        telling = ReplayLog(list(_ordered(self._entries)), self._short, self._projection, self._topics, stored)
        telling.run()
        return telling.explanations()


def _fact(fields: Mapping[str, Any]) -> tuple[str, str, str]:
    """The key of a relation event's fact."""
    data = fields.get("data")
    named = data if isinstance(data, dict) else {}
    # As text, because the values of a malformed event may have any type.
    return str(fields.get("tenant", "default")), str(named.get("consumer_id")), str(named.get("relation_id"))


def _ordered(entries: Sequence[Entry]) -> Iterator[Entry]:
    """In the order in which they were, or will be, stored: the log's order within a partition, the time of arrival
    between partitions (there are several if some were added since)."""
    keys = []
    for partition, group in groupby(enumerate(entries), key=lambda pair: pair[1].record.partition):
        latest = 0
        for index, entry in group:
            latest = max(latest, entry.record.timestamp)
            keys.append((not entry.processed, latest, partition, entry.record.offset, index))
    return (entries[key[-1]] for key in sorted(keys))
