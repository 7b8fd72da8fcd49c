"""`kith explain` on the service in memory: what it says of events that really ran through the projections."""

from typing import Any

from services.explain.find import Asked
from services.explain.history import History
from services.explain.model import Explanation, Occurrence
from services.explain.replay_log import StoredState
from shared.runtime.protocols import Record
from tests.support.builders import TOPICS, MemoryKith


def explain(kith: MemoryKith, id: str, topic: str = "relations", **asked: Any) -> list[Explanation]:
    """The explanations of the events with this id in one topic, from all of its messages."""
    name = TOPICS.name(topic)
    history = History(
        name, records(kith, topic), kith.documents()["dead_letters"], Asked(id, **asked), TOPICS, kith.projection
    )
    positions = {p: next for p in kith.inputs if (next := kith.position(p)) is not None}
    found = history.places
    documents = {
        collection: {i: kith.documents()[collection][i] for i in ids if i in kith.documents()[collection]}
        for collection, ids in found.items()
    }
    return history.explain(StoredState(positions, documents))


def records(kith: MemoryKith, topic: str) -> list[Record]:
    name = TOPICS.name(topic)
    return [r for p in sorted(kith.inputs) if p.topic == name for r in kith.log.records[p]]


def one(kith: MemoryKith, id: str, topic: str = "relations", **asked: Any) -> tuple[Explanation, list[Occurrence]]:
    [explanation] = explain(kith, id, topic, **asked)
    return explanation, explanation.occurrences


def place(occurrence: Any) -> tuple[str, int, int]:
    """Where an occurrence, a reference or a publication lies."""
    return occurrence.topic, occurrence.partition, occurrence.offset
