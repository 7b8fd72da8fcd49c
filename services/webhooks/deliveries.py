"""Documents of the queue: one delivery of one change to one endpoint. Pure."""

from datetime import UTC, datetime
from typing import Any

from shared.runtime.protocols import Document, Record

ENDPOINTS, DELIVERIES, LANES = "webhook_endpoints", "webhook_deliveries", "webhook_lanes"
FEEDS, RANGES, LEASES, LOG = "webhook_feeds", "webhook_ranges", "webhook_leases", "webhook_log"


def endpoint_id(tenant: str, name: str) -> str:
    """The id of an endpoint's document. A tenant's name contains no ``:``."""
    return f"{tenant}:{name}"


def lane_id(endpoint: str, topic: str, partition: int) -> str:
    """The id of a lane: the changes of one partition for one endpoint. ``topic`` is a short name."""
    return f"{endpoint}/{topic}/{partition}"


def receipts_lane(endpoint: str) -> str:
    """The lane of what an endpoint's application is told without subscribing."""
    return f"{endpoint}/receipts"


def delivery(lane: str, record: Record, change: Document, endpoint: Document, at: int) -> Document:
    """The delivery of ``change``, which ``record`` contains. ``at`` orders the deliveries of an endpoint: it never
    decreases within a lane, and the id orders those with the same."""
    data = change["data"]
    return {
        "_id": f"{lane}/{record.offset:019d}",
        "endpoint": endpoint["_id"],
        "tenant": endpoint["tenant"],
        "lane": lane,
        "subject": subject_of(change),
        "at": at,
        "change": {name: change[name] for name in ("id", "type", "time", "data")},
        **numbers(record),
        "attempts": 0,
        "due": datetime.fromtimestamp(0, UTC),
        "state": "queued",
        **({"consumer_id": data["consumer_id"]} if "consumer_id" in data else {}),
    }


def subject_of(change: Document) -> str:
    """Deliveries of one subject keep their order: those of a consumer, or of a provider."""
    data = change["data"]
    if "consumer_id" in data:
        return f"consumer:{data['consumer_id']}"
    return f"provider:{data['provider_id']}" if "provider_id" in data else change["id"]


def numbers(record: Record) -> dict[str, Any]:
    """The origin and number that Kith gave the change, with which a receiver counts each once."""
    headers = dict(record.headers)
    found: dict[str, Any] = {}
    if "kith-origin" in headers and "kith-number" in headers:
        found["origin"] = headers["kith-origin"].decode("utf-8", "replace")
        found["number"] = int(headers["kith-number"])
    return found
