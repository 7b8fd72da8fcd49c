"""The metrics of every service: whether it is ready, and which version it is."""

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge

from shared.contracts.revision import REVISION

#: A scrape asks the servers at most this often.
_KEPT_SECONDS = 5.0


def add_service_metrics(
    registry: CollectorRegistry,
    service: str,
    ready: Callable[[], Sequence[str]],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """``kith_service_ready`` and ``kith_service_info``. ``ready`` returns the reasons why the service is not
    ready; it may block for a moment."""
    known: list[tuple[float, float]] = []

    def state() -> float:
        if not known or clock() - known[0][0] > _KEPT_SECONDS:
            try:
                found = 0.0 if ready() else 1.0
            except Exception:
                # The health check tells of it; a scrape has to go on.
                found = 0.0
            known[:] = [(clock(), found)]
        return known[0][1]

    labels = ["service"]
    text = "1 if the service can do its work, as /health/ready says; 0 otherwise."
    Gauge("kith_service_ready", text, labels, registry=registry).labels(service).set_function(state)
    info = Gauge(
        "kith_service_info",
        "Always 1: the version in its labels.",
        [*labels, "version", "revision"],
        registry=registry,
    )
    info.labels(service, version("kith"), str(REVISION)).set(1)
