"""How fast the endpoints of an application are sent to: at the rate that the tenant grants it, evenly."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache

from cachetools import LRUCache
from limits import parse

_APPLICATIONS = 10_000
#: A rate that is changed holds for those who wait, too, after this many seconds at most.
_LOOK_SECONDS = 2.0


class RateLimits:
    """The turns of applications in this process. For one event loop."""

    def __init__(
        self,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        #: When the next delivery may be sent, and the rate that this follows from.
        self._next: LRUCache[str, tuple[float, str]] = LRUCache(_APPLICATIONS)

    async def turn(self, app: str, rate: Callable[[], str | None]) -> None:
        """Return when an application may be sent a delivery. ``rate`` returns the present one, such as
        ``50/second``; None: it has none."""
        while (wanted := rate()) is not None:
            now = self._clock()
            at, of = self._next.get(app, (0.0, wanted))
            # Turns of another rate do not count: there may be hours of them.
            mine = max(at, now) if of == wanted else now
            self._next[app] = mine + _interval(wanted), wanted
            while (left := mine - self._clock()) > 0 and rate() == wanted:
                await self._sleep(min(left, _LOOK_SECONDS))
            if left <= 0:
                return


@lru_cache(1024)
def _interval(rate: str) -> float:
    item = parse(rate)
    return float(item.get_expiry()) / item.amount
