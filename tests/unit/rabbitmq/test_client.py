"""What RabbitMQ adds to a message is no part of it, and what ends with a connection is an outage."""

import asyncio

import pytest
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelInvalidStateError
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from services.rabbitmq.client import RabbitConsumption
from services.rabbitmq.frames import delivery_of
from services.rabbitmq.judging import Bad
from services.rabbitmq.letters import record_of
from services.rabbitmq.protocols import Delivery
from shared.contracts.errors import InvalidEvent, Unavailable


def delivered(redelivered: bool, **counts: int) -> Delivery:
    headers = {"ce-id": "e1", **{name.replace("_", "-"): count for name, count in counts.items()}}
    header = ContentHeader(0, 2, Basic.Properties(message_id="m1", headers=headers))  # type: ignore[arg-type]
    deliver = Basic.Deliver("consumer", 7, redelivered, "", "orders")
    return delivery_of(DeliveredMessage(delivery=deliver, header=header, body=b"{}", channel=None))  # type: ignore[arg-type]


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


class Closing:
    """A channel that closes, with this error, while an acknowledgement waits for it."""

    def __init__(self, error: BaseException | type[BaseException]) -> None:
        self._error = error
        self.closing = asyncio.get_running_loop().create_future()
        self.on_consumer_cancel_callbacks: set[object] = set()

    async def basic_ack(self, tag: int, multiple: bool) -> None:  # noqa: ARG002
        waiting = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(waiting.set_exception, self._error)
        await waiting


def acknowledge(error: BaseException | type[BaseException]) -> None:
    async def work() -> None:
        await RabbitConsumption(Closing(error), 1).acknowledge(1)  # type: ignore[arg-type]

    asyncio.run(work())


@pytest.mark.parametrize("error", [ChannelInvalidStateError("closed"), asyncio.CancelledError, Exception])
def test_a_connection_that_closes_is_an_outage_by_whatever_error(error: BaseException) -> None:
    with pytest.raises(Unavailable):
        acknowledge(error)


def test_a_fault_of_the_code_is_none() -> None:
    with pytest.raises(ValueError, match="wrong"):
        acknowledge(ValueError("wrong"))


def test_a_task_that_is_cancelled_stays_so() -> None:
    async def work() -> None:
        task = asyncio.create_task(RabbitConsumption(Closing(ValueError()), 1).acknowledge(1))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(work())
