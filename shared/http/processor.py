"""The processor of this process, in shares between tenants: Python computes in one thread at a time.

Turns alone do not keep a tenant from the processor: as soon as its piece of work has ended, its next one begins,
and everybody else's is interrupted by it again and again. So while several tenants want the processor, who has
used more than its share waits until that is made up for. A share is of the time that the process gets: where other
processes want the same processor, its own work takes longer, and counts for as long as it takes.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from shared.contracts.limits import Owner

#: A tenant wants the processor until so long after its last piece of work.
ACTIVE_SECONDS = 2.0
#: What a tenant may have used beyond its share before its next piece of work waits, and the most that counts.
BURST_SECONDS, MOST_SECONDS = 0.02, 0.5
#: What the event loop needs for a request, beside the work of its function.
REQUEST_SECONDS = 0.001
#: The most tenants that are counted: below a thirty-second of the processor there is nothing to share.
_MOST_ACTIVE = 32
_FORGET_SECONDS = 60.0


class Processor:
    """Thread-safe. Of *n* tenants that want it, each has 1/*n*; one that is alone has all of it."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, speed: Callable[[], float] = lambda: 1.0
    ) -> None:
        """``speed``: the part of a processor that the process gets of what it wants, above 0 and at most 1."""
        self._clock, self._speed = clock, speed
        self._lock = threading.Lock()
        #: By tenant, the least recent first: when it last wanted the processor, and what it had used beyond its
        #: share then, in seconds.
        self._tenants: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wanted(self, owner: Owner) -> None:
        """A request of ``owner`` has come."""
        self.spent(owner, REQUEST_SECONDS)

    def spent(self, owner: Owner, seconds: float) -> None:
        """``owner`` has used the processor for so long."""
        took = seconds / self._speed()
        with self._lock:
            now = self._clock()
            used = min(self._used(owner.tenant, now) + took, MOST_SECONDS)
            self._tenants[owner.tenant] = (now, used)
            self._tenants.move_to_end(owner.tenant)
            while now - next(iter(self._tenants.values()))[0] > _FORGET_SECONDS:
                self._tenants.popitem(last=False)

    def wait_seconds(self, owner: Owner) -> float:
        """How long the next piece of work of ``owner`` has to wait: 0 while it has some of its share left, or
        nobody else wants the processor."""
        if not owner.bounded:
            return 0.0
        with self._lock:
            now = self._clock()
            beyond = self._used(owner.tenant, now) - BURST_SECONDS
            active = self._active(owner.tenant, now)
            return beyond * active if beyond > 0 and active > 1 else 0.0

    def _used(self, tenant: str, now: float) -> float:
        since, used = self._tenants.get(tenant, (now, 0.0))
        return max(0.0, used - (now - since) / self._active(tenant, now)) if used else 0.0

    def _active(self, tenant: str, now: float) -> int:
        """The tenants that want the processor, with this one."""
        others = 0
        for other, (since, _) in reversed(self._tenants.items()):
            if now - since > ACTIVE_SECONDS or others == _MOST_ACTIVE:
                break
            others += other != tenant
        return 1 + others
