"""A correction: what is wrong in what is stored of a consumer, as an event. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.contracts.codec import decode_fields
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import ConsumerUpserted
from shared.runtime.protocols import Document

PARTS = ("personal", "location", "traits", "consent")
_POINT = ("lat", "lon")


def correction(
    tenant: str, consumer_id: str, stored: Document, patch: Mapping[str, Any], id: str, time: datetime
) -> ConsumerUpserted:
    """The event that corrects a consumer. ``stored`` has its sealed values opened.

    As in a JSON Merge Patch (RFC 7396): members replace, null removes a member, and a part that is null, all of
    it. Each member is a field of its own, so that the event states no others. Latitude and longitude are one
    field: where ``patch`` names one, the other is stated as it is stored. Raises InvalidEvent.
    """
    if unknown := [name for name in patch if name not in PARTS]:
        raise InvalidEvent("invalid", f"is none of {', '.join(PARTS)}", unknown[0][:100])
    if not patch:
        raise InvalidEvent("invalid", f"says nothing: name one of {', '.join(PARTS)}")
    data: Document = {"consumer_id": consumer_id}
    for part, change in patch.items():
        if change is not None and not isinstance(change, Mapping):
            raise InvalidEvent("invalid", "must be an object or null", part)
        kept = stored.get(part) or {}
        data[part] = dict.fromkeys(kept) if change is None else dict(change)
        if part == "location" and data[part].keys() & _POINT:
            data[part] = {**{name: kept.get(name) for name in _POINT}, **data[part]}
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
