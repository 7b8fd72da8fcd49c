"""Metrics of the bridge."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class BridgeMetrics:
    """Registered in ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = Counter(
            "kith_rabbitmq_events",
            "Events from a queue, by outcome: accepted (in Kafka), rejected (a dead letter).",
            ["queue", "outcome"],
            registry=registry,
        )
        self._redelivered = Counter(
            "kith_rabbitmq_redelivered",
            "Messages that RabbitMQ had delivered before, without an acknowledgement.",
            ["queue"],
            registry=registry,
        )
        self._consuming = Gauge(
            "kith_rabbitmq_consuming", "Whether this process consumes the queue.", ["queue"], registry=registry
        )
        self._breaks = Counter(
            "kith_rabbitmq_interruptions",
            "Interruptions by an unavailable server: RabbitMQ, Kafka or MongoDB.",
            ["queue"],
            registry=registry,
        )
        self._published = Counter(
            "kith_rabbitmq_changes", "Changes that RabbitMQ has confirmed.", registry=registry
        )
        self._unrouted = Counter(
            "kith_rabbitmq_unrouted", "Changes that no queue is bound for, which nobody gets.", registry=registry
        )
        self._undeliverable = Gauge(
            "kith_rabbitmq_undeliverable",
            "Messages in kith-undeliverable: delivered a hundred times, and acknowledged by nobody.",
            registry=registry,
        )

    def settled(self, queue: str, accepted: int, rejected: int, redelivered: int) -> None:
        self._events.labels(queue, "accepted").inc(accepted)
        self._events.labels(queue, "rejected").inc(rejected)
        self._redelivered.labels(queue).inc(redelivered)

    def consuming(self, queue: str, consuming: bool) -> None:
        self._consuming.labels(queue).set(consuming)

    def interrupted(self, queue: str) -> None:
        self._breaks.labels(queue).inc()

    def undeliverable(self, messages: int) -> None:
        self._undeliverable.set(messages)

    def published(self, messages: int, unrouted: int) -> None:
        self._published.inc(messages)
        self._unrouted.inc(unrouted)
