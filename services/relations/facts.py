"""Events about relations → facts, relationships and changes. Pure."""

from collections.abc import Generator, Mapping, Sequence
from datetime import timedelta

import orjson

from services.relations.span import KEPT, Times
from services.relations.strength import Strength
from services.relations.tally import Pair, Tally
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


def project_facts(
    items: Sequence[tuple[Record, RelationEvent]], *, change_topic: str, strength: Strength
) -> Generator[Ask, Answer, Outcome]:
    """Fold a slice of relation events: facts by version, relationships by difference, a change per effect."""
    ids = [document_id(event.tenant, event.data.consumer_id, event.data.relation_id) for _, event in items]
    pairs = [_pair_of(event) for _, event in items]
    names = {pair: document_id(*pair) for pair in pairs if pair}
    likely = set(names.values())
    documents = yield Get({"relations": set(ids), "relationships": likely})
    stored: dict[str, Document] = documents["relations"]
    relationships: dict[str, Document] = documents["relationships"]
    # An amendment may name another provider than the stored fact does: that relationship moves, too.
    others = {pair for fact in stored.values() if not fact["retracted"] and (pair := _pair(fact)) not in names}
    if others:
        names |= {pair: document_id(*pair) for pair in others}
        missing = {names[pair] for pair in others}
        relationships |= (yield Get({"relationships": missing}))["relationships"]

    outcome = Outcome()
    facts = dict(stored)
    tallies = _Tallies(names, relationships)
    for (record, event), id in zip(items, ids, strict=True):
        old = facts.get(id)
        if (new := _winner(id, event, old)) is old:
            continue
        facts[id] = new
        before, after = _live(old), _live(new)
        if before:
            tallies[_pair(before)].move(before, -1)
        if after:
            tallies[_pair(after)].move(after, 1)
        if (change := _change(record, event, before, after)) is not None:
            outcome.messages.append(Message(change_topic, event_key(event), change, record.partition.number))

    outcome.writes += _writes(stored, facts)
    yield from _relationships(tallies, stored, facts, strength, outcome)
    return outcome


def store_facts(items: Sequence[tuple[Record, RelationEvent]]) -> Generator[Ask, Answer, Outcome]:
    """The same for the facts alone, without relationships and changes."""
    ids = [document_id(event.tenant, event.data.consumer_id, event.data.relation_id) for _, event in items]
    stored = (yield Get({"relations": set(ids)}))["relations"]
    facts = dict(stored)
    for (_, event), id in zip(items, ids, strict=True):
        facts[id] = _winner(id, event, facts.get(id))
    return Outcome(_writes(stored, facts))


def _winner(id: str, event: RelationEvent, old: Document | None) -> Document:
    """What a fact is after an event: ``old`` itself where the event has no effect."""
    version = event.version
    if old is not None and _version(old) > version:
        return old
    new = _fact(id, event, version)
    if old is not None and _version(old) == version and _rank(old) >= _rank(new):
        return old
    return new


def _writes(stored: Mapping[str, Document], facts: Mapping[str, Document]) -> list[Write]:
    return [
        Write("relations", id, stored.get(id), fact) for id, fact in facts.items() if fact is not stored.get(id)
    ]


class _Tallies(dict[Pair, Tally]):
    """The relationships that a slice moves, by pair."""

    def __init__(self, names: Mapping[Pair, str], relationships: Mapping[str, Document]) -> None:
        self._names, self._relationships = names, relationships

    def __missing__(self, pair: Pair) -> Tally:
        id = self._names[pair]
        tally = self[pair] = Tally(id, pair, self._relationships.get(id))
        return tally


def _relationships(
    tallies: _Tallies,
    stored: Mapping[str, Document],
    facts: Mapping[str, Document],
    strength: Strength,
    outcome: Outcome,
) -> Generator[Ask, Answer, None]:
    """Turn tallies into documents. Where the earliest or latest fact went away and facts are left that were
    not loaded, the store is asked for theirs."""
    for before in stored.values():
        if not before["retracted"] and (tally := tallies.get(_pair(before))):
            tally.span.gone.append(before["time"])
    for fact in facts.values():
        if not fact["retracted"] and (tally := tallies.get(_pair(fact))):
            tally.span.come.append(fact["time"])

    found: dict[Pair, Times | None] = {}
    unknown: list[Pair] = []
    for pair, tally in tallies.items():
        found[pair], certain = tally.span.times()
        if not certain:
            unknown.append(pair)
    if unknown:
        answers = yield Extremes("relations", "time", [_filter(pair) for pair in unknown], set(facts), KEPT)
        for pair, others in zip(unknown, answers, strict=True):
            found[pair] = tallies[pair].span.with_others(others)

    for pair, tally in tallies.items():
        times = found[pair]
        after = tally.document(times, strength) if tally.count and times else None
        if after != tally.old:
            outcome.writes.append(Write("relationships", tally.id, tally.old, after))


def _fact(id: str, event: RelationEvent, version: Version) -> Document:
    document: Document = {
        "_id": id,
        "tenant": event.tenant,
        "relation_id": event.data.relation_id,
        "consumer_id": event.data.consumer_id,
    }
    if event.data.provider_id is not None:
        document["provider_id"] = event.data.provider_id
    if isinstance(event, RelationRecorded):
        data = event.data
        document["kind"] = data.kind
        # Cut to milliseconds, which is what MongoDB keeps: batched and stored facts must look the same.
        moment = microseconds(data.occurred_at) if data.occurred_at else version.time
        document["time"] = EPOCH + timedelta(milliseconds=moment // 1000)
        if data.amount is not None:
            document["amount"], document["currency"] = data.amount, data.currency
        if data.rating is not None:
            document["rating"] = data.rating
        if data.text is not None:
            document["text"] = data.text
        if data.traits is not None:
            document["traits"] = data.traits
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


def told(fact: Document | None) -> Document | None:
    """What changes tell of a stored fact: nothing of one that is retracted or not there."""
    return _state(_live(fact))


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


def _filter(pair: Pair) -> Document:
    tenant, consumer_id, provider_id = pair
    return {"tenant": tenant, "consumer_id": consumer_id, "provider_id": provider_id, "retracted": False}
