"""Selects the messages of the log that belong to an event: its own, and the others about its subject. Pure."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from shared.contracts.spelling import may_differ, other_spellings, put_in_nfc
from shared.runtime.protocols import Record


class Name(NamedTuple):
    """The name of an event. Source and tenant of a malformed event may be unreadable."""

    tenant: str | None
    source: str | None
    id: str


class Subject(NamedTuple):
    """The subject of an event: the field is ``consumer_id`` or ``provider_id``."""

    tenant: str
    field: str
    id: str


@dataclass(frozen=True)
class Asked:
    """The requested event."""

    id: str
    source: str | None = None
    tenant: str | None = None

    def admits(self, name: Name) -> bool:
        """Whether this name matches the request. Parts that cannot be read match."""
        return name.id == self.id and all(
            wanted is None or found is None or wanted == found
            for wanted, found in ((self.source, name.source), (self.tenant, name.tenant))
        )


class Needles:
    """A fast test whether a message may contain one of some strings, anywhere in its JSON.

    JSON may escape any character, so a message with a backslash may contain any string. The parser decides; this
    test only spares it most messages.
    """

    def __init__(self, strings: Collection[str]) -> None:
        # Ids are in NFC here, and in the log as they were sent.
        spelled = [each for text in strings for each in (text, *other_spellings(text))]
        # Strings that JSON must escape are found by the backslash.
        self._needles = tuple(
            {text.encode() for text in spelled if json.dumps(text, ensure_ascii=False)[1:-1] == text}
        )

    def may_be_in(self, value: bytes | None) -> bool:
        if value is None:
            return False
        # Base64 hides the content, too.
        return any(needle in value for needle in self._needles) or b"\\" in value or b'"data_base64"' in value


def fields_of(value: bytes | None) -> Mapping[str, Any]:
    """The JSON object in a message, its ids in NFC; empty if there is none."""
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
    """The name of an event. A malformed event has one if its id can be read."""
    id, source, tenant = fields.get("id"), fields.get("source"), fields.get("tenant", "default")
    if not isinstance(id, str):
        return None
    return Name(tenant if isinstance(tenant, str) else None, source if isinstance(source, str) else None, id)


def subject_of(short_topic: str, fields: Mapping[str, Any]) -> Subject | None:
    """The subject of an event of a topic (``consumers``, ``providers``, ``relations``)."""
    data, tenant = fields.get("data"), fields.get("tenant", "default")
    field = "provider_id" if short_topic == "providers" else "consumer_id"
    id = data.get(field) if isinstance(data, dict) else None
    return Subject(tenant, field, id) if isinstance(id, str) and isinstance(tenant, str) else None


def is_about(record: Record, short_topic: str, asked: Asked, subjects: Collection[Subject]) -> bool:
    """Whether a message is the requested event, or about one of the subjects."""
    fields = fields_of(record.value)
    name = name_of(fields)
    if name is not None and asked.admits(name):
        return True
    return bool(subjects) and subject_of(short_topic, fields) in subjects
