"""Events about relations → facts, relationships and changes. Pure."""

from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Any

import orjson

from services.relations.strength import Strength
from services.relations.tally import Tally, extremes
from shared.events import (
    EPOCH,
    RelationEvent,
    RelationRecorded,
    Version,
    document_id,
    event_key,
    microseconds,
)
from shared.protocols import Answer, Ask, Document, Extremes, Get, Message, Outcome, Record, Write

Pair = tuple[str, str, str]


def project_facts(
    items: Sequence[tuple[Record, RelationEvent]], *, change_topic: str, strength: Strength
) -> Generator[Ask, Answer, Outcome]:
    """Fold a slice of relation events: facts by version, relationships by difference, a change per effect."""
    ids = [document_id(event.tenant, event.data.consumer_id, event.data.relation_id) for _, event in items]
    likely = {_relationship_id(pair) for _, event in items if (pair := _pair_of(event))}
    documents = yield Get({"relations": set(ids), "relationships": likely})
    stored: dict[str, Document] = documents["relations"]
    relationships: dict[str, Document] = documents["relationships"]
    # An amendment may name another provider than the stored fact does: that relationship moves, too.
    missing = {_relationship_id(_pair(fact)) for fact in stored.values() if not fact["retracted"]} - likely
    if missing:
        relationships |= (yield Get({"relationships": missing}))["relationships"]

    outcome = Outcome()
    facts = dict(stored)
    tallies: dict[str, Tally] = {}

    def move(fact: Document, sign: int) -> None:
        id = _relationship_id(_pair(fact))
        tally = tallies.get(id)
        if tally is None:
            tally = tallies[id] = Tally(*_pair(fact), relationships.get(id))
        tally.move(fact, sign)

    for (record, event), id in zip(items, ids, strict=True):
        old, version = facts.get(id), event.version
        if old is not None and _version(old) > version:
            continue
        new = _fact(id, event, version)
        if old is not None and _version(old) == version and _rank(old) >= _rank(new):
            continue
        facts[id] = new
        before, after = _live(old), _live(new)
        if before:
            move(before, -1)
        if after:
            move(after, 1)
        if (change := _change(record, event, before, after)) is not None:
            outcome.messages.append(Message(change_topic, event_key(event), change, record.partition.number))

    for id, fact in facts.items():
        if fact is not stored.get(id):
            outcome.writes.append(Write("relations", id, stored.get(id), fact))
    yield from _relationships(tallies, stored, facts, strength, outcome)
    return outcome


def _relationships(
    tallies: dict[str, Tally],
    stored: dict[str, Document],
    facts: dict[str, Document],
    strength: Strength,
    outcome: Outcome,
) -> Generator[Ask, Answer, None]:
    """Turn tallies into documents. Sums move by difference; first and last cannot, so where the earliest or
    latest fact went away and others are left, the store is asked for theirs."""
    gone: dict[str, list[Document]] = {id: [] for id in tallies}
    come: dict[str, list[Document]] = {id: [] for id in tallies}
    for group, source in ((gone, stored), (come, facts)):
        for fact in source.values():
            if not fact["retracted"] and (id := _relationship_id(_pair(fact))) in tallies:
                group[id].append(fact)

    spans: dict[str, Any] = {}
    unknown: list[str] = []
    for id, tally in tallies.items():
        new = extremes(fact["time"] for fact in come[id])
        old = (tally.old["first"], tally.old["last"]) if tally.old else None
        if old and tally.old and tally.old["count"] > len(gone[id]):
            left = extremes(fact["time"] for fact in gone[id])
            low = left and left[0] <= old[0] and not (new and new[0] <= old[0])
            high = left and left[1] >= old[1] and not (new and new[1] >= old[1])
            if low or high:
                unknown.append(id)
            else:
                new = extremes((*old, *(new or ())))
        spans[id] = new
    if unknown:
        filters = [_filter(tallies[id].old) for id in unknown]
        answers = yield Extremes("relations", "time", filters, set(facts))
        for id, others in zip(unknown, answers, strict=True):
            spans[id] = extremes((*(spans[id] or ()), *(others or ())))

    for id, tally in tallies.items():
        if tally.count == 0:
            after = None
        else:
            first, last = spans[id]
            after = tally.document(id, first, last, strength)
        if after != tally.old:
            outcome.writes.append(Write("relationships", id, tally.old, after))


def _fact(id: str, event: RelationEvent, version: Version) -> Document:
    data = event.data
    document: Document = {
        "_id": id,
        "tenant": event.tenant,
        "relation_id": data.relation_id,
        "consumer_id": data.consumer_id,
    }
    if data.provider_id is not None:
        document["provider_id"] = data.provider_id
    if isinstance(event, RelationRecorded):
        recorded = event.data
        document["kind"] = recorded.kind
        # Cut to milliseconds, which is what MongoDB keeps: batched and stored facts must look the same.
        milliseconds = microseconds(recorded.occurred_at or event.time) // 1000
        document["time"] = EPOCH + timedelta(milliseconds=milliseconds)
        for name in ("amount", "currency", "rating", "text", "traits"):
            if (value := getattr(recorded, name)) is not None:
                document[name] = value
    elif event.data.reason is not None:
        document["reason"] = event.data.reason
    document["retracted"] = not isinstance(event, RelationRecorded)
    document["version"] = {"time": version.time, "source": version.source, "id": version.id}
    return document


def _change(record: Record, event: RelationEvent, before: Document | None, after: Document | None) -> bytes | None:
    old, new = _state(before), _state(after)
    if old == new:
        return None
    topic, number = record.partition
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{topic}/{number}/{record.offset}",
            "source": "kith/relations",
            "type": "relation.changed",
            "time": event.time,
            "tenant": event.tenant,
            "data": {
                "relation_id": event.data.relation_id,
                "consumer_id": event.data.consumer_id,
                "before": old,
                "after": new,
                "cause": {"source": event.source, "id": event.id},
                "origin": {"topic": topic, "partition": number, "offset": record.offset, "index": 0},
            },
        }
    )


_STATE = ("provider_id", "kind", "time", "amount", "currency", "rating", "traits")


def _state(fact: Document | None) -> Document | None:
    return None if fact is None else {name: fact[name] for name in _STATE if name in fact}


def _live(fact: Document | None) -> Document | None:
    return None if fact is None or fact["retracted"] else fact


def _version(fact: Document) -> Version:
    version = fact["version"]
    return Version(version["time"], version["source"], version["id"])


def _rank(fact: Document) -> bytes:
    """An order between two events that share one version, which a faulty upstream may send: without it the
    one that arrives first would win, and order would show. By bytes, for 1, 1.0 and True are equal to Python,
    and so are two traits in either order."""
    return orjson.dumps(fact)


def _pair_of(event: RelationEvent) -> Pair | None:
    provider_id = event.data.provider_id
    return None if provider_id is None else (event.tenant, event.data.consumer_id, provider_id)


def _pair(fact: Document) -> Pair:
    return fact["tenant"], fact["consumer_id"], fact["provider_id"]


def _relationship_id(pair: Pair) -> str:
    return document_id(*pair)


def _filter(relationship: Document | None) -> Document:
    assert relationship is not None
    names = ("tenant", "consumer_id", "provider_id")
    return {**{name: relationship[name] for name in names}, "retracted": False}
