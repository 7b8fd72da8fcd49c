"""What a sender remembers of its queue, when that changes beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock, patch

from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.webhooks.delivery.queue import Queue, place_of
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


def test_a_queue_of_receipts_is_scanned_each_second() -> None:
    async def sent() -> int:
        made, queue = subjects()
        await made.load(only_told=True)
        for now in (0.0, 1.0, 2.0):
            await made.find(now, only_told=True)
        return int(queue.waiting.call_count)

    assert asyncio.run(sent()) == 3


def test_an_idle_queue_is_scanned_rarely_until_something_is_seen_in_it() -> None:
    async def sent() -> list[int]:
        scans = []
        made, queue = subjects()
        await made.load(only_told=False)
        for now, seen, busy in (
            (0, False, 0),
            (4, False, 0),
            (6, False, 0),
            (7.5, False, 1),
            (9, True, 0),
            (13, False, 0),
        ):
            made.seen, made.busy = made.seen or seen, {"ada"} if busy else set()
            await made.find(now, only_told=False)
            scans.append(queue.waiting.call_count)
        return scans

    assert asyncio.run(sent()) == [1, 1, 2, 3, 4, 4]


class Stored:
    """A queue in memory, read by one find at a time, which waits for each answer."""

    def __init__(self) -> None:
        self.queued: list[Document] = []
        self.enqueued, self.sent = list[Document](), list[Document]()
        queue = Mock(spec=Queue)
        queue.retrying.return_value = []
        queue.waiting.side_effect = self._waiting
        queue.firsts.side_effect = self._firsts
        self.made = Subjects("e", queue, self._slow, lambda: NOW)
        self._task: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[None] | None = None
        self._busy: list[Document] = []

    def _in_order(self) -> list[Document]:
        return sorted(self.queued, key=place_of)

    def _waiting(self, _id: str, after: Any, limit: int, without: Any, *, only_told: bool) -> list[Document]:
        assert not only_told
        found = (each for each in self._in_order() if after is None or place_of(each) > after)
        return [each for each in found if each["subject"] not in without][:limit]

    def _firsts(self, _id: str, subjects: list[str]) -> list[Document]:
        return [
            *{each["subject"]: each for each in reversed(self._in_order()) if each["subject"] in subjects}.values()
        ]

    async def _slow(self, call: Callable[[], Any]) -> Any:
        found, self._answer = call(), asyncio.get_running_loop().create_future()
        await self._answer
        return found

    async def load(self) -> None:
        self._task = asyncio.create_task(self.made.load(only_told=False))
        await asyncio.sleep(0)

    async def enqueue(self, subjects: str, first: bool, named: bool) -> None:
        """One delivery of each of these, before all of other subjects or behind them."""
        for subject in subjects:
            number = len(self.enqueued)
            own = [each["at"] for each in self.enqueued if each["subject"] == subject]
            at = max(own, default=0) if first else number
            self.queued.append(
                {"_id": f"e/{number:03}", "subject": subject, "at": at, "due": AT_ONCE, "attempts": 0}
            )
            self.enqueued.append(self.queued[-1])
        self.made.arrived({*subjects} if named else ())

    async def find(self) -> None:
        if self._task is None:
            # The clock stands still: what is not told of is found by no look.
            self._task = asyncio.create_task(self.made.find(0.0, only_told=False))
            await asyncio.sleep(0)
            await self._end()

    async def answer(self) -> None:
        if self._answer is not None:
            self._answer.set_result(None)
            self._answer = None
            for _ in range(3):
                await asyncio.sleep(0)
            await self._end()

    async def _end(self) -> None:
        if self._task is not None and self._task.done():
            await self._task
            self._task = None

    async def take(self, most: int) -> None:
        if self._task is None:
            taken = self.made.take(most)
            assert not {each["subject"] for each in taken} & {each["subject"] for each in self._busy}
            self._busy += taken

    async def settle(self) -> None:
        if self._busy:
            done = self._busy.pop(0)
            self.queued.remove(done)
            self.sent.append(done)
            self.made.settled(done["subject"], None)

    async def send(self) -> None:
        await self.find()
        for _ in range(3):
            await self.answer()
        await self.take(3)

    async def send_all(self) -> None:
        for _ in range(5 * len(self.enqueued) + 5):
            await self.send()
            await self.settle()


ARRIVAL: tuple[Any, ...] = ("enqueue", "a", False, True)


@settings(max_examples=60)
# While what was before it is read as gone, and while that is under way.
@example([("send",), ("send",), ARRIVAL, ("send",), ("settle",), ("find",), ARRIVAL, ("answer",)], WINDOW)
@example([("send",), ARRIVAL, ("send",), ARRIVAL, ("send",)], WINDOW)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("enqueue"), st.text("abc", min_size=1, max_size=2), st.booleans(), st.booleans()),
            st.sampled_from([("find",), ("answer",), ("take", 1), ("send",), ("settle",)]),
        ),
        max_size=40,
    ),
    st.sampled_from([2, WINDOW]),
)
def test_what_arrives_is_sent_once_and_in_order_whatever_is_being_read(
    history: list[tuple[Any, ...]], window: int
) -> None:
    async def sent() -> Stored:
        stored = Stored()
        await stored.load()
        for step, *arguments in history:
            await getattr(stored, step)(*arguments)
        await stored.send_all()
        return stored

    with patch("services.webhooks.delivery.subjects.WINDOW", window):
        stored = asyncio.run(sent())
    for subject in "abc":
        own = [each["_id"] for each in stored.enqueued if each["subject"] == subject]
        assert [each["_id"] for each in stored.sent if each["subject"] == subject] == own


def test_what_arrives_before_it_is_known_what_has_failed_is_not_read_beside_that() -> None:
    async def known() -> set[str]:
        ready = asyncio.Event()

        async def slow(call: Callable[[], Any]) -> Any:
            await ready.wait()
            return call()

        made, _ = subjects(delivery(TOMORROW), threads=slow)
        task = asyncio.create_task(made.load(only_told=False))
        await asyncio.sleep(0)
        made.arrived({"ada"})
        ready.set()
        await task
        return made.asked & made.parked.keys()

    assert asyncio.run(known()) == set()


def test_the_first_deliveries_of_what_arrives_are_read_without_a_scan_where_nothing_else_waits() -> None:
    async def sent() -> tuple[list[Document], int]:
        made, queue = subjects()
        await made.load(only_told=False)
        await made.find(0.0, only_told=False)
        queue.firsts.return_value = [delivery(AT_ONCE)]
        made.arrived({"ada"})
        await made.find(0.1, only_told=False)
        return made.take(16), queue.waiting.call_count

    assert asyncio.run(sent()) == ([delivery(AT_ONCE)], 1)


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
