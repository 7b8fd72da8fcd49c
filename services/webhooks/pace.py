"""How fast the endpoints of an application are sent to: at the rate that the tenant grants it, evenly."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache

from cachetools import LRUCache
from limits import parse

_APPLICATIONS = 10_000


class Paces:
    """The turns of applications in this process. For one event loop."""

    def __init__(
        self,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        #: When the next delivery may be sent.
        self._next: LRUCache[str, float] = LRUCache(_APPLICATIONS)

    async def turn(self, app: str, rate: str) -> None:
        """Return when an application may be sent a delivery. ``rate`` is one such as ``50/second``."""
        now = self._clock()
        mine = max(self._next.get(app, 0.0), now)
        self._next[app] = mine + _interval(rate)
        if mine > now:
            await self._sleep(mine - now)


@lru_cache(1024)
def _interval(rate: str) -> float:
    item = parse(rate)
    return float(item.get_expiry()) / item.amount
