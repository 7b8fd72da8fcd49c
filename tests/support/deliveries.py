"""An endpoint and deliveries for it, as a sender takes them from its queue."""

from collections.abc import Callable
from typing import Any

from services.webhooks.messages.signing import new_secret
from shared.contracts.events import EPOCH
from shared.runtime.protocols import Document


def secret(byte: bytes) -> str:
    return new_secret("hmac", lambda count: byte * count)


ENDPOINT: Document = {
    "_id": "acme:ep",
    "tenant": "acme",
    "url": "https://a.example/",
    "types": ["relation.changed"],
    "created_by": "dev12345",
    "masks": [],
    "secrets": [{"secret": secret(b"1")}],
    "state": "enabled",
    "revision": 1,
}


def delivery(consumer: str) -> Document:
    data = {"consumer_id": consumer, "before": None, "after": {"provider_id": "cafe", "kind": "view"}}
    change = {"id": "c/1", "type": "relation.changed", "time": "2026-11-30T12:00:00Z", "data": data}
    found = {"_id": f"acme:ep/{consumer}", "endpoint": "acme:ep", "tenant": "acme", "consumer_id": consumer}
    return {**found, "subject": consumer, "attempts": 0, "due": EPOCH, "at": 1, "change": change}


async def at_once(call: Callable[[], Any]) -> Any:
    return call()
