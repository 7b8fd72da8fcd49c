"""What dead letters cost: a tenant's list nothing of another one's letters, and a replay little memory."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from services.analytics.dashboard.operations import add_operations
from services.analytics.schema import COLLECTIONS
from shared.access.app import guarded_app
from shared.access.audit import MemoryAuditLog, Recorder
from shared.access.guard import Access
from shared.contracts.topics import Topics
from shared.http.caller import ADMIN, Caller
from shared.letters import store
from shared.letters.letter import Selection
from shared.letters.store import Letters
from shared.mongo.store import prepare
from shared.runtime.protocols import Document, Message
from tests.support.relations_driver import Mongo

TOPICS = Topics("")
NOW = datetime(2026, 5, 3, tzinfo=UTC)


def letter(number: int, tenant: str | None, value: bytes = b"{}") -> Document:
    return {
        "_id": f"{TOPICS.name('relations')}/0/{number}",
        "service": "relations",
        "reason": "invalid",
        "field": None,
        "detail": "is not a change",
        "topic": TOPICS.name("relations"),
        "partition": 0,
        "offset": number,
        "time": NOW + timedelta(seconds=number),
        "key": None,
        "value": value,
        "headers": [],
        **({} if tenant is None else {"tenant": tenant}),
    }


class Sends:
    """A Publisher that keeps how many bytes came together."""

    def __init__(self) -> None:
        self.together: list[int] = []

    def send(self, messages: Sequence[Message]) -> "Future[None]":
        self.together.append(sum(len(message.value) for message in messages))
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def close(self) -> None: ...


@pytest.fixture
def letters(mongo_database: Mongo) -> Letters:
    prepare(mongo_database, COLLECTIONS)
    return Letters(mongo_database, TOPICS)


def test_a_tenants_list_looks_at_no_letter_of_another_tenant(letters: Letters, mongo_database: Mongo) -> None:
    others = [letter(number, "evil") for number in range(500)]
    own = [letter(1_000 + number, "good" if number % 2 else None) for number in range(10)]
    mongo_database.dead_letters.insert_many([*others, *own])
    seen = Selection(seen_by="good")
    mongo_database.command("profile", 2)
    try:
        latest, reasons = letters.latest(seen, 4), letters.reasons(seen)
    finally:
        mongo_database.command("profile", 0)
    assert [each["offset"] for each in latest] == [1_009, 1_008, 1_007, 1_006]
    assert reasons == {"invalid": 10}
    asked = list(mongo_database["system.profile"].find({"ns": {"$regex": "dead_letters$"}}))
    assert [each["op"] for each in asked] == ["query", "command"]
    assert not asked[0].get("hasSortStage", False), "the index has the order"
    # Some more for each of the two orders that are merged.
    assert all(each["docsExamined"] <= 12 for each in asked)


def app_of(letters: Letters, publisher: Sends, audit_log: MemoryAuditLog) -> FastAPI:
    class Operator:
        async def caller(self, _: str) -> Caller:
            return Caller("good", frozenset({ADMIN}), name="ann", key="1")

    access = Access(Operator(), audit=Recorder(audit_log, lambda: NOW))
    app = guarded_app("Kith analytics", "", access, list)
    add_operations(app, cast(Any, None), cast(Any, None), lambda: letters, lambda: publisher)
    return app


def test_a_replay_holds_few_messages_at_a_time_and_is_put_on_record_as_one_piece_of_work(
    letters: Letters, mongo_database: Mongo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BATCH_BYTES", 4 * 64 * 1024)
    value = b" " * 64 * 1024 + b"{}"
    stored = [letter(number, "good", value) for number in range(40)]
    mongo_database.dead_letters.insert_many(stored)
    publisher, audit_log = Sends(), MemoryAuditLog()
    ids = [each["_id"] for each in stored]

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app_of(letters, publisher, audit_log))
        async with httpx.AsyncClient(transport=transport, base_url="http://kith") as client:
            headers = {"Authorization": "Bearer kith_x"}
            return await client.post("/v1/dead-letters/replay", json={"ids": ids}, headers=headers)

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()) == (200, {"replayed": 40, "left_out": []})
    assert (sum(publisher.together), max(publisher.together)) == (40 * len(value), 4 * len(value))
    assert [entry["subject"] for entry in audit_log.chains["good"]] == [{"letter": id} for id in sorted(ids)]
    assert audit_log.writes == 1
