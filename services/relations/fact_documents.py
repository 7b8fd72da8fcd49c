"""A fact as it is stored: the document that an event makes, and which of two documents counts. Pure."""

from datetime import timedelta
from hashlib import blake2b

import orjson

from services.relations.tally import Pair
from shared.contracts.events import EPOCH, RelationEvent, RelationRecorded, Version, microseconds
from shared.contracts.fact_fields import PERSONAL, STATED
from shared.runtime.protocols import Document


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
        for name in STATED:
            if (value := getattr(data, name)) is not None:
                document[name] = value
    elif event.data.reason is not None:
        document["reason"] = event.data.reason
    document["retracted"] = not isinstance(event, RelationRecorded)
    made_by = document["version"] = version.document()
    if raw is not None:
        made_by["digest"] = digest(raw)
    return document


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
