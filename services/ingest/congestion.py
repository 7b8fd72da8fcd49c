"""What a tenant may send while the workers are behind.

All tenants' events go through the same partitions, so whoever sends faster than the workers store makes
everybody's events late, however soon the door answers. While they are late, each tenant may send so many events a
second, the same for all: that rate falls until the workers keep up, and rises while they do (additive increase,
multiplicative decrease, as in TCP: Chiu and Jain, 1989). A tenant that sends less notices nothing.

A tenant that is alone may be as late as it likes. So may everybody while nothing is stored at all: what comes
then waits in Kafka, which is what it is for.
"""

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

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
#: A tenant may always send so many events a second; what it may send is no limit any more beyond the most.
LEAST, MOST = 100.0, 100_000.0
#: How often to look at the workers.
LOOK_SECONDS = 0.5
_TIMEOUT_SECONDS = 2.0
_LESS, _MORE, _MORE_EVENTS = 0.7, 1.1, 10.0
#: Workers that come nearer by so many seconds in a second catch up.
_CATCHING_UP = 0.2
#: How much faster it rises while no worker is behind at all.
_FREE = 3.0
#: The part that the latest half second has in a tenant's rate.
_LATEST = 0.3
#: Who has sent an event within this time is there; of so many tenants at most.
_THERE_SECONDS, _MOST_TENANTS = 3600.0, 10_000


@dataclass(slots=True)
class _Sender:
    """``beyond``: events that the rate has not paid for at ``at``; ``count`` those since the last look; ``rate``
    those of a second."""

    at: float
    beyond: float = 0.0
    count: int = 0
    rate: float = 0.0


class TenantRate:
    """How many events a second each tenant may send at present. Thread-safe."""

    def __init__(self, target_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``target_seconds``: how far the workers may be behind."""
        self._target, self._clock = target_seconds, clock
        self._lock = threading.Lock()
        #: By tenant, the one that has sent nothing for longest first.
        self._senders: OrderedDict[str, _Sender] = OrderedDict()
        self._looked_at, self._behind = clock(), 0.0
        #: Events a second; infinite while everybody may send what its quota says.
        self.most = math.inf

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
            paid = (now - sender.at) * self.most if now > sender.at else 0.0
            sender.beyond, sender.at = max(0.0, sender.beyond - paid), now
            if sender.beyond >= self.most:
                raise self._denied(math.ceil((sender.beyond - self.most) / self.most + 0.001))
            if events:
                sender.count += events
                sender.beyond += events

    def looked(self, behind: float) -> None:
        """The workers are so many seconds behind: lower or raise the rate."""
        with self._lock:
            now, before = self._clock(), self._behind
            seconds, self._looked_at, self._behind = max(now - self._looked_at, 0.001), now, behind
            while self._senders and now - next(iter(self._senders.values())).at >= _THERE_SECONDS:
                self._senders.popitem(last=False)
            busiest, there = 0.0, len(self._senders)
            for sender in self._senders.values():
                latest = sender.count / seconds
                sender.rate, sender.count = sender.rate + _LATEST * (latest - sender.rate), 0
                busiest = max(busiest, sender.rate)
            if behind > self._target and there > 1:
                # What was sent before the rate fell has to be stored first, and what has come during an outage.
                if behind > before - _CATCHING_UP * seconds or self.most == math.inf:
                    self._set(max(LEAST, min(self.most, busiest) * _LESS))
            elif self.most < math.inf:
                more = self.most * (_MORE - 1) + _MORE_EVENTS
                most = self.most + more * (1.0 if behind else _FREE)
                self._set(most if most < MOST and there > 1 else math.inf)

    def _set(self, most: float) -> None:
        if (self.most < math.inf) != (most < math.inf):
            state = f"{most:,.0f} events a second" if most < math.inf else "what its quota says"
            log.info("the workers are %.1f s behind: each tenant may send %s", self._behind, state)
        self.most = most

    def _denied(self, seconds: int) -> Denied:
        detail = (
            f"what all tenants send is stored {self._behind:.1f} s late at present, so each may send "
            f"{self.most:,.0f} events a second; try again in {seconds} s"
        )
        return Denied(429, detail, {"Retry-After": str(seconds)}, kind=SHARE_USED_UP)


class WorkersBehind:
    """Reads how far the workers are behind each time it is called, and calls ``looked`` with it."""

    def __init__(self, database: Database[Document], looked: Callable[[float], None]) -> None:
        self._workers, self._looked = database[WORKERS], looked

    def __call__(self) -> None:
        try:
            behind = self.look()
        except PyMongoError as error:
            # Nothing is stored then.
            log.debug("how far the workers are behind cannot be read: %s", error)
            behind = 0.0
        self._looked(behind)

    def look(self) -> float:
        """How many seconds the worker that is most behind is behind. Raises PyMongoError."""
        silent = {"$subtract": ["$$NOW", int(SILENT_SECONDS * 1000)]}
        late = {"service": {"$in": SERVICES}, "behind": {"$gt": 0}, "$expr": {"$gte": ["$at", silent]}}
        with pymongo.timeout(_TIMEOUT_SECONDS):
            return max((each["behind"] for each in self._workers.find(late, {"behind": 1})), default=0.0)
