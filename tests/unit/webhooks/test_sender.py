"""A sender: what it does with a delivery that has waited for its turn while all has changed; and that it ends."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import orjson
import standardwebhooks

from services.webhooks.delivery.http_client import Answer
from services.webhooks.delivery.queue import Queue, Settled
from services.webhooks.delivery.sender import CONCURRENCY, Sender, SenderContext
from services.webhooks.delivery.tenant_semaphore import TenantSemaphore
from services.webhooks.messages.notice import telling
from services.webhooks.messages.rendering import Renderer
from services.webhooks.metrics import SenderMetrics
from shared.contracts.limits import Owner
from shared.http.processor import Processor
from shared.observability.metrics import new_registry
from shared.runtime.protocols import Document
from tests.support.deliveries import ENDPOINT, at_once, delivery, secret
from tests.support.waiting import PATIENCE_SECONDS

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
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


class Templated:
    """A sender with a queue of deliveries, none of which has to wait for another. Its clock stands at ``now``."""

    def __init__(self, template: str, *waiting: Document) -> None:
        self.now = NOW
        self.sent = 0
        self.outcomes: list[str] = []
        self.off_loop: list[bool] = []
        self._in_thread = False
        queue = Mock(spec=Queue)
        queue.retrying.return_value = []
        left = {each["subject"]: each for each in waiting}
        queue.waiting.side_effect = lambda *_, **__: [*left.values()]
        queue.firsts.side_effect = lambda _, subjects: [left[each] for each in subjects if each in left]

        def settle(settled: list[Settled]) -> None:
            for each in settled:
                self.outcomes.append(each.entry["outcome"])
                del left[each.delivery["subject"]]

        queue.settle.side_effect = settle
        renderer = Renderer(Mock(), str, lambda _tenant, _consumer: None, None)
        request = renderer.request

        def watched(*arguments: Any) -> Any:
            self.off_loop.append(self._in_thread)
            return request(*arguments)

        renderer.request = watched  # type: ignore[method-assign, assignment]
        metrics, places = SenderMetrics(new_registry()), TenantSemaphore(100)
        context = SenderContext(queue, renderer, self, metrics, self.thread, places, clock=lambda: self.now)
        self.sender = Sender({**ENDPOINT, "template": template}, context, lambda: True)

    async def thread(self, call: Callable[[], Any]) -> Any:
        self._in_thread = True
        try:
            return call()
        finally:
            self._in_thread = False

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:  # noqa: ARG002
        self.sent += 1
        return Answer(1, 204)

    async def run_until(self, done: Callable[[], bool]) -> None:
        task = asyncio.create_task(self.sender.run())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not done():
                assert not task.done()
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])


def test_a_template_is_computed_beside_the_loop() -> None:
    async def story() -> Templated:
        running = Templated("{of: data.consumer_id}", *(delivery(f"c{n}") for n in range(5)))
        await running.run_until(lambda: len(running.outcomes) == 5)
        return running

    running = asyncio.run(story())
    assert (running.outcomes, running.sent) == (["delivered"] * 5, 5)
    assert running.off_loop == [True] * 5


FAILING = "join(' ', [data.consumer_id, data.after.kind])"


def retraction(consumer: str) -> Document:
    found = delivery(consumer)
    return {**found, "change": {**found["change"], "data": {**found["change"]["data"], "after": None}}}


def receipt(consumer: str) -> Document:
    stored = {"_id": "r1", "topic": "consumer.erased", "app": "app_1", "consumer_id": consumer, "at": NOW}
    return telling(ENDPOINT, stored, NOW)


def test_deliveries_that_a_template_fails_on_hold_up_no_others_and_are_given_up_one_by_one() -> None:
    async def story() -> None:
        bad = [retraction(f"bad{n}") for n in range(CONCURRENCY)]
        good = [delivery(f"good{n}") for n in range(23)]
        running = Templated(FAILING, *bad, *good, receipt("ada"))
        await running.run_until(lambda: len(running.outcomes) >= 25 and not running.sender._tasks)
        assert Counter(running.outcomes) == {"delivered": 24, "given_up": 1}
        health = running.sender._health
        for seconds, given_up in ((0.25, 2), (1, 5), (1.1, 5), (60, 16)):
            running.now = NOW + timedelta(seconds=seconds)

            def done(most: int = 24 + given_up) -> bool:
                return len(running.outcomes) >= most and not running.sender._tasks

            await running.run_until(done)
            assert Counter(running.outcomes) == {"delivered": 24, "given_up": given_up}
        assert health.room(CONCURRENCY, asyncio.get_running_loop().time()) == CONCURRENCY
        assert "failing_since" not in running.sender.endpoint
        assert running.sent == 24

    asyncio.run(story())


def test_a_template_that_is_mended_makes_what_it_failed_on() -> None:
    async def story() -> None:
        running = Templated(FAILING, *(retraction(f"bad{n}") for n in range(50)))
        await running.run_until(lambda: len(running.sender._subjects.parked) == 49)
        running.sender.refresh({**running.sender.endpoint, "template": "{of: data.consumer_id}", "revision": 2})
        await running.run_until(lambda: len(running.outcomes) == 50)
        assert Counter(running.outcomes) == {"delivered": 49, "given_up": 1}

    asyncio.run(story())


def test_one_of_a_tenant_waits_for_its_share_of_the_processor_and_holds_no_place() -> None:
    async def story() -> int:
        running = Templated("{of: data.consumer_id}", *(delivery(f"c{n}") for n in range(9)))
        asked, processor = list[Any](), Mock(spec=Processor)

        def wait_seconds(_owner: Owner) -> float:
            asked.append(asyncio.current_task())
            return 0.001 if len(asked) < 20 else 0.0

        processor.wait_seconds.side_effect = wait_seconds
        context = running.sender._context
        context.processor, context.under_way = processor, TenantSemaphore(1)
        task = asyncio.create_task(running.sender.run())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(asked) < 5:
                await asyncio.sleep(0)
            async with context.under_way.slot("zoo"):
                assert running.sent == 0
            while len(running.outcomes) < 9:
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert processor.spent.call_count == 9
        return len({*asked[:20]})

    assert asyncio.run(story()) == 1
