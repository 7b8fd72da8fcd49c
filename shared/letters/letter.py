"""Which dead letters are selected, how one is summarised, and what its replay is. Pure."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from shared.contracts.codec import decode
from shared.contracts.events import event_key
from shared.contracts.topics import INPUTS, OUTPUTS, Topics
from shared.contracts.wire import BOM, is_binary, structured, without_attributes
from shared.runtime.dead_letters import REPLAY_OF
from shared.runtime.protocols import Document, Message
from shared.runtime.sequence_numbers import NUMBER, ORIGIN

#: The order of the log, and so the order of events per key.
LOG_ORDER = [("topic", 1), ("partition", 1), ("offset", 1)]


@dataclass(frozen=True)
class Selection:
    """Selects dead letters: those with these ids, otherwise those that match all given criteria. Replayed or
    discarded letters are selected only by their ids, or with ``closed``."""

    ids: Sequence[str] = ()
    reason: str | None = None
    type: str | None = None
    tenant: str | None = None
    topic: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    closed: bool = False
    #: Letters of this tenant, and those without a tenant.
    seen_by: str | None = None

    @property
    def narrow(self) -> bool:
        """Whether the selection excludes open letters."""
        wanted = (self.reason, self.type, self.tenant, self.topic, self.since, self.until)
        return bool(self.ids) or any(part is not None for part in wanted)

    def audit_subject(self) -> dict[str, str]:
        """The selection as the subject of an audit entry."""
        if self.ids:
            return {"ids": " ".join(self.ids)}
        named = ("reason", "type", "tenant", "topic", "since", "until")
        return {name: str(value) for name in named if (value := getattr(self, name)) is not None}

    def query(self, topics: Topics) -> Document:
        """The MongoDB filter."""
        seen: Document = {} if self.seen_by is None else {"tenant": {"$in": [self.seen_by, None]}}
        if self.ids:
            return {"_id": {"$in": list(self.ids)}, **seen}
        query: Document = seen if self.closed else {"replayed_at": None, "discarded_at": None, **seen}
        for name in ("reason", "type", "tenant"):
            if (wanted := getattr(self, name)) is not None:
                query[name] = wanted
        if self.topic is not None:
            query["topic"] = topics.name(self.topic) if self.topic in (*INPUTS, *OUTPUTS) else self.topic
        bounds = {"$gte": self.since, "$lt": self.until}
        if time := {operator: bound for operator, bound in bounds.items() if bound is not None}:
            query["time"] = time
        return query


def state(letter: Document) -> str:
    """``open``, ``replayed`` or ``discarded``."""
    if "discarded_at" in letter:
        return "discarded"
    return "replayed" if "replayed_at" in letter else "open"


def replayable(letter: Document, topics: Topics) -> bool:
    """Whether it is a complete event. A change cannot be replayed: an event may be repeated, but a change that is
    counted twice stays wrong. Rebuilding the projection counts it correctly."""
    return topics.short(letter["topic"]) in INPUTS and "cut" not in letter


def cut_note(letter: Document) -> str | None:
    """What is missing in a truncated letter, and where it is; None for a complete letter."""
    if "cut" not in letter:
        return None
    return (
        f"{letter['_id']} was too large to be stored whole: the {letter['cut']['value_bytes']:,} bytes of its "
        f"value are in Kafka, in {letter['topic']}, partition {letter['partition']}, offset {letter['offset']}"
    )


def replay(letter: Document) -> Message:
    """The original message again. Its key selects the partition, as for other events of the key."""
    key: bytes | None = letter["key"]
    # Without a key, it keeps its partition. A missing value is replayed as an empty one.
    partition = letter["partition"] if key is None else None
    return Message(letter["topic"], key, letter["value"] or b"", partition, _headers(letter))


def mended(letter: Document, value: bytes, topics: Topics) -> Message:
    """``value`` in place of the original, as the door would publish it: a whole event, or for a letter in binary
    mode the data alone. Raises InvalidEvent when it would be rejected again."""
    headers = _headers(letter)
    if is_binary(headers) and not _is_whole(value):
        event = decode(structured(headers, value))
    else:
        event, headers = decode(value), without_attributes(headers) if is_binary(headers) else headers
    return Message(topics.of(event), event_key(event), value, headers=headers)


def _is_whole(value: bytes) -> bool:
    """Whether it contains an attribute that every event has."""
    try:
        return "specversion" in orjson.loads(value.removeprefix(BOM))
    except (orjson.JSONDecodeError, TypeError):
        return False


def _headers(letter: Document) -> tuple[tuple[str, bytes], ...]:
    kept = [(h["name"], h["value"]) for h in letter["headers"] if h["name"] not in (REPLAY_OF, ORIGIN, NUMBER)]
    return (*kept, (REPLAY_OF, letter["_id"].encode()))


def summary(letter: Document) -> dict[str, Any]:
    """A letter as a list shows it, as JSON: without value and key, which may hold personal data."""
    shown = ("reason", "field", "detail", "service", "tenant", "type", "event_id", "time", "cut")
    done = ("replay_of", "replayed_at", "replays", "discarded_at", "discard_reason")
    fields = {name: as_json(letter[name]) for name in (*shown, *done) if name in letter}
    return {"id": letter["_id"], "state": state(letter), **fields}


def as_json(value: Any) -> Any:
    """A field of a letter as a JSON value."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    return value
