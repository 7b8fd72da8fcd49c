"""Requests under way: endpoints of one tenant that never answer leave places for those of the others."""

import asyncio
from collections import Counter

from services.webhooks.delivery.tenant_semaphore import TenantSemaphore


class Requests:
    """Requests that are under way until ``answered`` is set."""

    def __init__(self, most: int) -> None:
        self.slots, self.answered = TenantSemaphore(most), asyncio.Event()
        self.began: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self, tenant: str, *, number: int = 1, answered: bool = False) -> list[asyncio.Task[None]]:
        """Begin what has a place; the rest waits."""
        made = [asyncio.create_task(self._request(tenant, answered)) for _ in range(number)]
        self.tasks += made
        for _ in range(5):
            await asyncio.sleep(0)
        return made

    async def _request(self, tenant: str, answered: bool) -> None:
        async with self.slots.slot(tenant):
            self.began.append(tenant)
            if not answered:
                await self.answered.wait()


def test_a_tenant_whose_endpoints_never_answer_has_half_of_the_places_and_delays_nobody() -> None:
    async def story() -> None:
        requests = Requests(200)
        await requests.begin("a", number=1_600)
        assert requests.began == ["a"] * 100
        [of_b] = await requests.begin("b", answered=True)
        assert of_b.done()
        assert requests.began[100:] == ["b"], "nobody else took the place of b"
        requests.answered.set()
        await asyncio.gather(*requests.tasks)
        assert Counter(requests.began) == {"a": 1_600, "b": 1}

    asyncio.run(story())


def test_who_waits_gets_a_place_in_turns_between_tenants() -> None:
    async def story() -> None:
        requests = Requests(2)
        for tenant in ("a", "b"):
            await requests.begin(tenant)
        for tenant, number in (("a", 3), ("b", 1), ("c", 2)):
            await requests.begin(tenant, number=number)
        assert requests.began == ["a", "b"]
        requests.answered.set()
        await asyncio.gather(*requests.tasks)
        # A turn each; and of one tenant nobody overtakes.
        assert sorted(requests.began[2:5]) == ["a", "b", "c"]
        assert sorted(requests.began[5:]) == ["a", "a", "c"]

    asyncio.run(story())


def test_what_is_cancelled_holds_no_place_whether_it_waited_or_had_one() -> None:
    async def story() -> None:
        requests = Requests(2)
        [first] = await requests.begin("a")
        waiting = await requests.begin("a", number=3)
        waiting[0].cancel()
        first.cancel()
        # The one behind has its place, and is cancelled before it can do anything with it.
        await asyncio.sleep(0)
        waiting[1].cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert requests.began == ["a", "a"]
        assert [each.done() for each in (first, *waiting)] == [True, True, True, False]
        requests.answered.set()
        await asyncio.gather(*requests.tasks, return_exceptions=True)
        [last] = await requests.begin("b", answered=True)
        assert last.done()

    asyncio.run(story())
