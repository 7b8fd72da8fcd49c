"""Metrics of the senders."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.webhooks.delivery.http_client import Answer


class SenderMetrics:
    """Registered in ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "kith_webhook_attempts",
            "Requests to endpoints, by the class of the answer.",
            ["answer"],
            registry=registry,
        )
        self._seconds = Histogram(
            "kith_webhook_attempt_seconds",
            "Duration of a request to an endpoint.",
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 5, 15),
            registry=registry,
        )
        self._settled = Counter(
            "kith_webhook_deliveries",
            "Outcomes of attempts: delivered, failed (tried again), given_up, dropped.",
            ["outcome"],
            registry=registry,
        )
        self._disabled = Counter(
            "kith_webhook_endpoints_disabled", "Endpoints disabled by failures or a 410.", registry=registry
        )
        self._lost = Counter(
            "kith_webhook_changes_lost",
            "Changes that retention had deleted before they were enqueued.",
            registry=registry,
        )
        self.sending = Gauge(
            "kith_webhook_endpoints_sending", "Endpoints that this process sends for.", registry=registry
        )
        self.unreadable = Gauge(
            "kith_webhook_apps_unreadable",
            "Applications stored in a form that this version cannot read; nothing is sent to their endpoints.",
            registry=registry,
        )
        self.waiting = Gauge(
            "kith_app_receipts_waiting",
            "What applications must be told and can be sent nowhere, counted up to 10,000.",
            registry=registry,
        )
        self._told = Counter(
            "kith_app_receipts",
            "What applications were told without subscribing: delivered, or given up.",
            ["outcome"],
            registry=registry,
        )
        for outcome in ("delivered", "given_up"):
            self._told.labels(outcome)

    def told(self, outcome: str, count: int = 1) -> None:
        if outcome in ("delivered", "given_up"):
            self._told.labels(outcome).inc(count)

    def attempted(self, answer: Answer) -> None:
        label = f"{answer.status // 100}xx" if answer.status is not None else "none"
        self._attempts.labels(label).inc()
        self._seconds.observe(answer.milliseconds / 1000)

    def settled(self, outcome: str) -> None:
        self._settled.labels(outcome).inc()

    def disabled(self) -> None:
        self._disabled.inc()

    def lost(self, changes: int) -> None:
        self._lost.inc(changes)
