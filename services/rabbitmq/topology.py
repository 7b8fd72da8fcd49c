"""What the bridge declares in RabbitMQ. Pure."""

from collections.abc import Collection, Mapping

from services.rabbitmq.protocols import ExchangeSpec, QueueSpec, Topology

#: Deliveries of one message that end without an acknowledgement, before RabbitMQ lays it aside in ``ASIDE``.
#: A bad message never comes so far: it becomes a dead letter of Kith. A bridge that is killed while it holds a
#: message costs one. RabbitMQ 4 has a limit of 20 by default, and drops.
DELIVERY_LIMIT = 100
#: The exchange and the queue of messages that were delivered so often.
ASIDE = "kith-undeliverable"


#: Of a queue of events: replicated, in order, and losing nothing.
QUEUE_ARGUMENTS: Mapping[str, object] = {
    "x-queue-type": "quorum",
    # One bridge at a time consumes it, so that a consumer's events stay in order. Others stand by.
    "x-single-active-consumer": True,
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-dead-letter-exchange": ASIDE,
    "x-dead-letter-strategy": "at-least-once",
    # At least once demands it: a full queue refuses messages, and drops none.
    "x-overflow": "reject-publish",
}


def topology(queues: Collection[str], exchange: str | None) -> Topology:
    """The exchange of the changes (None: changes do not go out) and the ``queues`` of events."""
    exchanges = [ExchangeSpec(exchange, "topic")] if exchange is not None else []
    if not queues:
        return Topology(tuple(exchanges), ())
    exchanges.append(ExchangeSpec(ASIDE, "fanout"))
    return Topology(
        tuple(exchanges),
        (
            QueueSpec(ASIDE, {"x-queue-type": "quorum"}, bound_to=ASIDE),
            *(QueueSpec(name, dict(QUEUE_ARGUMENTS)) for name in queues),
        ),
    )
