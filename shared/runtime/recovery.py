"""What follows a failure: when a partition is tried again, with how many events, and what the log says of an
outage.

A server that is unavailable fails every partition in turn; the log names its end once.
"""

import logging
import random
from collections.abc import Callable, Collection, Iterable

from shared.contracts.errors import Stale, Unavailable
from shared.runtime.partition_state import PartitionState
from shared.runtime.protocols import Partition, Polled

log = logging.getLogger(__name__)

_FIRST_DELAY, _LONGEST_DELAY = 0.1, 5.0
# A race may be lost to a transaction that a dead process left open. It lasts until its session expires, and a
# while more.
_QUICK_RACES, _MOST_RACING_SECONDS = 10, 300.0
#: With which an error says whose it is.
_SERVERS = ("Kafka", "MongoDB", "Postgres", "Cassandra", "RabbitMQ")


class Recovery:
    """``clock`` returns seconds; ``slice_events`` is the most that a slice holds."""

    def __init__(self, clock: Callable[[], float], slice_events: int) -> None:
        self._clock, self._slice_events = clock, slice_events
        #: The servers that are unavailable, and since when.
        self._outages: dict[str, float] = {}

    def postpone(self, state: PartitionState, step: str, error: Unavailable) -> None:
        """Try the partition again later, and ever later while it fails."""
        delay = min(_FIRST_DELAY * 2.0 ** min(state.failures, 16), _LONGEST_DELAY)
        state.failures += 1
        server = _server_of(step, error)
        known = server in state.unavailable.values()
        # What MongoDB refuses between two publications is the deletion of what is published.
        state.unavailable["publish" if step == "publish" and server != "MongoDB" else "store"] = server
        state.retry_at = self._clock() + delay
        self._outages.setdefault(server, self._clock())
        level = logging.DEBUG if known else logging.WARNING
        log.log(level, "%s: waiting for a server: %s", state.partition, error)

    def retry_smaller(self, state: PartitionState, error: Stale) -> None:
        """Retry with fewer events: mongod also reports a conflict when a transaction does not fit its cache.
        Raises RuntimeError when that has not helped for minutes."""
        if state.races == 0:
            state.racing_since = self._clock()
        state.races += 1
        if self._clock() - state.racing_since > _MOST_RACING_SECONDS:
            raise RuntimeError(f"{state.partition}: lost {state.races} races in a row: {error}") from error
        state.most = max(1, min(state.most or self._slice_events, self._slice_events) // 2)
        delay = min(_FIRST_DELAY * 2.0 ** max(0, min(state.races - _QUICK_RACES, 16)), _LONGEST_DELAY)
        state.retry_at = self._clock() + delay * random.random()

    def report(self, partitions: Iterable[PartitionState]) -> None:
        """Log the end of each outage that none of the ``partitions`` suffers from any more."""
        if not self._outages:
            return
        for server in self._outages.keys() - _suffered(partitions):
            log.info("%s answers again after %.0f s", server, self._clock() - self._outages.pop(server))

    def rebalanced(self, polled: Polled, partitions: Collection[PartitionState]) -> None:
        """Log which partitions came and went; ``partitions`` are those in hand now. Outages that only the revoked
        ones suffered from are forgotten: nobody here knows how they end."""
        if polled.revoked:
            for server in self._outages.keys() - _suffered(partitions):
                del self._outages[server]
        # What is revoked and assigned again at once has not moved.
        gained, lost = polled.assigned - polled.revoked, polled.revoked - polled.assigned
        if gained or lost:
            message = "rebalance: gained %s; lost %s; %d in hand"
            log.info(message, _named(gained), _named(lost), len(partitions))


def _named(partitions: Iterable[Partition]) -> str:
    """Names partitions as in "kith.consumers/0,2 kith.relations/1"."""
    numbers: dict[str, list[int]] = {}
    for topic, number in sorted(partitions):
        numbers.setdefault(topic, []).append(number)
    return " ".join(f"{topic}/{','.join(map(str, each))}" for topic, each in numbers.items()) or "none"


def _suffered(partitions: Iterable[PartitionState]) -> set[str]:
    return {server for state in partitions for server in state.unavailable.values()}


def _server_of(step: str, error: Unavailable) -> str:
    """Whose error it is: as it says itself, or else whose the step is."""
    first = str(error).partition(" ")[0].rstrip(":")
    if first in _SERVERS:
        return first
    return "Kafka" if step == "publish" or "broker" in str(error) else "MongoDB"
