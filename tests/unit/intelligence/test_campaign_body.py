"""What the body of a campaign may not be."""

import asyncio
from typing import Any, cast

import httpx
import pytest

from services.intelligence.api import create_app
from tests.support.builders import OPEN, MemoryKith
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
