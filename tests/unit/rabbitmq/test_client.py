"""What RabbitMQ adds to a message is no part of it."""

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from services.rabbitmq.client import _delivery
from services.rabbitmq.judging import Bad
from services.rabbitmq.letters import record_of
from services.rabbitmq.protocols import Delivery
from shared.contracts.errors import InvalidEvent


def delivered(redelivered: bool, **counts: int) -> Delivery:
    headers = {"ce-id": "e1", **{name.replace("_", "-"): count for name, count in counts.items()}}
    header = ContentHeader(0, 2, Basic.Properties(message_id="m1", headers=headers))  # type: ignore[arg-type]
    deliver = Basic.Deliver("consumer", 7, redelivered, "", "orders")
    return _delivery(DeliveredMessage(delivery=deliver, header=header, body=b"{}", channel=None))  # type: ignore[arg-type]


def test_a_redelivery_is_the_same_message_and_the_same_dead_letter() -> None:
    deliveries = [
        delivered(False),
        delivered(True, x_delivery_count=1),
        delivered(True, x_delivery_count=2, x_acquired_count=3),
    ]
    assert [each.redelivered for each in deliveries] == [False, True, True]
    assert [each.properties.headers for each in deliveries] == [{"ce-id": "e1"}] * 3
    error = InvalidEvent("invalid", "is required", "time")
    letters = {record_of("orders", Bad(each.body, each.properties, error), 1) for each in deliveries}
    assert len(letters) == 1
