"""Entries of the log of deliveries: one of each attempt."""

from datetime import UTC, datetime, timedelta

from services.webhooks.delivery.http_client import Answer
from services.webhooks.delivery.queue import entry_of
from services.webhooks.messages.notice import telling

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_a_receipt_that_an_endpoint_is_given_again_is_logged_again() -> None:
    endpoint = {"_id": "acme:ep", "tenant": "acme"}
    receipt = {
        "_id": "acme:app.uninstalled/x",
        "app": "x",
        "tenant": "acme",
        "topic": "app.uninstalled",
        "at": NOW,
    }
    deliveries = [telling(endpoint, receipt, NOW + timedelta(hours=hours)) for hours in (0, 0, 1)]
    assert len({each["_id"] for each in deliveries}) == 1
    first, same, again = (entry_of(each, Answer(1, 500), "failed", NOW) for each in deliveries)
    assert first["_id"] == same["_id"], "what is stored twice is there once"
    assert again["_id"] != first["_id"]
