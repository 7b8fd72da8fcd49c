"""A correction: what is stored of a consumer, merged with what is wrong in it, as an event. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.contracts.codec import decode_fields
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import ConsumerUpserted
from shared.runtime.protocols import Document

PARTS = ("personal", "location", "traits", "consent")


def correction(
    tenant: str, consumer_id: str, stored: Document, patch: Mapping[str, Any], id: str, time: datetime
) -> ConsumerUpserted:
    """The event that corrects a consumer. ``stored`` has its sealed values opened.

    As in a JSON Merge Patch (RFC 7396): members replace, null removes a member, and a part that is null, all of
    it. A profile's parts change as a whole, so each that ``patch`` names is stated whole, with what it keeps.
    Raises InvalidEvent.
    """
    if unknown := [name for name in patch if name not in PARTS]:
        raise InvalidEvent("invalid", f"is none of {', '.join(PARTS)}", unknown[0][:100])
    if not patch:
        raise InvalidEvent("invalid", f"says nothing: name one of {', '.join(PARTS)}")
    data: Document = {"consumer_id": consumer_id}
    for part, change in patch.items():
        if change is not None and not isinstance(change, Mapping):
            raise InvalidEvent("invalid", "must be an object or null", part)
        data[part] = {} if change is None else _merged(stored.get(part) or {}, change)
    event = decode_fields(
        {
            "specversion": "1.0",
            "id": id,
            "source": "kith/privacy",
            "type": "consumer.upserted",
            "time": time.isoformat(),
            "tenant": tenant,
            "data": data,
        }
    )
    assert isinstance(event, ConsumerUpserted)
    return event


def _merged(old: Mapping[str, Any], change: Mapping[str, Any]) -> Document:
    merged = {**old, **change}
    return {name: value for name, value in merged.items() if value is not None}
