"""Which messages of the log belong to an event: it itself, and the others about the same subject. Pure."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from shared.contracts.spelling import may_differ, other_spellings, put_in_nfc
from shared.runtime.protocols import Record


class Name(NamedTuple):
    """What names an event. Of a broken one, source and tenant may not be readable."""

    tenant: str | None
    source: str | None
    id: str


class Subject(NamedTuple):
    """Whom an event is about: the field is ``consumer_id`` or ``provider_id``."""

    tenant: str
    field: str
    id: str


@dataclass(frozen=True)
class Asked:
    """The event that is asked for."""

    id: str
    source: str | None = None
    tenant: str | None = None

    def admits(self, name: Name) -> bool:
        """Whether this name is meant. What cannot be read may be meant."""
        return name.id == self.id and all(
            wanted is None or found is None or wanted == found
            for wanted, found in ((self.source, name.source), (self.tenant, name.tenant))
        )


class Needles:
    """A fast test whether a message may hold one of some strings, wherever in its JSON.

    JSON may write a character as an escape, so what holds a backslash may hold anything. It is for the parser
    to say: this only spares it most messages.
    """

    def __init__(self, strings: Collection[str]) -> None:
        # Ids are in NFC here, and in the log as they came.
        spelled = [each for text in strings for each in (text, *other_spellings(text))]
        # Escaped as JSON must: such strings are found by the backslash.
        self._needles = tuple(
            {text.encode() for text in spelled if json.dumps(text, ensure_ascii=False)[1:-1] == text}
        )

    def may_be_in(self, value: bytes | None) -> bool:
        if value is None:
            return False
        # Nor do bytes in base64 show what they say.
        return any(needle in value for needle in self._needles) or b"\\" in value or b'"data_base64"' in value


def fields_of(value: bytes | None) -> Mapping[str, Any]:
    """The JSON object in a message, its ids in NFC; empty when it holds none."""
    try:
        fields = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(fields, dict):
        return {}
    if may_differ(value or b""):
        put_in_nfc(fields)
    return fields


def name_of(fields: Mapping[str, Any]) -> Name | None:
    """The name of an event, also of a broken one, as long as its id can be read."""
    id, source, tenant = fields.get("id"), fields.get("source"), fields.get("tenant", "default")
    if not isinstance(id, str):
        return None
    return Name(tenant if isinstance(tenant, str) else None, source if isinstance(source, str) else None, id)


def subject_of(short_topic: str, fields: Mapping[str, Any]) -> Subject | None:
    """Whom an event of a topic (``consumers``, ``providers``, ``relations``) is about."""
    data, tenant = fields.get("data"), fields.get("tenant", "default")
    field = "provider_id" if short_topic == "providers" else "consumer_id"
    id = data.get(field) if isinstance(data, dict) else None
    return Subject(tenant, field, id) if isinstance(id, str) and isinstance(tenant, str) else None


def is_about(record: Record, short_topic: str, asked: Asked, subjects: Collection[Subject]) -> bool:
    """Whether a message is the event that is asked for, or about one of the subjects."""
    fields = fields_of(record.value)
    name = name_of(fields)
    if name is not None and asked.admits(name):
        return True
    return bool(subjects) and subject_of(short_topic, fields) in subjects
