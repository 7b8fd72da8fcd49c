"""The first steps of an erasure, in the partition of the consumer: destroy the key, publish to the ledger and to
the partition of the facts. Pure."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from shared.contracts.codec import encode
from shared.contracts.events import (
    ConsumerErased,
    SubjectErased,
    SubjectErasedData,
    Version,
    document_id,
    event_key,
)
from shared.contracts.spelling import other_spellings
from shared.erasure.records import KEYS, LedgerEntry, Mode, destroyed_key, erasure_id, stronger_mode
from shared.runtime.protocols import Answer, Ask, Document, Get, Message, Write
from shared.vault.key_records import key_messages
from shared.vault.protocols import DESTROYED

ERASURES = "erasures"


@dataclass(frozen=True)
class ErasureMessages:
    """Makes the messages of an erasure. ``ledger``, ``relations`` and ``keys`` are the topics' full names; without
    ``keys`` the wrapped keys are in no topic."""

    ledger: str
    relations: str
    keys: str | None = None

    def messages(self, event: ConsumerErased, mode: Mode) -> list[Message]:
        """``mode`` is the highest so far. Published for every erasure, a repeated one included: repeating the
        request carries it out again. The key selects the partition, because these are no changes."""
        key, tenant, consumer_id = event_key(event), event.tenant, event.data.consumer_id
        entry = LedgerEntry(
            erasure=erasure_id(tenant, consumer_id),
            tenant=tenant,
            consumer_id=consumer_id,
            mode=mode,
            time=event.time,
        )
        order = SubjectErased(
            specversion="1.0",
            id=f"{entry.erasure}/{mode}",
            source="kith/relations",
            time=event.time,
            tenant=tenant,
            type="relation.subject_erased",
            data=SubjectErasedData(consumer_id=consumer_id, mode=mode),
        )
        destroyed = dict.fromkeys((document_id(tenant, consumer_id), *other_ids(event)), DESTROYED)
        return [
            Message(self.ledger, key, entry.model_dump_json().encode()),
            Message(self.relations, key, encode(order)),
            *(key_messages(self.keys, destroyed) if self.keys else ()),
        ]


def destroy_keys(events: Sequence[ConsumerErased]) -> Generator[Ask, Answer, list[Write]]:
    """Writes that destroy the keys of these consumers and record their erasures. The keys that a consumer has
    under other spellings, from before ids were normalised, are destroyed, too."""
    ids = {document_id(event.tenant, event.data.consumer_id) for event in events}
    others = {id for event in events for id in other_ids(event)}
    names = {erasure_id(event.tenant, event.data.consumer_id) for event in events}
    found = yield Get({KEYS: ids | others, ERASURES: names})
    keys: dict[str, Document] = found[KEYS]
    old: dict[str, Document] = found[ERASURES]
    new = dict(old)
    for event in events:
        id = erasure_id(event.tenant, event.data.consumer_id)
        new[id] = _erasure(id, event, new.get(id))
    ids |= others & keys.keys()
    writes = [
        Write(KEYS, id, keys.get(id), destroyed_key(id)) for id in sorted(ids) if not _is_destroyed(keys.get(id))
    ]
    return writes + [Write(ERASURES, id, old.get(id), after) for id, after in new.items() if after != old.get(id)]


def other_ids(event: ConsumerErased) -> list[str]:
    """Other ids of the consumer's document and key, from before ids were normalised."""
    return [document_id(event.tenant, each) for each in other_spellings(event.data.consumer_id)]


def _is_destroyed(key: Document | None) -> bool:
    return key is not None and bool(key.get("destroyed"))


def _erasure(id: str, event: ConsumerErased, old: Document | None) -> Document:
    asked: dict[str, Document] = dict(old["asked"]) if old else {}
    mode, version = event.data.mode, event.version
    first = asked.get(mode)
    if first is None or version < Version.stored(first):
        asked[mode] = version.document()
    return {
        "_id": id,
        "tenant": event.tenant,
        "consumer_id": event.data.consumer_id,
        "mode": stronger_mode(old["mode"] if old else None, mode),
        # Sorted, so that the order of arrival does not show.
        "asked": {each: asked[each] for each in sorted(asked)},
    }
