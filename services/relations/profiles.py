"""Events about consumers and providers → their documents and changes. Pure.

Each field of a profile is a register of its own (services.relations.registers): the event with the highest version
that states the field wins, so several upstreams can each keep what they know up to date.
"""

from collections.abc import Generator, Sequence

import orjson

from services.relations.profile_erasure import ErasureMessages, destroy_keys, other_ids
from services.relations.registers import fold, stated
from shared.access.apps.compliance import applications_in
from shared.contracts.events import (
    ConsumerErased,
    ConsumerEvent,
    ProviderEvent,
    document_id,
    event_key,
    subject_id,
)
from shared.runtime.protocols import Answer, Ask, Document, Get, Message, Outcome, Record, Write


def project_profiles(
    items: Sequence[tuple[Record, ConsumerEvent | ProviderEvent]],
    *,
    collection: str,
    change_topic: str,
    erasure: ErasureMessages,
) -> Generator[Ask, Answer, Outcome]:
    """Fold a slice of consumer events, or of provider events, into ``collection``. ``erasure`` makes the messages
    that pass an erasure on."""
    ids = [document_id(event.tenant, subject_id(event)) for _, event in items]
    others = {other for _, event in items if isinstance(event, ConsumerErased) for other in other_ids(event)}
    stored: dict[str, Document] = (yield Get({collection: {*ids, *others}}))[collection]
    profiles = dict(stored)
    outcome = Outcome()
    erasures: list[ConsumerErased] = []
    for (record, event), id in zip(items, ids, strict=True):
        old = profiles.get(id)
        new = _fold(collection, id, event, old)
        if isinstance(event, ConsumerErased):
            erasures.append(event)
            outcome.messages += erasure.messages(event, new["erased"])
        if new is old:
            continue
        profiles[id] = new
        change = _change(collection, record, event, old, new)
        outcome.messages.append(Message(change_topic, event_key(event), change, record.partition.number))
    for id, profile in profiles.items():
        if profile is not stored.get(id):
            outcome.writes.append(Write(collection, id, stored.get(id), profile))
    # An erasure takes with it what was stored of the consumer under other spellings; a rebuild leaves none.
    outcome.writes += [Write(collection, id, stored[id], None) for id in sorted(others & stored.keys())]
    if erasures:
        outcome.writes += yield from destroy_keys(erasures)
    return outcome


def _fold(collection: str, id: str, event: ConsumerEvent | ProviderEvent, old: Document | None) -> Document:
    """The profile after an event: ``old`` itself where the event has no effect."""
    subject = {"_id": id, "tenant": event.tenant, f"{collection[:-1]}_id": subject_id(event)}
    if isinstance(event, ConsumerErased):
        # "delete" outranks "anonymise", so that the order of two erasures does not show.
        if old is not None and old.get("erased") in (event.data.mode, "delete"):
            return old
        # Without "versions": so the store can distinguish it from a profile of which nothing was stated.
        return {**subject, "erased": event.data.mode}
    if old is not None and "erased" in old:
        return old
    return fold(collection, subject, old, stated(event), event.version)


def _change(
    collection: str,
    record: Record,
    event: ConsumerEvent | ProviderEvent,
    before: Document | None,
    profile: Document,
) -> bytes:
    """The change event of a profile. It has no values: personal data does not leave the profile. Which
    applications of third parties the consumer has agreed to is told, so that they can be told of an erasure: of an
    erased consumer those as of the erasure, because a consent may be older than changes that tell of it."""
    topic, number = record.partition
    subject = collection[:-1]
    flag: Document
    if subject == "consumer":
        flag = {"erased": "erased" in profile}
        last = before if "erased" in profile and before is not None else profile
        if applications := applications_in(last.get("consent", {})):
            flag["applications"] = applications
    else:
        flag = {"closed": profile.get("closed", False)}
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{topic}/{number}/{record.offset}",
            "source": "kith/relations",
            "type": f"{subject}.changed",
            "time": event.time,
            "tenant": event.tenant,
            "data": {
                f"{subject}_id": profile[f"{subject}_id"],
                **flag,
                "cause": {"source": event.source, "id": event.id},
                "origin": {"topic": topic, "partition": number, "offset": record.offset, "index": 0},
            },
        }
    )
