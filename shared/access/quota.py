"""How many requests, events and erasures a credential and a tenant may send in a period.

Counted in each process: n processes of a service admit n times as much. A batch of events counts as its events.
It is admitted while something is left, and what it takes beyond that is missing in the next periods: so the rate
holds, and no batch is too large for a small quota.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from typing import Literal

from cachetools import LRUCache
from limits import RateLimitItem, parse

from shared.access.keys import NO_LIMIT
from shared.contracts.limits import Owner
from shared.http.caller import Caller, Denied

What = Literal["requests", "events", "erasures"]
#: Counters that are kept; those not used for longest are forgotten.
_COUNTERS = 50_000


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


@dataclass(frozen=True, slots=True)
class Rates:
    """Limits such as ``100/second``, or ``none``: of a credential without one of its own, and of a tenant."""

    credential: str
    tenant: str = NO_LIMIT


@dataclass(slots=True)
class _Counter:
    began: float
    used: int = 0

    def at(self, now: float, item: RateLimitItem) -> "_Counter":
        """The counter as of ``now``: each period that is over has paid for its amount."""
        periods = floor((now - self.began) / item.get_expiry())
        if periods > 0:
            self.used = max(0, self.used - periods * item.amount)
            self.began = self.began + periods * item.get_expiry() if self.used else now
        return self


class Quotas:
    """Thread-safe. What is not given has no limit."""

    def __init__(
        self,
        requests: str | Rates,
        events: Rates | None = None,
        erasures: Rates | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        unlimited = Rates(NO_LIMIT)
        self._rates: dict[What, Rates] = {
            "requests": Rates(requests) if isinstance(requests, str) else requests,
            "events": events or unlimited,
            "erasures": erasures or unlimited,
        }
        self._clock = clock
        self._lock = threading.Lock()
        self._counters: LRUCache[tuple[str, What, Owner], _Counter] = LRUCache(_COUNTERS)

    def take(self, caller: Caller) -> Quota | None:
        """Count one request of ``caller``. None when its credential has no limit. Raises Denied (429), with the
        quota."""
        self._take(caller, "requests", 1)
        wanted = self._of_credential(caller, "requests")
        return None if wanted == NO_LIMIT else self._quota(caller, wanted)

    def charge(self, caller: Caller, what: What, amount: int) -> None:
        """Count ``amount`` events or erasures. Raises Denied (429) when the quota is used up already; then nothing
        is counted."""
        if amount:
            self._take(caller, what, amount)

    def check(self, caller: Caller, what: What) -> None:
        """Raise Denied (429) when ``charge`` would."""
        self._take(caller, what, 0)

    def _take(self, caller: Caller, what: What, amount: int) -> None:
        of_all = Owner(caller.tenant, "")
        limits = [
            ("this key", Owner(caller.tenant, caller.key), self._of_credential(caller, what)),
            ("this tenant", of_all, self._rates[what].tenant),
        ]
        with self._lock:
            now, counters = self._clock(), []
            for whose, owner, limit in limits:
                if limit == NO_LIMIT:
                    continue
                item = _parsed(limit)
                counter = self._counter(limit, what, owner, now).at(now, item)
                if counter.used >= item.amount:
                    over = (counter.used - item.amount) // item.amount + 1
                    seconds = _whole(counter.began + over * item.get_expiry() - now)
                    raise self._denied(caller, whose, what, item, seconds)
                counters.append(counter)
            for counter in counters:
                counter.used += amount

    def _quota(self, caller: Caller, limit: str) -> Quota:
        item, now = _parsed(limit), self._clock()
        counter = self._counter(limit, "requests", Owner(caller.tenant, caller.key), now)
        full = counter.began + ceil(counter.used / item.amount) * item.get_expiry()
        return Quota(item.amount, max(0, item.amount - counter.used), _whole(full - now))

    def _counter(self, limit: str, what: What, owner: Owner, now: float) -> _Counter:
        name = (limit, what, owner)
        if (found := self._counters.get(name)) is None:
            found = self._counters[name] = _Counter(now)
        return found

    def _of_credential(self, caller: Caller, what: What) -> str:
        return caller.limit or self._rates[what].credential

    def _denied(self, caller: Caller, whose: str, what: What, item: RateLimitItem, seconds: int) -> Denied:
        detail = f"{whose} may send {item.amount} {what} in {_period(item)}; try again in {seconds} s"
        wanted = self._of_credential(caller, "requests")
        quota = {} if wanted == NO_LIMIT else self._quota(caller, wanted).headers()
        return Denied(429, detail, {"Retry-After": str(seconds), **quota})


@lru_cache(1024)
def _parsed(limit: str) -> RateLimitItem:
    return parse(limit)


def _whole(seconds: float) -> int:
    return max(1, ceil(seconds))


def _period(item: RateLimitItem) -> str:
    seconds = item.get_expiry()
    return "a second" if seconds == 1 else f"{seconds:,} s"
