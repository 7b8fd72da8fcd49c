"""Facts and their relationships while a slice is folded. Pure."""

from collections.abc import Generator, Mapping
from datetime import timedelta
from hashlib import blake2b
from typing import Any

import orjson

from services.relations.span import KEPT, Times
from services.relations.strength import Strength
from services.relations.tally import Pair, Tally
from shared.contracts.events import EPOCH, RelationEvent, RelationRecorded, Version, event_key, microseconds
from shared.runtime.protocols import Answer, Ask, Document, GetMinMax, Message, Outcome, Record, Write

#: The free texts of a fact: the only fields that may contain personal data.
PERSONAL = ("text", "reason")


class World:
    """The state of a fold: the facts that a slice has loaded, by id (None: gone), and the relationships that
    change with them.

    ``stored`` and ``relationships`` are documents as they were read, ``names`` the ids of all pairs that may
    change. Changes are published to ``change_topic``.
    """

    def __init__(
        self,
        stored: Mapping[str, Document],
        names: Mapping[Pair, str],
        relationships: Mapping[str, Document],
        change_topic: str,
    ) -> None:
        self._stored = stored
        self.facts: dict[str, Document | None] = dict(stored)
        self._tallies = _Tallies(names, relationships)
        self._topic = change_topic
        self._outcome = Outcome()

    def replace(self, record: Record, event: RelationEvent, id: str, new: Document) -> None:
        """Replace the fact ``id`` by ``new`` because of an event, and publish the change."""
        before = self.move(id, new)
        value = change_event(
            record, event.time, new, before, _live(new), cause={"source": event.source, "id": event.id}
        )
        if value is not None:
            self.publish_change(event_key(event), value, record)

    def move(self, id: str, new: Document | None) -> Document | None:
        """Replace the fact without publishing (None removes it). Returns the live fact before, if there was
        one."""
        before, after = _live(self.facts.get(id)), _live(new)
        self.facts[id] = new
        if before:
            self._tallies[pair_in(before)].move(before, -1)
        if after:
            self._tallies[pair_in(after)].move(after, 1)
        return before

    def publish_change(self, key: bytes, value: bytes, record: Record) -> None:
        self._outcome.messages.append(Message(self._topic, key, value, record.partition.number))

    def publish(self, message: Message) -> None:
        self._outcome.messages.append(message)

    def outcome(self, strength: Strength) -> Generator[Ask, Answer, Outcome]:
        """Everything to store and to publish."""
        self._outcome.writes += writes(self._stored, self.facts)
        yield from self._relationships(strength)
        return self._outcome

    def _relationships(self, strength: Strength) -> Generator[Ask, Answer, None]:
        """Turn tallies into documents. If the earliest or latest fact is gone and facts are left that were not
        loaded, read their times from the store."""
        tallies = self._tallies
        for before in self._stored.values():
            if not before["retracted"] and (tally := tallies.get(pair_in(before))):
                tally.span.gone.append(before["time"])
        for fact in self.facts.values():
            if fact is not None and not fact["retracted"] and (tally := tallies.get(pair_in(fact))):
                tally.span.come.append(fact["time"])

        found: dict[Pair, Times | None] = {}
        unknown: list[Pair] = []
        for pair, tally in tallies.items():
            found[pair], certain = tally.span.times()
            if not certain:
                unknown.append(pair)
        if unknown:
            asked = [_filter(pair) for pair in unknown]
            answers = yield GetMinMax("relations", "time", asked, set(self.facts), KEPT)
            for pair, others in zip(unknown, answers, strict=True):
                found[pair] = tallies[pair].span.with_others(others)

        for pair, tally in tallies.items():
            times = found[pair]
            after = tally.document(times, strength) if tally.count and times else None
            if after != tally.old:
                self._outcome.writes.append(Write("relationships", tally.id, tally.old, after))


class _Tallies(dict[Pair, Tally]):
    """The relationships that a slice changes, by pair."""

    def __init__(self, names: Mapping[Pair, str], relationships: Mapping[str, Document]) -> None:
        self._names, self._relationships = names, relationships

    def __missing__(self, pair: Pair) -> Tally:
        id = self._names[pair]
        tally = self[pair] = Tally(id, pair, self._relationships.get(id))
        return tally


def writes(stored: Mapping[str, Document], facts: Mapping[str, Document | None]) -> list[Write]:
    return [
        Write("relations", id, stored.get(id), fact) for id, fact in facts.items() if fact is not stored.get(id)
    ]


def resolve(id: str, event: RelationEvent, old: Document | None, raw: bytes | None) -> Document:
    """The fact after an event of the bytes ``raw``: ``old`` itself if the event has no effect."""
    version = event.version
    if old is not None and _version(old) > version:
        return old
    new = fact_document(id, event, version, raw)
    return new if old is None else later(old, new)


def later(old: Document, new: Document) -> Document:
    """The state of a fact that counts: ``old`` itself if both are the same."""
    one, other = _version(old), _version(new)
    if one != other:
        return old if one > other else new
    return _of_one_version(old, new)


def _of_one_version(old: Document, new: Document) -> Document:
    one, other = old["version"].get("digest"), new["version"].get("digest")
    if one is not None and one == other:
        return old  # a duplicate, as nearly every event of a known version is
    return old if (_rank(old), one or "") >= (_rank(new), other or "") else new


def without_digest(document: Document) -> Document:
    """A fact without the digest of its event's bytes. Documents of other collections have no digest."""
    version = document.get("version")
    if not isinstance(version, dict) or "digest" not in version:
        return document
    return {**document, "version": {name: part for name, part in version.items() if name != "digest"}}


def digest(raw: bytes) -> str:
    """128 bits of an event's bytes, from a cryptographic hash: collisions cannot be constructed."""
    return blake2b(raw, digest_size=16).hexdigest()


def fact_document(id: str, event: RelationEvent, version: Version, raw: bytes | None) -> Document:
    """The document that an event makes by itself. ``raw`` are its bytes if their digest may be stored."""
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
        # Truncated to milliseconds, as MongoDB does: batched and stored facts must be equal.
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
    made_by = document["version"] = version.document()
    if raw is not None:
        made_by["digest"] = digest(raw)
    return document


def change_event(
    record: Record,
    time: Any,
    fact: Document,
    before: Document | None,
    after: Document | None,
    *,
    cause: Mapping[str, str],
    index: int = 0,
) -> bytes | None:
    """The change event of what a record did to ``fact``; None if no published field changed. ``index`` counts the
    changes of one record."""
    old, new = public_state(before), public_state(after)
    if old == new and (old is None or orjson.dumps(old.get("traits")) == orjson.dumps(new and new.get("traits"))):
        return None  # traits compared as bytes, because 1 equals True in Python
    topic, number = record.partition
    place = f"{topic}/{number}/{record.offset}"
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{place}/{index}" if index else place,
            "source": "kith/relations",
            "type": "relation.changed",
            "time": time,
            "tenant": fact["tenant"],
            "data": {
                "relation_id": fact["relation_id"],
                "consumer_id": fact["consumer_id"],
                "before": old,
                "after": new,
                "cause": cause,
                "origin": {"topic": topic, "partition": number, "offset": record.offset, "index": index},
            },
        }
    )


_STATE = ("provider_id", "kind", "time", "amount", "currency", "rating", "traits")


def _live(fact: Document | None) -> Document | None:
    return None if fact is None or fact["retracted"] else fact


def public_state(fact: Document | None) -> Document | None:
    """The fields of a stored fact that changes contain; None for a fact that is retracted or absent."""
    return None if fact is None or fact["retracted"] else {name: fact[name] for name in _STATE if name in fact}


def _version(fact: Document) -> tuple[int, str, str, str]:
    """The fact's Version as a plain tuple: same order, made in a third of the time."""
    version = fact["version"]
    return version["time"], version.get("sequence", ""), version["source"], version["id"]


def _rank(fact: Document) -> bytes:
    """An order between two events that share one version, which a faulty upstream may send. Without it the one
    that arrives first would win. By bytes, because 1, 1.0 and True are equal in Python, and so are traits in
    either order. The texts come last, so that the order is the same without them."""
    plain = {name: value for name, value in fact.items() if name not in PERSONAL and name != "version"}
    return orjson.dumps([plain, *(fact.get(name) for name in PERSONAL)])


def pair_of(event: RelationEvent) -> Pair | None:
    provider_id = event.data.provider_id
    return None if provider_id is None else (event.tenant, event.data.consumer_id, provider_id)


def pair_in(fact: Document) -> Pair:
    return fact["tenant"], fact["consumer_id"], fact["provider_id"]


def _filter(pair: Pair) -> Document:
    tenant, consumer_id, provider_id = pair
    return {"tenant": tenant, "consumer_id": consumer_id, "provider_id": provider_id, "retracted": False}
