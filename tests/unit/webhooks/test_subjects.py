"""What a sender remembers of its queue, when that changes beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

from services.webhooks.delivery.queue import Queue
from services.webhooks.delivery.subjects import WINDOW, Subjects
from shared.runtime.protocols import Document

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
TOMORROW, AT_ONCE = NOW + timedelta(days=1), datetime.fromtimestamp(0, UTC)
Threads = Callable[[Callable[[], Any]], Awaitable[Any]]


def delivery(due: datetime) -> Document:
    return {"_id": "e/1", "subject": "ada", "at": 1, "due": due, "attempts": 1}


async def at_once(call: Callable[[], Any]) -> Any:
    return call()


def subjects(*found: Document, threads: Threads = at_once) -> tuple[Subjects, Mock]:
    """Those of an endpoint in whose queue is what was ``found``."""
    queue = Mock(spec=Queue)
    queue.retrying.return_value = queue.waiting.return_value = queue.firsts.return_value = list(found)
    return Subjects("e", queue, threads, lambda: NOW), queue


def changed(queue: Mock, due: datetime) -> None:
    for read in (queue.retrying, queue.waiting, queue.firsts):
        read.return_value = [delivery(due)]


def test_what_has_arrived_is_found_without_the_usual_wait() -> None:
    async def sent() -> list[int]:
        scans = []
        made, queue = subjects()
        for now, arrived in ((0.0, False), (0.5, False), (0.6, True), (0.7, False)):
            if arrived:
                made.arrived()
            await made.find(now, only_told=False)
            scans.append(queue.waiting.call_count)
        return scans

    assert asyncio.run(sent()) == [1, 1, 2, 2]


def test_what_arrives_during_a_scan_is_found_by_the_next_one() -> None:
    async def sent() -> int:
        began, ready = asyncio.Event(), asyncio.Event()

        async def slow(call: Callable[[], Any]) -> Any:
            found = call()
            began.set()
            await ready.wait()
            return found

        made, queue = subjects(threads=slow)
        task = asyncio.create_task(made.find(0, only_told=False))
        await began.wait()
        made.arrived()
        ready.set()
        await task
        await made.find(0.1, only_told=False)
        await made.find(0.2, only_told=False)
        return int(queue.waiting.call_count)

    assert asyncio.run(sent()) == 2


def test_what_is_to_be_sent_at_once_is_found_whatever_was_being_read_or_sent() -> None:
    async def sent(meanwhile: str) -> list[Document]:
        ready = asyncio.Event()

        async def slow(call: Callable[[], Any]) -> Any:
            """The read is back when the queue has changed since."""
            found = call()
            await ready.wait()
            return found

        made, queue = subjects(delivery(TOMORROW), threads=slow)
        if meanwhile == "parked":
            made.parked["ada"] = TOMORROW
            task = asyncio.create_task(asyncio.sleep(0))
        elif meanwhile == "loaded":
            task = asyncio.create_task(made.load(only_told=False))
        elif meanwhile == "read":
            made.asked.add("ada")
            task = asyncio.create_task(made.find(0, only_told=False))
        else:
            made.waiting["ada"] = delivery(AT_ONCE)
            assert made.take(1)
            task = asyncio.create_task(asyncio.sleep(0))
        await asyncio.sleep(0)
        changed(queue, AT_ONCE)
        made.renew()
        ready.set()
        await task
        if meanwhile == "under way":
            made.settled("ada", TOMORROW)
        await made.find(0, only_told=False)
        return made.take(16)

    for meanwhile in ("parked", "loaded", "read", "under way"):
        assert asyncio.run(sent(meanwhile)) == [delivery(AT_ONCE)], meanwhile


def test_what_was_read_before_a_change_and_has_left_the_queue_is_not_sent() -> None:
    made, queue = subjects(delivery(AT_ONCE))
    asyncio.run(made.find(0, only_told=False))
    queue.waiting.return_value = queue.firsts.return_value = []
    made.renew()
    asyncio.run(made.find(0, only_told=False))
    assert made.take(16) == []


def test_where_only_receipts_are_sent_nothing_else_that_has_failed_is_remembered() -> None:
    made, queue = subjects()
    asyncio.run(made.load(only_told=True))
    queue.retrying.assert_called_once_with("e", only_told=True)


def test_what_arrives_during_a_scan_of_many_windows_is_found_by_the_next_one() -> None:
    async def sent() -> int:
        made, queue = subjects()
        window = [{"_id": f"e/{n}", "subject": f"s{n}", "at": n} for n in range(WINDOW)]
        queue.waiting.side_effect = [window, [], []]
        await made.find(0, only_told=False)
        made.arrived()
        for now in (0.1, 0.2):
            made.asked.clear()
            await made.find(now, only_told=False)
        return int(queue.waiting.call_count)

    assert asyncio.run(sent()) == 3
