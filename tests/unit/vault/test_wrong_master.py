"""With another master key than the stored one a service is not ready, and its answers do not ask to wait."""

import asyncio
from datetime import UTC, datetime

import httpx
import orjson
import pytest
from fastapi import FastAPI

from services.ingest.api import create_app
from shared.contracts.errors import Unavailable, WrongMasterKey
from shared.contracts.services import SERVICES
from shared.contracts.topics import INPUTS
from shared.http.server import add_problem_handlers
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher
from shared.vault.keys import Vault
from shared.vault.master import EnvironmentKeys, new_master_key
from shared.vault.memory_store import MemoryKeyStore
from shared.vault.open import key_problems
from shared.vault.protocols import Wrapping
from tests.support.builders import OPEN, TOPICS
from tests.support.paths import ROOT
from tests.support.vault import memory_vault


def stranger(store: MemoryKeyStore) -> Vault:
    """A vault with a master key that the stored keys were not made with."""
    return Vault(store, EnvironmentKeys(new_master_key()), sleep=lambda _: None)


def filled() -> MemoryKeyStore:
    store = MemoryKeyStore()
    memory_vault(store).keys("default", ["ann"])
    return store


def test_the_right_key_none_and_an_empty_store_are_no_problem() -> None:
    store = filled()
    assert key_problems(memory_vault(store)) == []
    assert key_problems(None) == []
    empty = MemoryKeyStore()
    assert key_problems(stranger(empty)) == []
    assert not empty.wrappings(), "looking creates nothing"


def test_another_key_is_named_and_cannot_be_used() -> None:
    store = filled()
    vault = stranger(store)
    [problem] = key_problems(vault)
    assert store.wrappings()[0].master in problem
    assert "waiting does not help" in problem
    with pytest.raises(WrongMasterKey):
        vault.keys("default", ["ann"])
    with pytest.raises(WrongMasterKey):
        vault.keys("default", ["ben"])


def test_an_unavailable_store_is_reported_by_others() -> None:
    class Away(MemoryKeyStore):
        def wrappings(self) -> list[Wrapping]:
            raise Unavailable("MongoDB: away")

    assert key_problems(stranger(Away())) == []


def test_every_service_with_a_vault_looks_at_its_key() -> None:
    for service in SERVICES:
        root = (ROOT / "services" / service / "__main__.py").read_text()
        assert ("vault" in root) == ("key_problems(" in root), service


def ask(app: FastAPI, method: str, path: str, content: bytes = b"") -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(
                method, path, content=content, headers={"Content-Type": "application/json"}
            )

    return asyncio.run(send())


def assert_told(answer: httpx.Response) -> None:
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("/wrong-master-key")
    assert "waiting does not help" in answer.json()["detail"]
    assert "Retry-After" not in answer.headers


def test_a_request_is_told_that_waiting_does_not_help() -> None:
    app = FastAPI()
    add_problem_handlers(app)
    vault = stranger(filled())
    app.get("/")(lambda: vault.keys("default", ["ann"]))
    assert_told(ask(app, "GET", "/"))


def test_the_door_says_so_too_and_takes_nothing() -> None:
    log = MemoryLog({TOPICS.name(short): 1 for short in INPUTS})
    vault, now = stranger(filled()), datetime(2026, 11, 21, tzinfo=UTC)
    app = create_app(
        MemoryPublisher(log),
        TOPICS,
        Settings(kafka="127.0.0.1:1"),
        lambda: now,
        lambda: key_problems(vault),
        access=OPEN,
        vault=vault,
    )
    event = {
        "type": "consumer.upserted",
        "id": "1",
        "time": "2026-11-20T00:00:00Z",
        "data": {"consumer_id": "ann", "personal": {"name": "Ann"}},
    }
    assert_told(ask(app, "POST", "/v1/events", orjson.dumps([event])))
    assert not any(log.end(partition) for partition in log.records)
    ready = ask(app, "GET", "/health/ready")
    assert ready.status_code == 503
    assert "waiting does not help" in ready.json()["detail"]
