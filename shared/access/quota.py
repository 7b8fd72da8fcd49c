"""Rate limits per key, counted in each process: n processes of a service admit n times as much."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from shared.access.keys import NO_LIMIT
from shared.http.caller import Caller, Denied


@dataclass(frozen=True, slots=True)
class Quota:
    """The quota of a key: the limit, the requests left, and seconds until it is full again."""

    limit: int
    remaining: int
    reset: int

    def headers(self) -> Mapping[str, str]:
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }


class Quotas:
    """Counts the requests of each key. ``limit`` is for keys without a limit of their own."""

    def __init__(self, limit: str) -> None:
        self._limit = limit
        self._strategy = FixedWindowRateLimiter(MemoryStorage())

    async def take(self, caller: Caller) -> Quota | None:
        """Count one request of ``caller``. None when there is no limit. Raises Denied (429), with the quota."""
        wanted = caller.limit or self._limit
        if wanted == NO_LIMIT:
            return None
        item = _parsed(wanted)
        within = await self._strategy.hit(item, caller.tenant, caller.key)
        found = await self._strategy.get_window_stats(item, caller.tenant, caller.key)
        reset = max(1, round(found.reset_time - time.time() + 0.5))
        quota = Quota(item.amount, max(0, found.remaining), reset)
        if not within:
            detail = f"this key may send {item.amount} requests in {_period(item)}; try again in {reset} s"
            raise Denied(429, detail, {"Retry-After": str(reset), **quota.headers()})
        return quota


@lru_cache(1024)
def _parsed(limit: str) -> RateLimitItem:
    return parse(limit)


def _period(item: RateLimitItem) -> str:
    seconds = item.get_expiry()
    return "a second" if seconds == 1 else f"{seconds:,} s"
