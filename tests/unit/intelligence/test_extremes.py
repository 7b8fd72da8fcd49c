"""Parameters at their ends: every answer is one, with numbers."""

import asyncio
import math
from itertools import product
from typing import Any, cast

import httpx
import pytest

from services.intelligence.api import create_app
from tests.support.builders import OPEN, MemoryKith, recorded
from tests.support.intelligence import MemoryIntelligence

ROUTES = (
    "/v1/affinity/c0/p0",
    "/v1/recommendations?consumer_id=c0",
    "/v1/recommendations?consumer_id=c0&known=true",
    "/v1/recommendations?provider_id=p0",
    "/v1/recommendations?provider_id=p0&known=true",
    "/v1/similar?consumer_id=c0",
    "/v1/similar?provider_id=p0",
    "/v1/neighbours/consumer/c0?depth=2",
    "/v1/neighbours/provider/p0?depth=2",
    "/v1/paths?from=consumer:c0&to=consumer:c3",
    "/v1/next?provider_id=p0",
)


@pytest.fixture(scope="module")
def app() -> Any:
    kith = MemoryKith(slice_events=200)
    kith.publish(
        [
            recorded(
                f"e{c}-{p}-{m}-{n}",
                f"2026-0{m}-01T00:00:00Z",
                f"r{c}-{p}-{m}-{n}",
                consumer_id=f"c{c}",
                provider_id=f"p{p}",
            )
            for c in range(12)
            for p in range(8)
            for m in range(1, 4)
            if (c * 5 + p * 3 + m) % 7 < 4
            for n in range(1 if c or p else 25)
        ]
    )
    kith.drain()
    service = MemoryIntelligence(kith)
    service.follow()
    unused = cast(Any, None)
    return create_app(service.questions, unused, unused, unused, list, access=OPEN)


@pytest.mark.parametrize("route", ROUTES)
def test_strengths_are_numbers_for_every_half_life_month_and_weight(app: Any, route: str) -> None:
    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kith") as client:
            for half_life, month, weight in product(
                ("0.01", "1200"), ("1970-01", "2026-03", "8999-12"), ("0", "1000000")
            ):
                query = {
                    "half_life_months": half_life,
                    "as_of": month,
                    "weights": f"purchase:{weight},view:{weight}",
                }
                if route.startswith("/v1/recommendations"):
                    query["record"] = "false"
                found = await client.get(str(httpx.URL(route).copy_merge_params(query)))
                assert found.status_code == 200, (query, found.text)
                assert not list(nameless(found.json())), query

    asyncio.run(ask())


def nameless(found: Any) -> Any:
    """Strengths and points that are no numbers."""
    if isinstance(found, list):
        for each in found:
            yield from nameless(each)
    elif isinstance(found, dict):
        for name, value in found.items():
            if name in ("strength", "points", "worth") and not (
                isinstance(value, int | float) and math.isfinite(value)
            ):
                yield name, value
            yield from nameless(value)
