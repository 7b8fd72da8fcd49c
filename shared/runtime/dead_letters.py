"""Dead letters of records that can never be accepted: a document to inspect and a message to replay. Pure."""

import codecs
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from shared.contracts.bson_types import DATE, STRING, WHOLE
from shared.contracts.collections import CollectionSpec, object_schema
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import time_of_record
from shared.contracts.names import folded
from shared.contracts.wire import KAFKA_PREFIX, is_binary
from shared.runtime.forms import readable
from shared.runtime.protocols import Document, Message, Outcome, Record, Write

COLLECTION = "dead_letters"
#: Header of a replayed message: the id of its dead letter.
REPLAY_OF = "kith-replay-of"
#: Headers of a truncated message: the length of the original value in bytes, and its SHA-256 in hexadecimal.
VALUE_BYTES, VALUE_SHA256 = "kith-value-bytes", "kith-value-sha256"
#: The largest record that is kept whole. Kafka limits the compressed size only. Uncompressed, a record may exceed
#: what a message or a document can hold.
MAX_BYTES = 1024 * 1024
#: How many bytes of the key and of the value of a larger record are kept.
KEPT_BYTES = 4 * 1024
# Bytes that a document needs per header besides its name and value. A record can have hundreds of thousands.
_HEADER_BYTES = 64

_TENANT, _DEFAULT = "tenant", "default"
#: A text that does not have the form of a name may be anything, including personal data. It is never shown.
_FORMS = {
    "tenant": re.compile(r"[a-z0-9][a-z0-9_-]{0,62}"),
    "type": re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}"),
    "event_id": re.compile(r"[^\0\ud800-\udfff]{0,200}"),
}

_WHOLE = {**WHOLE, "minimum": 0}
_BYTES_OR_NULL = {"bsonType": ["binData", "null"]}

#: All services share the collection. Each declares it, and writes only letters of its own partitions.
SPEC = CollectionSpec(
    object_schema(
        required={
            "service": STRING,
            "reason": STRING,
            "field": {"bsonType": ["string", "null"]},
            "detail": STRING,
            "topic": STRING,
            "partition": _WHOLE,
            "offset": _WHOLE,
            "time": DATE,
            "key": _BYTES_OR_NULL,
            "value": _BYTES_OR_NULL,
            "headers": {
                "bsonType": "array",
                "items": {
                    "bsonType": "object",
                    "required": ["name", "value"],
                    "properties": {"name": STRING, "value": {"bsonType": "binData"}},
                    "additionalProperties": False,
                },
            },
        },
        optional={
            "tenant": STRING,
            "type": STRING,
            "event_id": STRING,
            # The letter whose replay was rejected again.
            "replay_of": STRING,
            # The size of a record larger than MAX_BYTES. ``key`` and ``value`` then hold their first bytes, and
            # headers are left out. ``sha256`` is of the whole value, in hexadecimal. It is missing where the value
            # is concealed.
            "cut": {
                "bsonType": "object",
                "required": ["key_bytes", "value_bytes", "headers"],
                "properties": {"key_bytes": _WHOLE, "value_bytes": _WHOLE, "headers": _WHOLE, "sha256": STRING},
                "additionalProperties": False,
            },
            # Set by `kith dead-letters`.
            "replayed_at": DATE,
            "replays": _WHOLE,
            "discarded_at": DATE,
            "discard_reason": STRING,
        },
    ),
    # The second is of what a tenant sees: without it, a tenant's list reads the letters of all.
    indexes=((("reason", 1), ("time", 1)), (("tenant", 1), ("time", -1), ("_id", -1))),
)


def to_dead_letter(
    record: Record,
    error: InvalidEvent,
    service: str,
    topic: str,
    outcome: Outcome,
    shown: Record | None = None,
    event: bytes | None = None,
) -> None:
    """Add the dead letter of ``record`` to ``outcome``: its document, and the original bytes as a message to
    ``topic``, with reason and origin in the headers. A record larger than MAX_BYTES is truncated in both (see
    ``truncate``). ``shown`` holds the value and headers to store instead, where the original ones must not be
    seen. ``event`` is what the record contains in structured mode, where it is in none of the modes of Kafka."""
    kept, shown = truncate(record), truncate(shown or record)
    letter = document(record, error, service, event)
    letter |= {"value": shown.value, "headers": _headers(shown)}
    outcome.writes.append(Write(COLLECTION, dead_letter_id(record), None, letter, True))
    origin = f"{record.partition}/{record.offset}"
    headers = [("kith-reason", error.reason), ("kith-detail", error.detail), ("kith-origin-record", origin)]
    if error.field is not None:
        headers.append(("kith-field", error.field))
    if (whole := letter.get("cut")) is not None:
        if shown.value != kept.value:
            # With the hash, a guess of the concealed value could be confirmed.
            del whole["sha256"]
        headers.append((VALUE_BYTES, str(whole["value_bytes"])))
        if "sha256" in whole:
            headers.append((VALUE_SHA256, whole["sha256"]))
    reasons = tuple((name, text.encode()) for name, text in headers)
    # The attributes of an event in binary mode are in its headers.
    attributes = kept.headers if is_binary(kept.headers) else ()
    concealed = shown.headers[len(kept.headers) :]
    outcome.messages.append(
        Message(topic, kept.key, shown.value or b"", headers=(*attributes, *reasons, *concealed))
    )


def truncate(record: Record) -> Record:
    """The record as its dead letter keeps it. A record larger than MAX_BYTES in all keeps the first KEPT_BYTES of
    its key and of its value, and no headers. Any other is kept whole."""
    headers = sum(len(name.encode()) + len(value) + _HEADER_BYTES for name, value in record.headers)
    if len(record.key or b"") + len(record.value or b"") + headers <= MAX_BYTES:
        return record
    return record._replace(key=_truncated(record.key), value=_truncated(record.value), headers=())


def _truncated(whole: bytes | None) -> bytes | None:
    if whole is None or len(whole) <= KEPT_BYTES:
        return whole
    kept = whole[:KEPT_BYTES]
    try:
        # Text is cut between two characters.
        return kept[: codecs.utf_8_decode(kept, "strict", False)[1]]
    except UnicodeDecodeError:
        return kept


def _headers(record: Record) -> list[Document]:
    return [{"name": name, "value": value} for name, value in record.headers]


def dead_letter_id(record: Record) -> str:
    return f"{record.partition}/{record.offset}"


def document(record: Record, error: InvalidEvent, service: str, event: bytes | None = None) -> Document:
    """The stored form. ``key`` and ``value`` are the original bytes, or what ``truncate`` leaves of them.
    ``tenant``, ``type`` and ``event_id`` are present when they could be read; ``replay_of`` when a replayed dead
    letter was rejected again. ``event`` as in ``to_dead_letter``."""
    kept = truncate(record)
    return {
        "_id": dead_letter_id(record),
        "service": service,
        "reason": error.reason,
        "field": error.field,
        "detail": error.detail,
        "topic": record.partition.topic,
        "partition": record.partition.number,
        "offset": record.offset,
        "time": time_of_record(record.timestamp),
        "key": kept.key,
        "value": kept.value,
        "headers": _headers(kept),
        **_shown_attributes(readable(record) if event is None else record._replace(value=event, headers=())),
        **_replay_header(record),
        **({"cut": _original_size(record)} if kept is not record else {}),
    }


def _original_size(record: Record) -> Document:
    value = record.value or b""
    sizes = {"key_bytes": len(record.key or b""), "value_bytes": len(value), "headers": len(record.headers)}
    return {**sizes, "sha256": hashlib.sha256(value).hexdigest()}


def _replay_header(record: Record) -> dict[str, str]:
    for name, value in record.headers:
        if name == REPLAY_OF and len(value) <= 400:
            return {"replay_of": value.decode("utf-8", "replace").replace("\0", "")}
    return {}


def readable_fields(record: Record) -> dict[str, Any] | None:
    """The members of what may be no event, and no JSON as the codec has it; None of what is no object. In binary
    mode headers are members. ``tenant`` is None where two are stated: two readers could believe two."""
    of_headers = [
        (name.lower().removeprefix(KAFKA_PREFIX), value.decode("utf-8", "replace"))
        for name, value in record.headers
        if value and name.lower().startswith(KAFKA_PREFIX)
    ]
    if is_binary(record.headers):
        return {**_members(of_headers), "data": _read(record.value)}
    read = _read(record.value)
    if not isinstance(read, dict):
        return None
    fields: dict[str, Any] = read
    if beside := [each for each in of_headers if each[0] == _TENANT]:
        fields = _members([(_TENANT, fields.get(_TENANT, _DEFAULT)), *fields.items(), *beside])
    return fields


def _read(value: bytes | None) -> Any:
    try:
        # Python reads what is nearly JSON: half an emoji, which JavaScript sends, and NaN.
        return json.loads(value or b"", object_pairs_hook=_members)
    except (ValueError, RecursionError):
        return None


def _members(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object. Of a name that is there twice the last one counts, except of a tenant, whatever
    letters its name is written in."""
    found = dict(pairs)
    stated = [value for name, value in pairs if name == _TENANT or folded(name) == _TENANT]
    if any(value != found.get(_TENANT, _DEFAULT) for value in stated):
        found[_TENANT] = None
    return found


def _shown_attributes(record: Record) -> dict[str, Any]:
    fields = readable_fields(record)
    if fields is None:
        return {}
    # An event without a tenant belongs to the default tenant.
    attributes = {
        "tenant": fields.get(_TENANT, _DEFAULT),
        "type": fields.get("type"),
        "event_id": fields.get("id"),
    }
    return {
        name: text for name, text in attributes.items() if isinstance(text, str) and _FORMS[name].fullmatch(text)
    }
