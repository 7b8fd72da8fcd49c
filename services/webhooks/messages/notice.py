"""Deliveries that no change causes: that an endpoint was disabled, a test, and receipts of applications. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from services.webhooks.deliveries import endpoint_id, receipts_lane
from services.webhooks.fanout.subscription import DISABLED, TEST
from shared.contracts.events import EPOCH
from shared.runtime.protocols import Document


def disabled_notices(disabled: Document, endpoints: Iterable[Document], now: datetime) -> list[Document]:
    """A delivery for every other enabled endpoint of the tenant that subscribes to ``webhook.disabled``."""
    name = disabled["_id"].removeprefix(endpoint_id(disabled["tenant"], ""))
    data = {"endpoint": name, "url": disabled["url"], "reason": disabled["reason"]}
    mark = f"{disabled['_id']}@{disabled['revision']}"
    return [
        _made(other, f"disabled/{mark}", DISABLED, data, now)
        for other in endpoints
        if other["tenant"] == disabled["tenant"]
        and other["_id"] != disabled["_id"]
        and other["state"] == "enabled"
        and DISABLED in other["types"]
        # Whoever is bound to a purpose hears of nobody else's endpoints.
        and (not other.get("bound") or (disabled.get("bound") and other["purpose"] == disabled["purpose"]))
    ]


def test_delivery(endpoint: Document, mark: str, now: datetime) -> Document:
    """A delivery of the type ``webhook.test``. ``mark`` distinguishes it from other tests."""
    return _made(endpoint, _test_mark(mark), TEST, {"message": "This is a test of the endpoint."}, now)


def test_id(endpoint: str, mark: str) -> str:
    """The id of the delivery of a test to an endpoint, by the id of its document."""
    return f"{endpoint}/{_test_mark(mark)}"


def _test_mark(mark: str) -> str:
    return f"test/{mark}"


def receipt_delivery(endpoint: str, receipt: str) -> str:
    """The id of the delivery of a receipt to an endpoint; of both, the ids of their documents."""
    return f"{endpoint}/{_receipt_mark(receipt)}"


def _receipt_mark(receipt: str) -> str:
    return f"receipt/{receipt}"


def is_receipt(delivery: str) -> bool:
    """Whether the id of a delivery is one of a receipt."""
    return "/receipt/" in delivery


def telling(endpoint: Document, receipt: Document, now: datetime) -> Document:
    """The delivery of a receipt (``shared.access.apps.compliance``) to an endpoint. It has a subject of its own:
    nothing else holds it up."""
    made = _made(endpoint, _receipt_mark(receipt["_id"]), receipt["topic"], data_of(receipt), now)
    change = {**made["change"], "id": receipt["_id"], "time": _text(receipt["at"])}
    return {**made, "lane": receipts_lane(endpoint["_id"]), "receipt": receipt["_id"], "change": change}


def data_of(receipt: Document) -> dict[str, Any]:
    """What an application is told: ids."""
    named = {"consumer_id": receipt["consumer_id"]} if "consumer_id" in receipt else {}
    return {"app": receipt["app"], **named, "receipt": receipt["_id"]}


def _made(endpoint: Document, mark: str, type: str, data: dict[str, Any], now: datetime) -> Document:
    id = f"{endpoint['_id']}/{mark}"
    return {
        "_id": id,
        "endpoint": endpoint["_id"],
        "tenant": endpoint["tenant"],
        "lane": f"{endpoint['_id']}/notices",
        "subject": mark,
        "at": (now - EPOCH) // timedelta(milliseconds=1),
        "change": {"id": id, "type": type, "time": _text(now), "data": data},
        "attempts": 0,
        "due": datetime.fromtimestamp(0, UTC),
        "state": "queued",
    }


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
