"""What the body of a campaign may not be."""

import asyncio
from typing import Any, cast

import httpx
import pytest
from fastapi.testclient import TestClient

from services.intelligence.api import create_app
from tests.support.builders import OPEN, MemoryKith, recorded
from tests.support.intelligence import MemoryIntelligence


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"consumer_ids": ["ann"], "limit": 2}', 200),
        (b'{"consumer_ids": ["ann"], "consumer_ids": ["bob"], "limit": 2}', 422),
    ],
)
def test_a_member_that_is_there_twice_is_refused(body: bytes, status: int) -> None:
    service = MemoryIntelligence(MemoryKith())
    service.follow()
    unused = cast(Any, None)
    app = create_app(service.questions, unused, unused, unused, list, access=OPEN)

    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kith") as client:
            headers = {"Kith-Tenant": "a", "Content-Type": "application/json"}
            return await client.post("/v1/campaigns", content=body, headers=headers)

    found = asyncio.run(answer())
    assert found.status_code == status, found.text
    assert status == 200 or found.json()["detail"].startswith("consumer_ids: is there twice")


def test_a_campaign_takes_what_a_recommendation_takes_and_says_who_has_too_few_places() -> None:
    kith = MemoryKith(slice_events=200)
    facts = [
        recorded(
            f"e{c}-{p}",
            f"2026-0{1 + (c + p) % 9}-01T00:00:00Z",
            f"r{c}-{p}",
            consumer_id=f"c{c}",
            provider_id=f"p{p}",
            kind=("visit", "purchase")[(c + p) % 2],
        )
        for c in range(9)
        for p in range(7)
        if (c * 5 + p * 3) % 7 < 3 or (p == 0 and c < 8)
    ]
    kith.publish(facts)
    kith.drain()
    service = MemoryIntelligence(kith)
    service.follow()
    unused = cast(Any, None)
    app = create_app(service.questions, unused, unused, unused, list, access=OPEN)
    own: list[dict[str, Any]] = [
        {"kind": "visit"},
        {"weights": "visit:9,purchase:0.1"},
        {"half_life_months": 0.2},
    ]
    with TestClient(app, headers={"Kith-Tenant": "default"}) as client:
        ids = [f"c{n}" for n in range(9)]
        for query in ({}, *own):
            body = {"consumer_ids": ids, "limit": 3, "share": 0.0, **query}
            answer = client.post("/v1/campaigns", json=body).json()
            for each in answer["items"]:
                alone = client.get(
                    "/v1/recommendations",
                    params={
                        "consumer_id": each["consumer_id"],
                        "limit": 3,
                        "record": False,
                        "model": "walk",
                        **query,
                    },
                ).json()
                walked = [(place["provider_id"], place["score"]) for place in each["providers"] if place["score"]]
                assert walked == [(item["provider_id"], item["score"]) for item in alone["items"]]
            assert "because" not in answer["items"][0]["providers"][0]
            assert answer["as_of"]["half_life_months"] == query.get("half_life_months", 6.0)
        report = client.post("/v1/campaigns", json={"consumer_ids": ids, "limit": 3, "share": 1.0}).json()[
            "report"
        ]
        assert report["below"] == 1, "eight of nine know p0"
        many = {"consumer_ids": [f"x{n}" for n in range(201)], "explain": True}
        refused = client.post("/v1/campaigns", json=many)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "explain")
