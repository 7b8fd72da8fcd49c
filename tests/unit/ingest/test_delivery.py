"""What is under way at the door, and who waits for it."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest

from services.ingest.delivery import Delivery
from shared.contracts.errors import Unavailable
from shared.contracts.limits import Most, Owner
from shared.http.server import Refusal
from shared.runtime.protocols import Message
from tests.support.waiting import PATIENCE_SECONDS

MESSAGES = [Message("kith.relations", b"k", b"v")]
A, B = Owner("a", "1"), Owner("b", "1")
ONE = Most(1, 1, 1)


class StuckPublisher:
    """Blocks in send until it is let go; the acknowledgement comes by hand."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.acknowledged: Future[None] = Future()

    def send(self, messages: Sequence[Message]) -> Future[None]:
        assert messages == MESSAGES
        self.entered.set()
        self.go_on.wait(PATIENCE_SECONDS)
        return self.acknowledged

    def close(self) -> None:
        pass


async def post(delivery: Delivery, owner: Owner = A) -> None:
    with ExitStack() as held:
        held.enter_context(delivery.places.taken(owner))
        await delivery.publish(owner, MESSAGES, held)


async def until_free(delivery: Delivery) -> None:
    while delivery.places.used:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("failure", [None, Unavailable("away")])
def test_room_is_held_until_the_publisher_is_done_even_if_nobody_waits(
    failure: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = StuckPublisher()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=0.05, most=ONE)
        submit = delivery._pool.submit

        def submitted(*arguments: Any) -> "Future[Any]":
            """It has its turn, however late the thread starts."""
            turn = submit(*arguments)
            assert publisher.entered.wait(PATIENCE_SECONDS)
            return turn

        monkeypatch.setattr(delivery._pool, "submit", submitted)
        with pytest.raises(Unavailable, match="no acknowledgement"):
            await post(delivery)
        with pytest.raises(Refusal):
            delivery.places.take(A)
        publisher.go_on.set()
        if failure:
            publisher.acknowledged.set_exception(failure)
        else:
            publisher.acknowledged.set_result(None)
        await asyncio.wait_for(until_free(delivery), PATIENCE_SECONDS)
        delivery.close()

    asyncio.run(story())


def test_a_request_that_is_cancelled_does_not_take_its_messages_back() -> None:
    publisher = StuckPublisher()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=PATIENCE_SECONDS, most=ONE)
        request = asyncio.create_task(post(delivery))
        await asyncio.to_thread(publisher.entered.wait)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        publisher.go_on.set()
        publisher.acknowledged.set_result(None)
        await asyncio.wait_for(until_free(delivery), PATIENCE_SECONDS)
        delivery.close()

    asyncio.run(story())


def test_a_blocked_send_does_not_block_the_loop() -> None:
    publisher = StuckPublisher()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=PATIENCE_SECONDS, most=ONE)
        request = asyncio.create_task(post(delivery))
        assert await asyncio.to_thread(publisher.entered.wait, PATIENCE_SECONDS)
        assert not request.done()
        publisher.go_on.set()
        publisher.acknowledged.set_result(None)
        await request
        delivery.close()

    asyncio.run(story())


class Gated:
    """Notes what is sent. Blocks within the first call until it is let go."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.sent: list[Sequence[Message]] = []

    def send(self, messages: Sequence[Message]) -> Future[None]:
        self.sent.append(messages)
        self.entered.set()
        assert self.go_on.wait(PATIENCE_SECONDS)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def close(self) -> None:
        pass


def test_a_large_batch_of_one_tenant_lets_the_event_of_another_in_between() -> None:
    publisher = Gated()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=PATIENCE_SECONDS, most=Most(2, 2, 4))
        large = [Message("kith.consumers", b"a", b"erased")] * 2500
        with ExitStack() as held:
            batches = [asyncio.create_task(delivery.publish(A, large, held)) for _ in range(2)]
            await asyncio.to_thread(publisher.entered.wait, PATIENCE_SECONDS)
            other = asyncio.create_task(delivery.publish(B, MESSAGES, held))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            publisher.go_on.set()
            await other
            assert publisher.sent.index(MESSAGES) <= 2, "after what was under way, and not after 5,000 erasures"
            await asyncio.gather(*batches)
        delivery.close()

    asyncio.run(story())
    assert sum(map(len, publisher.sent)) == 5001


class Paced:
    """Gives a turn when it was asked for it ``asks`` times, or when it must."""

    def __init__(self, asks: int) -> None:
        self._asks, self._asked, self.given = asks, 0, list[tuple[int, bool]]()

    def __call__(self, events: int, *, must: bool) -> float:
        self._asked += 1
        if self._asked % self._asks and not must:
            return 0.001
        self.given.append((events, must))
        return 0.0


def test_the_turns_of_a_batch_are_asked_for_again_until_they_are_due() -> None:
    publisher, pace = Gated(), Paced(3)
    publisher.go_on.set()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=PATIENCE_SECONDS, most=ONE)
        with ExitStack() as held:
            held.enter_context(delivery.places.taken(A))
            await delivery.publish(A, MESSAGES * 350, held, pace)
        await asyncio.wait_for(until_free(delivery), PATIENCE_SECONDS)
        delivery.close()

    asyncio.run(story())
    assert [len(each) for each in publisher.sent] == [100, 100, 100, 50]
    # The first one is its request's to wait for.
    assert pace.given == [(100, False), (100, False), (50, False)]


def test_a_batch_waits_for_its_turns_no_longer_than_a_request_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.delivery.MOST_WAIT_SECONDS", 0.05)
    publisher, never = Gated(), Paced(10**9)
    publisher.go_on.set()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=PATIENCE_SECONDS, most=ONE)
        with ExitStack() as held:
            await delivery.publish(A, MESSAGES * 350, held, never)
        delivery.close()

    asyncio.run(story())
    assert never.given == [(100, True), (100, True), (50, True)]


def test_what_cannot_wait_any_more_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the process ends."""
    publisher, pace = Gated(), Paced(2)
    publisher.go_on.set()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=PATIENCE_SECONDS, most=ONE)
        submit, turns = delivery._pool.submit, count()

        def closed(*arguments: Any) -> "Future[Any]":
            if next(turns):
                raise RuntimeError("closed")
            return submit(*arguments)

        monkeypatch.setattr(delivery._pool, "submit", closed)
        with ExitStack() as held:
            held.enter_context(delivery.places.taken(A))
            with pytest.raises(RuntimeError, match="closed"):
                await delivery.publish(A, MESSAGES * 350, held, pace)
        await asyncio.wait_for(until_free(delivery), PATIENCE_SECONDS)
        delivery.close()

    asyncio.run(story())
    assert len(publisher.sent) == 1


def test_who_had_no_turn_is_not_told_that_kafka_is_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.delivery._STUCK_SECONDS", 60)
    publisher = Gated()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=PATIENCE_SECONDS, most=Most(2, 2, 4))
        monkeypatch.setattr(delivery, "_stuck", lambda: False)
        with ExitStack() as held:
            first = asyncio.create_task(delivery.publish(A, MESSAGES, held))
            await asyncio.to_thread(publisher.entered.wait, PATIENCE_SECONDS)
            # Of the second one: the first has its turn, however late the thread started.
            monkeypatch.setattr(delivery, "_timeout", 0.05)
            with pytest.raises(Refusal, match="had no turn") as refused:
                await delivery.publish(B, MESSAGES, held)
            assert refused.value.status_code == 503
            publisher.go_on.set()
            await asyncio.gather(first, return_exceptions=True)
            assert publisher.sent == [MESSAGES], "what had no turn is not published later"
        delivery.close()

    asyncio.run(story())


def test_after_a_turn_that_failed_no_other_is_published() -> None:
    """Its sender sends all again."""
    failed: Future[None] = Future()
    failed.set_exception(Unavailable("away"))

    class Failing(Gated):
        def send(self, messages: Sequence[Message]) -> Future[None]:
            done = super().send(messages)
            return failed if len(self.sent) == 2 else done

    publisher = Failing()
    publisher.go_on.set()

    async def story() -> None:
        delivery = Delivery(publisher, timeout=PATIENCE_SECONDS, most=ONE)
        with ExitStack() as held:
            held.enter_context(delivery.places.taken(A))
            with pytest.raises(Unavailable, match="away"):
                await delivery.publish(A, MESSAGES * 1_000, held)
        await asyncio.wait_for(until_free(delivery), PATIENCE_SECONDS)
        delivery.close()

    asyncio.run(story())
    assert len(publisher.sent) == 2


def test_what_the_publisher_raises_is_raised() -> None:
    class Broken(Gated):
        def send(self, messages: Sequence[Message]) -> Future[None]:
            raise TypeError(f"not {messages}")

    async def story() -> None:
        delivery = Delivery(Broken(), timeout=PATIENCE_SECONDS, most=ONE)
        with pytest.raises(TypeError):
            await post(delivery)
        await asyncio.wait_for(until_free(delivery), PATIENCE_SECONDS)
        delivery.close()

    asyncio.run(story())
