"""Prometheus metrics of the door's verdicts."""

import math
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.ingest.door import Rejected


class DoorMetrics:
    """Counts the events of answered requests. Events of a request that failed as a whole are not counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._accepted = Counter(
            "kith_door_events_accepted", "Events that every replica has acknowledged.", registry=registry
        )
        self._rejected = Counter(
            "kith_door_events_rejected", "Events that the door rejected.", ["reason"], registry=registry
        )

        self._rate = Gauge(
            "kith_door_tenant_rate",
            "Events a second that each tenant may send; +Inf while there is one tenant only.",
            registry=registry,
        )
        self._rate.set(math.inf)
        self._slowed = Counter(
            "kith_door_requests_slowed", "Requests that tenants sent beyond that rate: 429.", registry=registry
        )

    def watch(self, rate: Callable[[], float]) -> None:
        """Export what each tenant may send in a second."""
        self._rate.set_function(rate)

    def slowed(self) -> None:
        self._slowed.inc()

    def answered(self, accepted: int, rejected: Sequence[Rejected]) -> None:
        self._accepted.inc(accepted)
        for verdict in rejected:
            self._rejected.labels(verdict.reason).inc()
