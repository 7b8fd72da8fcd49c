"""Metrics of the apps service."""

from prometheus_client import CollectorRegistry, Counter


class AppMetrics:
    """Registered in ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "kith_app_token_requests",
            "Requests for access tokens: issued, or the error of OAuth 2.0 that was answered.",
            ["outcome"],
            registry=registry,
        )
        self._requests.labels("issued")

    def requested(self, outcome: str) -> None:
        self._requests.labels(outcome).inc()
