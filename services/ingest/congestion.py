"""What a tenant may send while there are others.

All tenants' events go through the same partitions, so whoever sends faster than the workers store makes
everybody's events late, however soon the door answers. So each tenant may send so many events a second, the same
for all: that rate falls when the workers are behind, and rises while it is used and they are not (multiplicative
decrease; Chiu and Jain, 1989). It begins low, because nobody knows yet what the workers can store (as in TCP's
slow start; RFC 5681), and is kept for the next flood. A tenant that sends less notices nothing.

A tenant that is alone may be as late as it likes. So may everybody while nothing is stored at all: what comes
then waits in Kafka, which is what it is for.
"""

import asyncio
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile

import pymongo
from pymongo.database import Database
from pymongo.errors import PyMongoError

from shared.http.caller import Caller, Denied
from shared.http.problems.client import SHARE_USED_UP
from shared.observability.heartbeat import SILENT_SECONDS, WORKERS
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

#: Whose lateness counts: what they store is what others ask for. A sink waits for a server that is not Kith's.
SERVICES = ("relations", "analytics", "webhooks")
#: Events a second of a tenant: at first, always, and at most.
START, LEAST, MOST = 1_000.0, 100.0, 100_000.0
#: How often to look at the workers while something is sent.
LOOK_SECONDS = 0.1
_TIMEOUT_SECONDS = 2.0
#: A lower rate shows in what the workers say only after so long, or when they have stored what was sent before: it
#: is not lowered again until then, or for so long.
_SHOWS_SECONDS, _MOST_SHOWS_SECONDS = 0.3, 2.0
#: The rate falls to this part at least, and so far that what waits is stored within a second.
_LEAST_PART = 0.3
#: By what part the rate rises in a second while it is used and no worker is behind:
#: slowly between these parts of the rate at which workers last were behind, as in CUBIC (RFC 9438).
_SLOWLY, _FAST, _NEAR = 0.15, 1.0, (0.6, 1.5)
#: It is used while a tenant sends more than this part of it, so it is never far above what was stored in time.
_USED = 0.5
#: Workers that are behind by so much more, at once, have stood.
_JUMP_SECONDS = 1.0
#: Workers that come nearer by so many seconds in a second catch up.
_CATCHING_UP = 0.2
#: The time over which a tenant's rate is measured, and for how long it counts after the last event.
_RATE_SECONDS, _LATELY_SECONDS = 0.3, 2.0
#: A tenant may have so many seconds of its rate, and so many events at least, admitted and not yet due, and so
#: many requests that wait for them, for so many seconds at most.
_AHEAD_SECONDS, _AHEAD_EVENTS, _MOST_WAITING, MOST_WAIT_SECONDS = 1.0, 100.0, 16, 3.0
#: What is due this soon, goes at once. What waits asks again so often, because the rate may have changed.
_AT_ONCE_SECONDS, _ASK_SECONDS = 0.005, 0.05
#: Who has sent an event within this time is there; of so many tenants at most.
_THERE_SECONDS, _MOST_TENANTS = 3600.0, 10_000


@dataclass(slots=True)
class _Sender:
    """A tenant at the time ``at``. ``ahead`` are its events that were admitted, ``early`` those also published,
    before they were due. ``waiting``: requests; ``count``: events since the last look; ``rate``: events a
    second."""

    at: float
    ahead: float = 0.0
    early: float = 0.0
    waiting: int = 0
    count: int = 0
    rate: float = 0.0

    def pass_time(self, now: float, most: float) -> None:
        due = (now - self.at) * most if now > self.at else 0.0
        self.at, self.ahead, self.early = now, max(0.0, self.ahead - due), max(0.0, self.early - due)


class TenantRate:
    """How many events a second each tenant may send at present. Thread-safe."""

    def __init__(
        self,
        target_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        """``target_seconds``: how far the workers may be behind. ``refused`` is called for each request that
        is."""
        self._target, self._clock, self._refused = target_seconds, clock, refused
        self._lock = threading.Lock()
        #: By tenant, in the order of their times: the one that has sent nothing for longest first.
        self._senders: OrderedDict[str, _Sender] = OrderedDict()
        self._looked_at = self._lowered_at = clock()
        self._behind = self._behind_then = 0.0
        self._sent_at = -math.inf
        self._learned, self._too_much = START, MOST

    @property
    def most(self) -> float:
        """Events a second; infinite for a tenant that is alone."""
        return self._learned if len(self._senders) > 1 else math.inf

    @property
    def wanted(self) -> bool:
        """Whether something that was sent may be behind."""
        return self._behind > 0 or self._clock() - self._sent_at < _LATELY_SECONDS

    def check(self, caller: Caller) -> None:
        """Raise Denied (429) when ``charge`` would."""
        self.charge(caller, 0)

    def charge(self, caller: Caller, events: int) -> None:
        """Count events of the caller's tenant. Raises Denied (429) when it has sent what it may; then nothing is
        counted. A credential that is bound to no tenant has no limit."""
        if not caller.bound:
            return
        with self._lock:
            now = self._clock()
            sender = self._senders.get(caller.tenant)
            if sender is None:
                sender = self._senders[caller.tenant] = _Sender(now)
                if len(self._senders) > _MOST_TENANTS:
                    self._senders.popitem(last=False)
            self._senders.move_to_end(caller.tenant)
            if now - sender.at > _LATELY_SECONDS:
                sender.count, sender.rate = 0, 0.0
            sender.pass_time(now, most := self.most)
            too_many = sender.ahead - max(most * _AHEAD_SECONDS, _AHEAD_EVENTS)
            if too_many >= 0 or (sender.waiting >= _MOST_WAITING and most < math.inf):
                self._refused()
                raise self._denied(max(1, math.ceil(too_many / most + 0.001)))
            if events:
                self._sent_at = now
                sender.ahead += events

    async def turn(self, caller: Caller, events: int) -> None:
        """Return when so many events of those that were charged are due, or have waited as long as they may."""
        if not (wait := self.wait_seconds(caller, events)):
            return
        until = self._clock() + MOST_WAIT_SECONDS
        sender = self._senders.get(caller.tenant, _Sender(0.0))
        sender.waiting += 1
        try:
            while wait:
                await asyncio.sleep(wait)
                wait = self.wait_seconds(caller, events, must=self._clock() >= until)
        finally:
            sender.waiting -= 1

    def wait_seconds(self, caller: Caller, events: int, *, must: bool = False) -> float:
        """0 if so many events of those that were charged are due, so that those of a tenant come evenly: they
        count as published then. Otherwise they are to be asked for again after so many seconds. What ``must`` be
        published is due."""
        if not caller.bound:
            return 0.0
        with self._lock:
            now, most = self._clock(), self.most
            if (sender := self._senders.get(caller.tenant)) is None:
                return 0.0
            if most < math.inf:
                sender.pass_time(now, most)
                self._senders.move_to_end(caller.tenant)
                if not must and (seconds := sender.early / most) > _AT_ONCE_SECONDS:
                    return min(seconds, _ASK_SECONDS)
                sender.early += events
            sender.count += events
            return 0.0

    def looked(self, behind: float) -> None:
        """The workers are so many seconds behind: lower or raise the rate."""
        with self._lock:
            now = self._clock()
            seconds, before = max(now - self._looked_at, 0.001), self._behind
            self._looked_at, self._behind = now, behind
            if behind - before > seconds + _JUMP_SECONDS:
                self._lowered_at, self._behind_then = now, behind
            while self._senders and now - next(iter(self._senders.values())).at >= _THERE_SECONDS:
                self._senders.popitem(last=False)
            busiest, part = 0.0, 1 - math.exp(-seconds / _RATE_SECONDS)
            for sender in self._lately(now):
                sender.rate += part * (sender.count / seconds - sender.rate)
                sender.count = 0
                busiest = max(busiest, sender.rate)
            if behind > self._target:
                self._lower(busiest, now)
            elif not behind and busiest >= _USED * self._learned:
                near = _NEAR[0] * self._too_much < self._learned < _NEAR[1] * self._too_much
                more = (_SLOWLY if near else _FAST) * min(seconds, 2 * LOOK_SECONDS)
                self._learned = min(MOST, self._learned * (1 + more))

    def _lately(self, now: float) -> Iterator[_Sender]:
        return takewhile(lambda sender: now - sender.at <= _LATELY_SECONDS, reversed(self._senders.values()))

    def _lower(self, busiest: float, now: float) -> None:
        """Lower the rate unless that was done just now, or the workers catch up: what was sent before it fell has
        to be stored first, and what has come during an outage. Where nobody sends more than the least, something
        else makes the workers late."""
        since = now - self._lowered_at
        if busiest <= LEAST or since < min(max(_SHOWS_SECONDS, self._behind_then), _MOST_SHOWS_SECONDS):
            return
        if self._behind > self._behind_then - _CATCHING_UP * since:
            before = self._learned
            self._too_much = min(before, busiest)
            self._learned = max(LEAST, self._too_much * max(_LEAST_PART, 1 - self._behind))
            for sender in self._lately(now):
                # What was admitted waits as long as it may, however low the rate is now.
                sender.ahead *= min(1.0, self._learned / before)
            log.debug("workers are %.1f s behind: %.0f events a second", self._behind, self._learned)
        self._lowered_at, self._behind_then = now, self._behind

    def _denied(self, seconds: int) -> Denied:
        detail = (
            f"each tenant may send {self.most:,.0f} events a second at present, so that nobody's are stored late; "
            f"try again in {seconds} s"
        )
        return Denied(429, detail, {"Retry-After": str(seconds)}, kind=SHARE_USED_UP)


class WorkersBehind:
    """Reads how far the workers are behind each time it is called, if that is wanted, and says so to the rate."""

    def __init__(self, database: Database[Document], rate: TenantRate) -> None:
        self._workers, self._rate = database[WORKERS], rate

    def __call__(self) -> None:
        if not self._rate.wanted:
            return
        try:
            behind = self.look()
        except PyMongoError as error:
            # Nothing is stored then.
            log.debug("how far the workers are behind cannot be read: %s", error)
            behind = 0.0
        self._rate.looked(behind)

    def look(self) -> float:
        """How many seconds the worker that is most behind is behind. Raises PyMongoError."""
        silent = {"$subtract": ["$$NOW", int(SILENT_SECONDS * 1000)]}
        late = {"service": {"$in": SERVICES}, "behind": {"$gt": 0}, "$expr": {"$gte": ["$at", silent]}}
        with pymongo.timeout(_TIMEOUT_SECONDS):
            return max((each["behind"] for each in self._workers.find(late, {"behind": 1})), default=0.0)
