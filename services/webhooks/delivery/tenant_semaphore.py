"""Slots for what takes long and costs little, such as a request to an endpoint that may never answer."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class TenantSemaphore:
    """For one event loop. ``most`` at once, half of them for one tenant: one that holds its slots for as long as
    it can leaves some for the others. Those who wait get one in turns, tenant by tenant."""

    def __init__(self, most: int) -> None:
        self._free, self._of_tenant = most, max(1, most // 2)
        self._held: Counter[str] = Counter()
        #: In the order of their turns.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def slot(self, tenant: str) -> AsyncIterator[None]:
        """Hold a slot until the end of the block."""
        await self._take(tenant)
        try:
            yield
        finally:
            self._give(tenant)

    async def _take(self, tenant: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        self._next()
        try:
            await turn
        except asyncio.CancelledError:
            # Cancelled while it waited, unless it has its slot already.
            if not turn.cancelled():
                self._give(tenant)
            raise

    def _give(self, tenant: str) -> None:
        self._free += 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        self._next()

    def _next(self) -> None:
        """Give free slots to those whose turn it is."""
        for tenant in list(self._waiting):
            turns = self._waiting[tenant]
            while turns and turns[0].cancelled():
                turns.popleft()
            if turns and self._free and self._held[tenant] < self._of_tenant:
                self._free -= 1
                self._held[tenant] += 1
                turns.popleft().set_result(None)
                # Behind the others.
                del self._waiting[tenant]
                self._waiting[tenant] = turns
            if not turns:
                del self._waiting[tenant]
