"""What is under way at the door, and who waits for it."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack

import pytest

from services.ingest.delivery import MAX_BYTES, Busy, Delivery
from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Message

MESSAGES = [Message("kith.relations", b"k", b"v")]


class StuckPublisher:
    """Blocks in send until it is let go; the acknowledgement comes by hand."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.acknowledged: Future[None] = Future()

    def send(self, messages: Sequence[Message]) -> Future[None]:
        assert messages == MESSAGES
        self.entered.set()
        self.go_on.wait(30)
        return self.acknowledged

    def close(self) -> None:
        pass


async def post(delivery: Delivery, size: int = MAX_BYTES) -> None:
    with ExitStack() as held:
        held.enter_context(delivery.room(size))
        await delivery.publish(MESSAGES, held)


async def until_free(delivery: Delivery) -> None:
    while True:
        try:
            with delivery.room(MAX_BYTES):
                return
        except Busy:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("failure", [None, Unavailable("away")])
def test_room_is_held_until_the_publisher_is_done_even_if_nobody_waits(failure: Exception | None) -> None:
    publisher = StuckPublisher()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=0.05)
        with pytest.raises(Unavailable, match="no acknowledgement"):
            await post(delivery)
        with pytest.raises(Busy), delivery.room(1):
            pass
        publisher.go_on.set()
        if failure:
            publisher.acknowledged.set_exception(failure)
        else:
            publisher.acknowledged.set_result(None)
        await asyncio.wait_for(until_free(delivery), 30)
        delivery.close()

    asyncio.run(story())


def test_a_request_that_is_cancelled_does_not_take_its_messages_back() -> None:
    publisher = StuckPublisher()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=30)
        request = asyncio.create_task(post(delivery))
        await asyncio.to_thread(publisher.entered.wait)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        publisher.go_on.set()
        publisher.acknowledged.set_result(None)
        await asyncio.wait_for(until_free(delivery), 30)
        delivery.close()

    asyncio.run(story())


def test_a_blocked_send_does_not_block_the_loop() -> None:
    publisher = StuckPublisher()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=30)
        request = asyncio.create_task(post(delivery))
        assert await asyncio.to_thread(publisher.entered.wait, 10)
        assert not request.done()
        publisher.go_on.set()
        publisher.acknowledged.set_result(None)
        await request
        delivery.close()

    asyncio.run(story())


def test_room_comes_back_after_an_error() -> None:
    delivery = Delivery(StuckPublisher(), timeout=1)
    with pytest.raises(ZeroDivisionError), delivery.room(MAX_BYTES):
        raise ZeroDivisionError
    with delivery.room(MAX_BYTES):
        pass
