"""What computes for long on the graph of one tenant: others are answered meanwhile, and changes are followed."""

import asyncio
import threading
from typing import Any, cast

import httpx
import pytest

from services.intelligence import model_routes
from services.intelligence.api import create_app
from services.intelligence.engine import Graph, Question, campaign
from services.intelligence.engine.campaign import Campaign
from services.intelligence.parameters import RecommendQuery
from services.intelligence.queue_lock import QueueLock
from shared.http.caller import SCOPES, Caller
from tests.support.builders import OPEN, MemoryKith, event
from tests.support.intelligence import MemoryIntelligence
from tests.support.waiting import PATIENCE_SECONDS, wait_equal


def visits(tenant: str, kith: MemoryKith, number: int) -> None:
    events = [
        event(
            "relation.recorded",
            f"{tenant}-{number}-{consumer}-{provider}",
            "2026-10-01T00:00:00Z",
            {
                "relation_id": f"r{number}-{consumer}-{provider}",
                "kind": "visit",
                "consumer_id": f"c{consumer}",
                "provider_id": f"p{number}{provider}",
            },
            tenant=tenant,
        )
        for consumer in range(4)
        for provider in range(3)
        if consumer != provider
    ]
    kith.publish(events)
    kith.drain()


def test_others_are_answered_and_changes_followed_while_a_campaign_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kith = MemoryKith()
    for tenant in ("a", "b"):
        visits(tenant, kith, 0)
    service = MemoryIntelligence(kith)
    service.follow()
    tail = service.follower._open_tail()
    unused = cast(Any, None)
    app = create_app(service.questions, unused, unused, unused, list, access=OPEN)
    beside: list[Any] = []

    def ask(method: str, path: str, tenant: str, body: Any = None) -> Any:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://kith") as client:
                return await client.request(method, path, json=body, headers={"Kith-Tenant": tenant})

        found = asyncio.run(answer())
        assert found.status_code == 200, found.text
        return found.json()

    def others() -> None:
        visits("a", kith, 1)
        service.follower._take(tail)
        beside.append(ask("GET", "/v1/neighbours/provider/p10", "a"))
        beside.append(ask("GET", "/v1/recommendations?consumer_id=c0&record=false", "b"))

    def slow(graph: Graph, consumers: list[str], question: Question, share: float) -> Campaign:
        meanwhile = threading.Thread(target=others, daemon=True)
        meanwhile.start()
        meanwhile.join(PATIENCE_SECONDS)
        return campaign(graph, consumers, question, share)

    wanted = {"consumer_ids": ["c0", "c1", "c2"], "limit": 2}
    before = ask("POST", "/v1/campaigns", "a", wanted)
    monkeypatch.setattr(model_routes, "campaign", slow)
    assert ask("POST", "/v1/campaigns", "a", wanted) == before, "as of its beginning"
    assert [bool(found.get("nodes") or found.get("items")) for found in beside] == [True, True]
    monkeypatch.undo()
    assert ask("POST", "/v1/campaigns", "a", wanted) != before


def test_a_tenant_whose_graph_is_asked_for_long_keeps_nobody_else_from_an_answer() -> None:
    kith = MemoryKith()
    for tenant in ("a", "b"):
        visits(tenant, kith, 0)
    service = MemoryIntelligence(kith)
    service.follow()
    caller = Caller("b", frozenset(SCOPES))
    found: list[Any] = []
    with service.follower.reading("a"):
        query = RecommendQuery(consumer_id="c0")
        asking = threading.Thread(
            target=lambda: found.append(service.questions.recommend(caller, "consumer", "c0", query)), daemon=True
        )
        asking.start()
        asking.join(PATIENCE_SECONDS)
    assert found[0]["items"]


def test_who_waits_for_a_graph_has_it_in_the_order_of_coming() -> None:
    lock, order = QueueLock(), list[int]()

    def take(number: int) -> None:
        with lock:
            order.append(number)

    with lock:
        threads = [threading.Thread(target=take, args=(number,), daemon=True) for number in range(5)]
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_equal(lambda: len(lock._waiting), number)
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert order == [0, 1, 2, 3, 4]
