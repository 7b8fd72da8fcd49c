"""A sender: what it does with a delivery that has waited for its turn while all has changed; and that it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import Mock

import orjson
import standardwebhooks

from services.webhooks.delivery.http_client import Answer
from services.webhooks.delivery.queue import Queue
from services.webhooks.delivery.sender import Sender, SenderContext
from services.webhooks.delivery.tenant_semaphore import TenantSemaphore
from services.webhooks.messages.rendering import Renderer
from services.webhooks.metrics import SenderMetrics
from shared.observability.metrics import new_registry
from tests.support.deliveries import ENDPOINT, at_once, delivery, secret
from tests.support.waiting import PATIENCE_SECONDS

Sent = tuple[str, dict[str, str], bytes]


class Running:
    """A sender with a place for one request and two deliveries, the first of which is under way. Consumers are
    erased whose names are ``erased``."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.answered = asyncio.Event()
        self.erased: set[str] = set()
        queue = Mock(spec=Queue)
        queue.retrying.return_value = []
        queue.waiting.return_value = queue.firsts.return_value = [delivery("ada"), delivery("bob")]
        renderer = Renderer(Mock(), str, lambda _, name: "delete" if name in self.erased else None, None)
        metrics = SenderMetrics(new_registry())
        self.sender = Sender(
            ENDPOINT, SenderContext(queue, renderer, self, metrics, at_once, TenantSemaphore(1)), lambda: True
        )
        self.task = asyncio.create_task(self.sender.run())
        self._queue = queue

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        self.sent.append((url, headers, body))
        await self.answered.wait()
        return Answer(1, 204)

    async def begun(self) -> None:
        while not self.sent:
            assert not self.task.done()
            await asyncio.sleep(0)
        self._queue.waiting.return_value = self._queue.firsts.return_value = []

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


def told(story: Callable[[Running], Awaitable[None]]) -> list[Sent]:
    """What is sent in ``story``, which begins once the first delivery is under way."""

    async def whole() -> list[Sent]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            running = Running()
            await running.begun()
            await story(running)
            await running.end()
            return running.sent

    return asyncio.run(whole())


def sent_after(*erased: str, **changed: Any) -> list[Sent]:
    """What is sent of a delivery while whose wait for a place its endpoint was changed and consumers erased."""

    async def story(running: Running) -> None:
        running.erased |= {*erased}
        running.sender.refresh({**ENDPOINT, **changed, "revision": 2})
        running.answered.set()
        while len(running.sent) < 2 and not running.sender._subjects.parked:
            assert not running.task.done()
            await asyncio.sleep(0)

    return told(story)[1:]


def test_it_goes_where_the_endpoint_is_now_signed_with_its_present_secret() -> None:
    [(url, headers, body)] = sent_after(url="https://b.example/", secrets=[{"secret": secret(b"2")}])
    assert url == "https://b.example/"
    assert standardwebhooks.Webhook(secret(b"2")).verify(body, headers)


def test_nothing_is_sent_to_an_endpoint_that_was_disabled() -> None:
    assert sent_after(state="disabled") == []


def test_of_a_consumer_who_was_erased_only_ids_are_sent() -> None:
    [(_, _, body)] = sent_after("bob")
    assert orjson.loads(body)["data"] == {"consumer_id": "bob", "erased": True}


def test_a_sender_that_is_cancelled_ends_whatever_happens_at_the_same_moment() -> None:
    for steps in range(20):

        async def story(running: Running, steps: int = steps) -> None:
            running.answered.set()
            for _ in range(steps):
                await asyncio.sleep(0)

        assert told(story)


def test_a_sender_whose_outcomes_cannot_be_stored_ends_and_sends_nothing_more() -> None:
    async def story(running: Running) -> None:
        running._queue.settle.side_effect = RuntimeError
        running.answered.set()
        await asyncio.wait([running.task])
        assert isinstance(running.task.exception(), RuntimeError)

    told(story)
