"""Prometheus metrics of the door's verdicts."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter

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

    def answered(self, accepted: int, rejected: Sequence[Rejected]) -> None:
        self._accepted.inc(accepted)
        for verdict in rejected:
            self._rejected.labels(verdict.reason).inc()
