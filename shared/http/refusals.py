"""Refusals that cost: who is told 429 again and again is told so later and later.

A refusal takes the event loop a millisecond. Without this, one credential that is refused hundreds of times a
second would take all of it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from cachetools import LRUCache

from shared.contracts.limits import Owner

#: Refusals of one tenant that a process answers in a second, and the longest that one waits for its turn. Two are
#: answered at once: a client that keeps to Retry-After notices nothing.
A_SECOND, LONGEST_SECONDS, AT_ONCE = 20, 5.0, 2
_TENANTS = 10_000


class Refusals:
    """The turns of refusals, by tenant. For one event loop at a time."""

    def __init__(
        self,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        #: When the next refusal may be answered.
        self._next: LRUCache[str, float] = LRUCache(_TENANTS)

    async def wait(self, owner: Owner) -> None:
        """Return when a refusal of ``owner`` may be answered."""
        whose = owner.tenant or owner.key
        now = self._clock()
        earliest = max(self._next.get(whose, 0.0), now - AT_ONCE / A_SECOND) + 1 / A_SECOND
        self._next[whose] = min(earliest, now + LONGEST_SECONDS)
        if earliest > now:
            await self._sleep(min(earliest - now, LONGEST_SECONDS))
