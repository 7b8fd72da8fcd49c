"""Makes the event that corrects a consumer's profile. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared.contracts.codec import MAX_EVENT_BYTES, decode_fields, encode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import ConsumerUpserted
from shared.contracts.fault_path import safe_path
from shared.runtime.protocols import Document
from shared.vault.fields import first_token_path

PARTS = ("personal", "location", "traits", "consent")
_POINT = ("lat", "lon")


def grants(consents: Any) -> bool:
    """Whether a patch of consents grants one."""
    return isinstance(consents, Mapping) and any(consents.values())


def correction(
    tenant: str, consumer_id: str, stored: Document, patch: Mapping[str, Any], id: str, time: datetime
) -> ConsumerUpserted:
    """The event that corrects a consumer. The sealed values of ``stored`` are decrypted.

    As in a JSON Merge Patch (RFC 7396): members replace, null removes a member, and a null part removes all of its
    fields. Each member is one field; the event states no others. Latitude and longitude are one field: if
    ``patch`` names only one, the other is taken from ``stored``. Raises InvalidEvent.
    """
    if unknown := [name for name in patch if name not in PARTS]:
        raise InvalidEvent("invalid", f"is not one of {', '.join(PARTS)}", safe_path(unknown[:1]))
    if not patch:
        raise InvalidEvent("invalid", f"is empty: it needs one of {', '.join(PARTS)}")
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
    # What the ingest service would reject may not come in here either.
    if (path := first_token_path(event)) is not None:
        raise InvalidEvent("sealed", "has the form of a value that Kith has sealed", path)
    if (size := len(encode(event))) > MAX_EVENT_BYTES:
        detail = (
            f"makes an event of {size} bytes, which has at most {MAX_EVENT_BYTES}; correct fewer fields at a time"
        )
        raise InvalidEvent("too_large", detail)
    return event
