"""Explains the effect of an event, in data and in words. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from services.explain.model import DocumentMove, Origin, Outcome, Reference, Standing
from services.relations.fact_erasure import ERASED
from services.relations.registers import value_of, versions_of
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import (
    EPOCH,
    ConsumerErased,
    Event,
    RelationRecorded,
    SubjectErased,
    Version,
    document_id,
    subject_id,
)
from shared.runtime.protocols import Document, Message

#: (source, id) → the places of that event, in the order of the log.
Places = Mapping[tuple[str, str], Sequence[Reference]]
Verdict = tuple[Outcome, str, list[Reference]]

_FULL = "the profile keeps only the fields stated latest, and all of those were stated later"


def own_document(event: Event | SubjectErased, short_topic: str) -> tuple[str, str]:
    """Collection and id of the document of an event: a fact, a profile or the marker of an erasure."""
    if isinstance(event, SubjectErased):
        return ERASED, document_id(event.tenant, event.data.consumer_id)
    if short_topic == "relations":
        data: Any = event.data
        return "relations", document_id(event.tenant, data.consumer_id, data.relation_id)
    return short_topic, document_id(event.tenant, subject_id(event))


def verdict(
    event: Event | SubjectErased,
    old: Document | None,
    alone: Document,
    moves: Sequence[DocumentMove],
    messages: Sequence[Message],
    twin: Reference | None,
    erasures: Sequence[Reference],
    places: Places,
    marker: Document | None = None,
) -> Verdict:
    """The outcome of an event. ``old`` was its document before it, ``alone`` the document that it makes by itself,
    ``twin`` an earlier occurrence with the same content, ``erasures`` the earlier erasures of the consumer.
    ``marker``: the erasure of the consumer's facts has been carried out."""
    if isinstance(event, SubjectErased):
        if moves:
            return "applied", _erased_facts(event.data.mode), []
        return "equal", "the consumer's facts had been erased before", list(erasures[-1:])
    if marker is not None and "version" in alone:
        last = list(erasures[-1:])
        by = f" by {_names(last)}" if last else ""
        what = "nothing of it is stored" if marker["mode"] == "delete" else "it counts for a pseudonym"
        return "suppressed", f"the consumer had been erased{by}: {what}", last
    if moves:
        return "applied", _effect(event, old, moves, messages), _outvoted(old, alone, moves, places)
    if twin is not None:
        return "duplicate", f"the same event lies at {_place(twin)} already; it counts once", [twin]
    if old is not None and "erased" in old:
        last = list(erasures[-1:])
        by = f" by {_names(last)}" if last else ""
        if isinstance(event, ConsumerErased):
            return "equal", f"the consumer had been erased before{by}", last
        return "suppressed", f"the consumer had been erased{by}: no profile is stored any more", last
    stored = _versions(old, alone)
    full = "versions" in alone and len(stored) < len(versions_of(alone))
    if not stored:
        return ("outdated", _FULL, []) if full else ("equal", "it states nothing new", [])
    newer = [version for version in stored if version != event.version]
    if newer:
        references = refer(newer, places)
        what = "it is older than" if len(references) == 1 else "everything that it states is older than"
        reason = f"{what} {_names(references)}, which was stored before it"
        return "outdated", f"{reason}; of the rest, {_FULL}" if full else reason, references
    if old == alone:
        return "duplicate", "the same event was stored before", []
    return (
        "outranked",
        "another event with the same time, sequence, source and id but other content counts: "
        "the sender must not reuse an id",
        refer(stored, places),
    )


def _erased_facts(mode: str) -> str:
    if mode == "delete":
        return "it deleted the relations of an erased consumer; later ones are suppressed"
    return "it moved the relations of an erased consumer to a pseudonym; later ones are moved, too"


def _effect(event: Event, old: Document | None, moves: Sequence[DocumentMove], messages: Sequence[Message]) -> str:
    change = "" if messages else "; no published field changed, so no change is published"
    own = moves[0]
    if own.collection != "relations":
        if isinstance(event, ConsumerErased):
            return "it erased the consumer's profile"
        return "it created the profile" if old is None else "it changed the profile"
    was, now = old is not None and not old["retracted"], isinstance(event, RelationRecorded)
    if was and now:
        return f"it amended the relation{change}"
    if now:
        return "it recorded the relation" if old is None else "it recorded the relation again after a retraction"
    if was:
        return "it retracted the relation"
    if old is None:
        return "it retracted an unknown relation: an older record of it will not count" + change
    return f"it retracted the relation again, with a later time{change}"


def _outvoted(
    old: Document | None, alone: Document, moves: Sequence[DocumentMove], places: Places
) -> list[Reference]:
    """The later events whose profile fields were kept although this event states them, too."""
    after = moves[0].after
    if old is None or after is None or "versions" not in alone or "erased" in after:
        return []
    own, stay = versions_of(alone), versions_of(after)
    return refer([stay[field] for field in own if field in stay and stay[field] != own[field]], places)


def _versions(old: Document | None, alone: Document) -> list[Version]:
    """The stored versions of the fields that an event states."""
    if old is None:
        return []
    if "version" in alone:
        return [Version.stored(old["version"])]
    known = versions_of(old)
    return [known[field] for field in versions_of(alone) if field in known]


def standing(
    event: Event | SubjectErased,
    now: Document | None,
    alone: Document,
    places: Places,
    erasures: Sequence[Reference],
    marker: Document | None = None,
) -> tuple[Standing, str, list[Reference]]:
    """How much of an event counts in ``now``, the stored document, and the events that have replaced it."""
    if isinstance(event, SubjectErased):
        return "counts", "the consumer is erased", []
    if now is None and marker is not None:
        last = list(erasures[-1:])
        return "erased", "the consumer is erased" + (f", by {_names(last)}" if last else ""), last
    if now is None:
        return "no_effect", "nothing of it is stored", []
    if "version" in alone:
        if (version := Version.stored(now["version"])) == event.version:
            return "counts", "the stored document is its own", []
        references = refer([version], places)
        verb = "retracted" if now["retracted"] else "replaced"
        return "superseded", f"it has been {verb} by {_names(references)}", references
    if "erased" in now:
        if isinstance(event, ConsumerErased):
            return "counts", "the consumer is erased", []
        last = list(erasures[-1:])
        return "erased", "the consumer is erased" + (f", by {_names(last)}" if last else ""), last
    own, kept = versions_of(alone), versions_of(now)
    others = [field for field in own if kept.get(field) != own[field]]
    if not others:
        return "counts", "everything that it states is stored now", []
    references = refer([kept[field] for field in others if field in kept], places)
    if len(others) == len(own):
        return "superseded", f"everything that it states has been replaced{_by(references)}", references
    return "partly", f"{', '.join(others)}: replaced{_by(references)}; the rest is stored now", references


def origins(profile: Document, places: Places) -> list[Origin]:
    """The event that each field of a stored profile comes from, in the order of the fields."""
    versions = versions_of(profile)
    return [
        Origin(field, value_of(profile, field) is None, refer([versions[field]], places)[0])
        for field in sorted(versions)
    ]


def door(refused: InvalidEvent | None, replayed: bool) -> str:
    """The possible verdict of the door on an event in the log; ``refused`` is its verdict today."""
    if refused is None:
        again = "; and replayed with kith dead-letters" if replayed else ""
        return f"accepted with 202, or published straight into Kafka: the log does not show which{again}"
    why = _reason(refused.reason, refused.field, refused.detail)
    return f"bypassed: the door rejects such an event ({why}), so it was published straight into Kafka"


def letter_reason(letter: Document) -> str:
    """The reason of a dead letter, and its state."""
    why = _reason(letter["reason"], letter.get("field"), letter["detail"])
    if "discarded_at" in letter:
        return f"dead letter ({why}); discarded: {letter.get('discard_reason', 'no reason given')}"
    if "replayed_at" in letter:
        return f"dead letter ({why}); replayed since"
    return f"dead letter ({why}); open"


def refused_reason(refused: InvalidEvent, processed: bool) -> str:
    """The reason of a rejected message without a stored dead letter."""
    why = _reason(refused.reason, refused.field, refused.detail)
    return f"rejected ({why}), but no dead letter is stored" if processed else f"it will be a dead letter ({why})"


def refer(versions: Iterable[Version], places: Places) -> list[Reference]:
    """The events of these versions, each once, with its first place in the log."""
    found: dict[Version, Reference] = {}
    for version in versions:
        time = EPOCH + timedelta(microseconds=version.time)
        sequence = version.sequence or None
        at = next(
            (
                place
                for place in places.get((version.source, version.id), ())
                if (place.time, place.sequence) == (time, sequence)
            ),
            None,
        )
        found.setdefault(version, at or Reference(version.source, version.id, time, sequence))
    return list(found.values())


def _names(references: Sequence[Reference]) -> str:
    return ", ".join(f"{r.source}/{r.id}{_when(r)}{_at(r)}" for r in references) or "later events"


def _by(references: Sequence[Reference]) -> str:
    """The events that replaced a field. Without any, the profile has reached its limit of fields."""
    return f" by {_names(references)}" if references else ": the profile keeps only the fields stated latest"


def _when(reference: Reference) -> str:
    if reference.time is None:
        return ""
    sequence = "" if reference.sequence is None else f", sequence {reference.sequence}"
    return f" of {reference.time.isoformat().replace('+00:00', 'Z')}{sequence}"


def _at(reference: Reference) -> str:
    return "" if reference.topic is None else f" ({_place(reference)})"


def _place(reference: Reference) -> str:
    return f"{reference.topic}/{reference.partition}/{reference.offset}"


def _reason(reason: str, field: str | None, detail: str) -> str:
    return f"{reason}: {field} {detail}" if field else f"{reason}: {detail}"
