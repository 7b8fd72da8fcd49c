"""What becomes of a record that can never be accepted: a document to look at and a message to replay. Pure."""

from typing import Any

import orjson

from shared.collections import CollectionSpec, object_schema
from shared.errors import InvalidEvent
from shared.events import arrival
from shared.protocols import Document, Message, Outcome, Record, Write

COLLECTION = "dead_letters"
#: A header of replayed messages: the id of the dead letter.
REPLAY_OF = "kith-replay-of"

_STRING = {"bsonType": "string"}
_WHOLE = {"bsonType": ["int", "long"], "minimum": 0}
_BYTES_OR_NULL = {"bsonType": ["binData", "null"]}

#: The collection is shared: each service declares it, and writes only letters of its own partitions.
SPEC = CollectionSpec(
    object_schema(
        required={
            "service": _STRING,
            "reason": _STRING,
            "field": {"bsonType": ["string", "null"]},
            "detail": _STRING,
            "topic": _STRING,
            "partition": _WHOLE,
            "offset": _WHOLE,
            "time": {"bsonType": "date"},
            "key": _BYTES_OR_NULL,
            "value": _BYTES_OR_NULL,
            "headers": {
                "bsonType": "array",
                "items": {
                    "bsonType": "object",
                    "required": ["name", "value"],
                    "properties": {"name": _STRING, "value": {"bsonType": "binData"}},
                    "additionalProperties": False,
                },
            },
        },
        optional={
            "tenant": _STRING,
            "type": _STRING,
            "event_id": _STRING,
            # The letter whose replay was refused, too.
            "replay_of": _STRING,
            # What `kith dead-letters` has done about it.
            "replayed_at": {"bsonType": "date"},
            "replays": _WHOLE,
            "discarded_at": {"bsonType": "date"},
            "discard_reason": _STRING,
        },
    ),
    indexes=((("reason", 1), ("time", 1)),),
)


def bury(
    record: Record,
    error: InvalidEvent,
    service: str,
    topic: str,
    outcome: Outcome,
    shown: Record | None = None,
) -> None:
    """Add to ``outcome`` the dead letter of ``record``: its document, and the original bytes as a message to
    ``topic`` with reason and origin in the headers. ``shown`` has the value and the headers that are stored in
    place of the original ones, where these must not be seen."""
    shown = shown or record
    letter = document(record, error, service)
    letter |= {"value": shown.value, "headers": _headers(shown)}
    outcome.writes.append(Write(COLLECTION, dead_letter_id(record), None, letter, True))
    origin = f"{record.partition}/{record.offset}"
    headers = [("kith-reason", error.reason), ("kith-detail", error.detail), ("kith-origin-record", origin)]
    if error.field is not None:
        headers.append(("kith-field", error.field))
    told = tuple((name, text.encode()) for name, text in headers)
    concealed = shown.headers[len(record.headers) :]
    outcome.messages.append(Message(topic, record.key, shown.value or b"", headers=(*told, *concealed)))


def _headers(record: Record) -> list[Document]:
    return [{"name": name, "value": value} for name, value in record.headers]


def dead_letter_id(record: Record) -> str:
    return f"{record.partition}/{record.offset}"


def document(record: Record, error: InvalidEvent, service: str) -> Document:
    """The stored form. ``key`` and ``value`` are the original bytes; tenant, type and event_id are there when
    they could be read, ``replay_of`` when it is a replayed dead letter that was refused again."""
    return {
        "_id": dead_letter_id(record),
        "service": service,
        "reason": error.reason,
        "field": error.field,
        "detail": error.detail,
        "topic": record.partition.topic,
        "partition": record.partition.number,
        "offset": record.offset,
        "time": arrival(record.timestamp),
        "key": record.key,
        "value": record.value,
        "headers": _headers(record),
        **_glimpse(record.value),
        **_ancestry(record),
    }


def _ancestry(record: Record) -> dict[str, str]:
    for name, value in record.headers:
        if name == REPLAY_OF and len(value) <= 400:
            return {"replay_of": value.decode("utf-8", "replace").replace("\0", "")}
    return {}


def _glimpse(value: bytes | None) -> dict[str, Any]:
    try:
        fields = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(fields, dict):
        return {}
    names = (("tenant", "tenant"), ("type", "type"), ("event_id", "id"))
    return {
        name: text
        for name, field in names
        if isinstance(text := fields.get(field), str) and len(text) <= 200 and "\0" not in text
    }
