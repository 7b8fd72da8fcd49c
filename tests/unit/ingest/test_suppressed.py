"""Events of erased consumers at the door: refused by name, whatever is in them."""

from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
import pytest

from services.ingest.api import create_app
from shared.access.audit import MemoryAuditLog, Recorder
from shared.access.guard import Access
from shared.contracts.topics import INPUTS
from shared.http.caller import Caller
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher
from tests.support.builders import OPEN, TOPICS

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Ledger:
    """Of the tenant default, ann is erased."""

    def __init__(self) -> None:
        self.reason: list[str] = []

    def mode(self, tenant: str, consumer_id: str) -> str | None:
        return "anonymise" if (tenant, consumer_id) == ("default", "ann") else None

    def problems(self) -> list[str]:
        return self.reason


def event(type: str, tenant: str = "default", **data: Any) -> dict[str, Any]:
    return {"type": type, "id": "1", "time": "2026-11-20T00:00:00Z", "tenant": tenant, "data": data}


ERASED = [
    event("consumer.upserted", consumer_id="ann"),
    event("relation.recorded", consumer_id="ann", relation_id="r", kind="view", provider_id="p"),
    event("relation.retracted", consumer_id="ann", relation_id="r"),
]
OTHERS = [
    event("consumer.erased", consumer_id="ann", mode="delete"),
    event("consumer.upserted", consumer_id="bob"),
    event("relation.retracted", "acme", consumer_id="ann", relation_id="r"),
    event("provider.closed", provider_id="ann"),
]


async def post(
    ledger: Ledger, events: list[dict[str, Any]], access: Access = OPEN
) -> tuple[httpx.Response, MemoryLog]:
    log = MemoryLog({TOPICS.name(short): 1 for short in INPUTS})
    settings = Settings(kafka="127.0.0.1:1")
    app = create_app(MemoryPublisher(log), TOPICS, settings, lambda: NOW, list, access=access, ledger=ledger)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as client:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer kith_till"}
        return await client.post("/v1/events", content=orjson.dumps(events), headers=headers), log


@pytest.mark.anyio
async def test_events_of_an_erased_consumer_are_suppressed() -> None:
    answer, log = await post(Ledger(), [*ERASED, *OTHERS])
    verdicts = answer.json()
    assert (answer.status_code, verdicts["accepted"]) == (202, len(OTHERS))
    assert [one["reason"] for one in verdicts["rejected"]] == ["suppressed"] * len(ERASED)
    assert {one["field"] for one in verdicts["rejected"]} == {"data.consumer_id"}
    assert sum(len(records) for records in log.records.values()) == len(OTHERS)


@pytest.mark.anyio
async def test_nothing_is_taken_before_it_is_known_who_is_erased() -> None:
    ledger = Ledger()
    ledger.reason = ["the ledger of erasures has not been read yet"]
    answer, log = await post(ledger, OTHERS)
    assert answer.status_code == 503
    assert not any(log.records.values())


class Till:
    """Everybody has the key of the till."""

    async def caller(self, text: str) -> Caller:
        return Caller("default", frozenset({"events:write"}), name=text, key="k1")


@pytest.mark.anyio
async def test_who_has_somebody_erased_is_on_record() -> None:
    """It cannot be taken back, whichever way it comes in."""
    audit_log = MemoryAuditLog()
    recorder = Recorder(audit_log, lambda: NOW)
    access = Access(Till(), audit=recorder)
    others = [one for one in OTHERS if one["tenant"] == "default"]
    answer, log = await post(Ledger(), [*others, event("consumer.erased", consumer_id="", mode="delete")], access)
    assert answer.json()["accepted"] == len(others)
    [entry] = audit_log.entries("default")
    assert (entry["action"], entry["subject"], entry["details"]) == (
        "consumer.erase",
        {"consumer_id": "ann"},
        {"mode": "delete"},
    )
    assert (entry["who"], entry["key"]) == ("kith_till", "k1")
    assert sum(len(records) for records in log.records.values()) == len(others)

    audit_log.away = True
    answer, log = await post(Ledger(), others, access)
    assert answer.status_code == 503
    assert not any(log.records.values()), "what cannot be put on record is not done"
    answer, _ = await post(Ledger(), [one for one in others if one["type"] != "consumer.erased"], access)
    assert answer.status_code == 202
    recorder.close()
