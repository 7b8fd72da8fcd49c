"""The relations projection with sealed personal data. Pure.

Wraps the projection itself. Events that were published to Kafka in plain text, past the door, are sealed before
they are folded (or refused). Consumers get the blind index for searches. Dead letters are sealed as a whole. For a
slice with none of these, the cost is one look at each event.
"""

from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any

from services.relations.projection import RelationsProjection
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import RelationRecorded, RelationRetracted, SubjectErased
from shared.contracts.spelling import may_differ, spelled_consumer
from shared.contracts.wire import normal
from shared.runtime.dead_letters import truncate
from shared.runtime.forms import readable, with_structured
from shared.runtime.protocols import Answer, Ask, Document, GetKeys, Outcome, Partition, Record
from shared.vault.dead_letters import conceal, owner_of
from shared.vault.fields import (
    TEXTS,
    beside,
    first_plaintext_path,
    first_token_path,
    resealed,
    seal_event,
    without,
)
from shared.vault.keys import TENANT, blind, normalised
from shared.vault.protocols import Destroyed
from shared.vault.tokens import DataKey, Unreadable, is_token, unseal

#: The fields by which a consumer can be found.
INDEXED = ("email", "phone")

Found = Mapping[tuple[str, str], DataKey | Destroyed]


class SealedProjection:
    """``projection`` that stores nothing personal in plain text. With ``refuse``, events that contain personal
    plain text become dead letters. The vault answers every GetKeys that it yields."""

    def __init__(self, projection: RelationsProjection, *, refuse: bool = False) -> None:
        self._projection = projection
        self.name, self.version, self.topics = projection.name, projection.version, projection.topics
        self.numbered, self.weight = projection.numbered, projection.weight
        if not refuse:
            # Bound directly, because it adds nothing and is called for every event.
            self.decode = projection.decode  # type: ignore[method-assign]
        #: How many events of the present slice arrived in plain text, by partition.
        self.plaintext: Counter[Partition] = Counter()

    def decode(self, record: Record) -> Any:
        event: Any = self._projection.decode(record)
        if (path := first_plaintext_path(event)) is not None:
            raise InvalidEvent("plaintext", "came into Kafka in plain text, past the door", f"data.{path}")
        return event

    def recall(self, records: Sequence[Record]) -> Generator[Ask, Answer, Sequence[Record]]:
        """The records without those that are already stored; a fact in plain text does not count as stored."""
        return (yield from self._projection.recall(records, _sealed_throughout))

    def project(self, items: Sequence[tuple[Record, Any]]) -> Generator[Ask, Answer, Outcome]:
        """Fold one slice of one partition."""
        partition = items[0][0].partition
        bare = [index for index, (_, event) in enumerate(items) if first_plaintext_path(event) is not None]
        self.plaintext[partition] = len(bare)
        items = with_structured(items)
        if spelled := _spelled_otherwise(items):
            items = yield from _resealed(items, spelled)
        items = [(_withheld(record, event), event) for record, event in items]
        if bare:
            items = yield from _sealed(items, bare)
        outcome = yield from self._projection.project(items)
        yield from _index(outcome)
        return outcome

    def conceal(self, records: Sequence[Record]) -> Generator[Ask, Answer, Sequence[Record]]:
        """The records with sealed values, for their dead letters."""
        owners = [owner_of(readable(record)) for record in records]
        keys: Found = yield GetKeys(_by_tenant(owners))
        return [
            conceal(truncate(record), owner, keys[owner]) for record, owner in zip(records, owners, strict=True)
        ]


def _sealed(
    items: Sequence[tuple[Record, Any]], bare: Sequence[int]
) -> Generator[Ask, Answer, Sequence[tuple[Record, Any]]]:
    """The items, with those in plain text sealed. If the consumer's key is destroyed, personal values are
    removed."""
    keys: Found = yield GetKeys(_by_tenant((items[n][1].tenant, items[n][1].data.consumer_id) for n in bare))
    done = list(items)
    for n in bare:
        record, event = items[n]
        key = keys[event.tenant, event.data.consumer_id]
        # Without its bytes, so that no digest of personal plain text is stored.
        done[n] = (
            record._replace(value=None),
            without(event) if isinstance(key, Destroyed) else seal_event(event, key),
        )
    return done


def _spelled_otherwise(items: Sequence[tuple[Record, Any]]) -> dict[int, str]:
    """Which events hold sealed values and name their consumer in another form than NFC, and how: until ids were
    normalised, that was the name that keys were made for, and that values were bound to."""
    found = {}
    for index, (record, event) in enumerate(items):
        raw = record.value
        if raw is None or not may_differ(raw) or isinstance(event, SubjectErased):
            continue
        if first_token_path(event) is None or (id := spelled_consumer(normal(raw))) is None:
            continue
        if id != event.data.consumer_id:
            found[index] = id
    return found


def _resealed(
    items: Sequence[tuple[Record, Any]], spelled: Mapping[int, str]
) -> Generator[Ask, Answer, Sequence[tuple[Record, Any]]]:
    """The items with the values of these events under the keys that their consumers have now."""
    owners = [(items[n][1].tenant, id) for n, id in spelled.items()]
    owners += [(items[n][1].tenant, items[n][1].data.consumer_id) for n in spelled]
    keys: Found = yield GetKeys(_by_tenant(owners))
    done = list(items)
    for n, id in spelled.items():
        record, event = items[n]
        old, key = keys[event.tenant, id], keys[event.tenant, event.data.consumer_id]
        if isinstance(key, Destroyed):
            done[n] = record, without(event)
        else:
            done[n] = record, resealed(event, id, None if isinstance(old, Destroyed) else old, key)
    return done


def _withheld(record: Record, event: Any) -> Record:
    """A record without its bytes if these may hold personal data that the event does not contain. Otherwise the
    stored digest would confirm a guess of them."""
    if not isinstance(event, RelationRecorded | RelationRetracted):
        return record
    return record._replace(value=None) if beside(record.value or b"", event) else record


def _sealed_throughout(fact: Document) -> bool:
    return all(is_token(fact[name]) for name in TEXTS if name in fact)


def _index(outcome: Outcome) -> Generator[Ask, Answer, None]:
    """Give the consumers that are stored their blind index. It is a function of the stored profile and of keys, so
    order and duplicates do not show in it."""
    todo: list[Document] = []
    for write in outcome.writes:
        if write.collection != "consumers" or write.after is None:
            continue
        sealed = _indexed(write.after)
        if not sealed:
            continue
        if write.before is not None and _indexed(write.before) == sealed:
            if "blind" in write.before:
                write.after["blind"] = write.before["blind"]
        else:
            todo.append(write.after)
    if not todo:
        return
    owners = [(document["tenant"], document["consumer_id"]) for document in todo]
    keys: Found = yield GetKeys(_by_tenant([*owners, *((tenant, TENANT) for tenant, _ in owners)]))
    for document, owner in zip(todo, owners, strict=True):
        if found := _blind(document, keys[owner], keys[owner[0], TENANT]):
            document["blind"] = found


def _indexed(document: Document) -> dict[str, str]:
    personal = document.get("personal") or {}
    return {name: personal[name] for name in INDEXED if is_token(personal.get(name))}


def _blind(document: Document, key: DataKey | Destroyed, tenant_key: DataKey | Destroyed) -> dict[str, str]:
    if isinstance(key, Destroyed) or isinstance(tenant_key, Destroyed):
        return {}
    tenant, consumer_id = document["tenant"], document["consumer_id"]
    found = {}
    for name, token in _indexed(document).items():
        try:
            value = unseal(key, tenant, consumer_id, f"personal.{name}", token)
        except Unreadable:
            continue  # an event published past the door whose value only looks like a token
        # "unknown" has no digits, so it is no number.
        if normalised(name, str(value)):
            found[name] = blind(tenant_key, name, str(value))
    return found


def _by_tenant(owners: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for tenant, consumer_id in owners:
        wanted[tenant].add(consumer_id)
    return wanted
