"""Which events a worker of an older version could not fold, and what the door does with them."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest

from services.ingest.api import create_app
from shared.access.guard import Access
from shared.contracts.codec import decode_fields
from shared.contracts.revision import FIRST, REVISION, needed
from shared.contracts.topics import INPUTS
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher
from tests.support.builders import TOPICS

ENVELOPE = {"specversion": "1.0", "source": "crm", "id": "1", "time": "2026-01-01T00:00:00Z"}
OLD: list[dict[str, Any]] = [
    {"type": "consumer.upserted", "data": {"consumer_id": "c", "personal": {"name": "Ann"}, "traits": {}}},
    {"type": "consumer.upserted", "data": {"consumer_id": "c", "personal": None, "location": {"city": "Lyon"}}},
    {"type": "provider.upserted", "data": {"provider_id": "p", "name": "Café", "traits": {"n": [None]}}},
    {"type": "provider.closed", "data": {"provider_id": "p"}},
    {"type": "consumer.erased", "data": {"consumer_id": "c", "mode": "delete"}},
    {"type": "relation.retracted", "data": {"relation_id": "r", "consumer_id": "c"}},
]
NEW: list[dict[str, Any]] = [
    {"type": "provider.closed", "sequence": "7", "data": {"provider_id": "p"}},
    {"type": "provider.closed", "sequencetype": "Integer", "sequence": "7", "data": {"provider_id": "p"}},
    {"type": "consumer.upserted", "data": {"consumer_id": "c", "personal": {"name": None}}},
    {"type": "consumer.upserted", "data": {"consumer_id": "c", "consent": {"mail": None}}},
    {"type": "consumer.upserted", "data": {"consumer_id": "c", "traits": {"vip": None}}},
    {"type": "consumer.upserted", "data": {"consumer_id": "c", "location": {"lat": None, "lon": None}}},
    {"type": "provider.upserted", "data": {"provider_id": "p", "name": None}},
    {"type": "provider.upserted", "data": {"provider_id": "p", "categories": None}},
    {"type": "provider.upserted", "data": {"provider_id": "p", "location": {"city": None}}},
]


@pytest.mark.parametrize("fields", OLD)
def test_what_the_first_revision_has_needs_no_other(fields: dict[str, Any]) -> None:
    assert needed(decode_fields({**ENVELOPE, **fields})) == FIRST


@pytest.mark.parametrize("fields", NEW)
def test_what_the_second_revision_has_needs_it(fields: dict[str, Any]) -> None:
    assert needed(decode_fields({**ENVELOPE, **fields})) == 2


@pytest.mark.parametrize("fields", NEW)
def test_the_door_refuses_what_a_running_worker_would_not_understand(fields: dict[str, Any]) -> None:
    """Neither accepted, for then the old worker would take it, nor rejected, for nothing is wrong with it."""
    lowest = FIRST
    log = MemoryLog({TOPICS.name(short): 1 for short in INPUTS})

    def clock() -> datetime:
        return datetime(2026, 1, 2, tzinfo=UTC)

    app = create_app(
        MemoryPublisher(log), TOPICS, Settings(), clock, list, access=Access(open=True), understood=lambda: lowest
    )
    old, new = {**ENVELOPE, **OLD[0]}, {**ENVELOPE, "id": "2", **fields}

    def send(*events: dict[str, Any]) -> httpx.Response:
        async def once() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as client:
                headers = {"Content-Type": "application/cloudevents-batch+json"}
                return await client.post("/v1/events", content=orjson.dumps(events), headers=headers)

        return asyncio.run(once())

    refused = send(old, new)
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/workers-outdated")
    assert refused.headers["Retry-After"]
    assert not any(log.records.values()), "nothing of the request was published"
    assert send(old).status_code == 202
    lowest = REVISION
    assert send(old, new).json() == {"accepted": 2, "rejected": []}
