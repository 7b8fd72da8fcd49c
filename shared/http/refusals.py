"""Answers that wait for their turn: who is told 429 or 401 again and again is told so later and later, and so is
who asks without a credential.

Such an answer takes the event loop a millisecond, and that to an unknown key a read of MongoDB, too. Without this,
one credential or address that is answered hundreds of times a second would take all of it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from cachetools import LRUCache

from shared.contracts.limits import Owner

#: Refusals of one tenant that a process answers in a second, and the longest that one waits for its turn. Two are
#: answered at once: a client that keeps to Retry-After notices nothing.
A_SECOND, LONGEST_SECONDS, AT_ONCE = 20, 5.0, 2
#: The same of an address whose credentials are refused. Many clients may share one, so it has more.
OF_ADDRESS = (50, 50)
#: What an address is answered without a credential: pages load dozens of files.
OF_STRANGER = (200, 200)
_MOST = 10_000


class Refusals:
    """The turns of such answers, by tenant or address. For one event loop at a time. Each has ``a_second``, and
    ``at_once`` without waiting."""

    def __init__(
        self,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        a_second: int = A_SECOND,
        at_once: int = AT_ONCE,
    ) -> None:
        self._a_second, self._at_once = a_second, at_once
        self._clock, self._sleep = clock, sleep
        #: When the next one may be answered.
        self._next: LRUCache[str, float] = LRUCache(_MOST)

    async def wait(self, owner: Owner, gone: "asyncio.Future[None] | None" = None) -> None:
        """Return when ``owner`` may be answered, or when ``gone`` is done: nobody waits for the answer."""
        whose = owner.tenant or owner.key
        now = self._clock()
        earliest = max(self._next.get(whose, 0.0), now - self._at_once / self._a_second) + 1 / self._a_second
        self._next[whose] = min(earliest, now + LONGEST_SECONDS)
        if earliest <= now:
            return
        seconds = min(earliest - now, LONGEST_SECONDS)
        if gone is None:
            await self._sleep(seconds)
        else:
            await asyncio.wait([gone], timeout=seconds)
