"""What a replay of one dead letter does, and why. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from shared.contracts.codec import decode, decode_internal
from shared.contracts.errors import InvalidEvent
from shared.contracts.topics import INPUTS, Topics
from shared.letters.letter import cut_note
from shared.runtime.protocols import Document


@dataclass(frozen=True, slots=True)
class Fate:
    """``failed`` is why the message became a dead letter. ``published`` is whether a replay publishes it again.
    ``because`` is the expected result, or why it is left out. None contains a value of the message."""

    id: str
    failed: str
    published: bool
    because: str


def fate(letter: Document, published: bool, topics: Topics) -> Fate:
    """The fate of a letter with its original value, or without one where it was not decrypted."""
    return Fate(letter["_id"], _failed(letter), published, _reason(letter, published, topics))


def mended_fate(letter: Document) -> Fate:
    """The fate of a letter that is replaced by a corrected event."""
    return Fate(letter["_id"], _failed(letter), True, "a corrected event is published in its place")


def _failed(letter: Document) -> str:
    where = f"{letter['field']} " if letter.get("field") else ""
    return f"{letter['reason']}: {where}{letter['detail']}"


def _reason(letter: Document, published: bool, topics: Topics) -> str:
    id, service = letter["_id"], letter.get("service", "analytics")
    if "/" in letter["topic"]:
        # A name that no topic of Kafka has: it came from a queue, and never reached Kafka.
        show = f"kith dead-letters show {id} --raw > event.json"
        return f"it never reached Kafka; {show}, correct it, then kith dead-letters replay {id} --value event.json"
    if topics.short(letter["topic"]) not in INPUTS:
        return (
            f"it is a change, which must not be counted twice; rebuild {service} instead: kith rebuild {service}"
        )
    if (cut := cut_note(letter)) is not None:
        return f"{cut}; publish the whole event by --value FILE"
    refused = _refused_by(letter, topics)
    if refused is not None and published:
        return f"this version refuses it, too ({refused}), so that it becomes a new dead letter"
    if refused is not None:
        show = f"kith dead-letters show {id} --raw > event.json"
        replay = f"kith dead-letters replay {id} --value event.json"
        return f"this version refuses it, too ({refused}); correct it: {show}, then {replay}"
    if not published:
        return "its consumer is erased, and nothing of a person who is erased goes into Kafka"
    return "this version can read it; it is checked again when it arrives"


def _refused_by(letter: Document, topics: Topics) -> str | None:
    """Why this version cannot accept the message; None when it can."""
    value = letter["value"] or b""
    try:
        wanted = topics.of(decode(value))
        return None if wanted == letter["topic"] else f"wrong_topic: type belongs into {wanted}"
    except InvalidEvent as invalid:
        if decode_internal(value) is not None:
            return None
        where = f"{invalid.field} " if invalid.field else ""
        return f"{invalid.reason}: {where}{invalid.detail}"


def counted(fates: Sequence[Fate]) -> list[tuple[str, int]]:
    """How many letters share an outcome, most frequent first, for lists too long to name each."""
    return Counter(f"{one.failed}; {_general(one)}" for one in fates).most_common()


def _general(one: Fate) -> str:
    return one.because.replace(one.id, "ID")
