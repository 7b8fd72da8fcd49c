"""What becomes of a record that can never be accepted: a document to look at and a message to replay. Pure."""

from typing import Any

import orjson

from shared.collections import CollectionSpec, object_schema
from shared.errors import InvalidEvent
from shared.events import arrival
from shared.protocols import Document, Message, Outcome, Record, Write

COLLECTION = "dead_letters"

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
        optional={"tenant": _STRING, "type": _STRING, "event_id": _STRING},
    ),
    indexes=((("reason", 1), ("time", 1)),),
)


def bury(record: Record, error: InvalidEvent, service: str, topic: str, outcome: Outcome) -> None:
    """Add to ``outcome`` the dead letter of ``record``: its document, and the original bytes as a message to
    ``topic`` with reason and origin in the headers."""
    outcome.writes.append(Write(COLLECTION, dead_letter_id(record), None, document(record, error, service), True))
    origin = f"{record.partition}/{record.offset}"
    headers = [("kith-reason", error.reason), ("kith-detail", error.detail), ("kith-origin-record", origin)]
    if error.field is not None:
        headers.append(("kith-field", error.field))
    outcome.messages.append(
        Message(
            topic,
            record.key,
            record.value or b"",
            headers=tuple((name, text.encode()) for name, text in headers),
        )
    )


def dead_letter_id(record: Record) -> str:
    return f"{record.partition}/{record.offset}"


def document(record: Record, error: InvalidEvent, service: str) -> Document:
    """The stored form. ``key`` and ``value`` are the original bytes; tenant, type and event_id are there when
    they could be read."""
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
        "headers": [{"name": name, "value": value} for name, value in record.headers],
        **_glimpse(record.value),
    }


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
