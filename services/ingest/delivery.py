"""Hands messages to the publisher's thread and back: in turns between tenants, and only so many at a time."""

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Protocol

from services.ingest.congestion import MOST_WAIT_SECONDS
from shared.contracts.errors import Unavailable
from shared.contracts.limits import Most, Owner
from shared.http.fair_pool import FairPool
from shared.http.problems.server import TOO_BUSY
from shared.http.processor import Processor
from shared.http.server import Refusal
from shared.http.shares import Share
from shared.runtime.protocols import Message, Publisher

#: Messages that are handed over in one turn. The publisher takes some 3 to 20 µs for each.
TURN = 100
#: A call of the publisher that takes longer is stuck: Kafka has not even said where its partitions are.
_STUCK_SECONDS = 1.0


class Pace(Protocol):
    def __call__(self, events: int, *, must: bool) -> float:
        """0 if so many messages may be published now; otherwise after how many seconds to ask again. What ``must``
        be published now may be."""


class Delivery:
    """Publishes the messages of requests. Used from one event loop only.

    ``timeout`` in seconds is a backstop: a correct publisher fails before.
    """

    def __init__(
        self, publisher: Publisher, timeout: float, most: Most, processor: Processor | None = None
    ) -> None:
        self._publisher = publisher
        self._timeout = timeout
        #: A place is one request's, from its first message until the last acknowledgement.
        self.places = Share("requests whose events are being published", most)
        # A thread, because kafka-python's send blocks while it has no metadata or its buffer is full. One thread:
        # several only wait for its lock and for each other; four took a third longer.
        self._pool = FairPool("publish", 1, most, processor=processor)
        self._calling_since: float | None = None

    async def publish(
        self, owner: Owner, messages: Sequence[Message], held: ExitStack, pace: Pace | None = None
    ) -> None:
        """Return when every message is acknowledged. Raises Unavailable when some may be missing, and Refusal
        (503) when the other tenants' messages left no turn for these. ``pace``, if any, is asked before each turn
        but the first.

        ``held`` is closed, which frees its room, when the publisher is done with the messages, even if the request
        has ended before: until then they occupy memory.
        """
        batch = _Batch(owner, messages, pace, min(MOST_WAIT_SECONDS, self._timeout / 2))
        self._loop = asyncio.get_running_loop()
        first = self._next_turn(batch)
        done = asyncio.wrap_future(batch.acknowledged)
        given_back = held.pop_all()
        done.add_done_callback(lambda done: _ended(done, given_back))
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.shield(done)
        except TimeoutError as error:
            if first.cancel() and not self._stuck():
                detail = f"these events had no turn to be published within {self._timeout:g} s, and were not"
                raise Refusal(TOO_BUSY, detail, {"Retry-After": "5"}) from error
            raise Unavailable(f"no acknowledgement within {self._timeout:g} s") from error

    def close(self) -> None:
        """Release the thread. Messages that the publisher does not have yet are not published."""
        self._pool.close()

    def _next_turn(self, batch: "_Batch") -> "Future[None]":
        turn = self._pool.submit(batch.owner, self._send, batch)
        turn.add_done_callback(batch.had_turn)
        return turn

    def _send(self, batch: "_Batch") -> None:
        """A turn, on the publisher's thread, which then asks for the next one: the event loop is told only of the
        end, and of a batch that has to wait."""
        self._calling_since = time.monotonic()
        try:
            sent = self._publisher.send(batch.take(TURN))
        finally:
            self._calling_since = None
        sent.add_done_callback(batch.arrived)
        self._go_on(batch)

    def _go_on(self, batch: "_Batch") -> None:
        """Ask for the next turn, now or when it is due. On any thread."""
        if not batch.waits:
            return
        try:
            if wait := batch.wait_seconds():
                self._loop.call_soon_threadsafe(self._loop.call_later, wait, self._go_on, batch)
            else:
                self._next_turn(batch)
        except Exception as error:
            batch.fail(error)

    def _stuck(self) -> bool:
        since = self._calling_since
        return since is not None and time.monotonic() - since > min(_STUCK_SECONDS, self._timeout / 2)


class _Batch:
    """The messages of a request, and who has acknowledged how many turns of them. Thread-safe."""

    def __init__(self, owner: Owner, messages: Sequence[Message], pace: Pace | None, most_wait: float) -> None:
        self.owner, self._pace = owner, pace
        self._wait_until = time.monotonic() + most_wait
        self._turn_until: float | None = None
        self.acknowledged: Future[None] = Future()
        self.acknowledged.set_running_or_notify_cancel()  # so that nobody cancels it
        self._messages = messages
        self._next = self._missing = 0
        self._lock = threading.Lock()

    @property
    def waits(self) -> bool:
        """Whether it needs another turn: not after a failure, as all are sent again then."""
        return self._next < len(self._messages) and not self.acknowledged.done()

    def take(self, most: int) -> Sequence[Message]:
        """The messages of the next turn."""
        taken = self._messages[self._next : self._next + most]
        with self._lock:
            self._next += len(taken)
            self._missing += 1
        return taken

    def wait_seconds(self) -> float:
        """How long to wait before the next turn is asked for again; 0: no longer."""
        if self._pace is None:
            return 0.0
        left = len(self._messages) - self._next
        now = time.monotonic()
        if self._turn_until is None:
            # All turns together wait no longer than a request may.
            self._turn_until = now + (self._wait_until - now) / math.ceil(left / TURN)
        if not (wait := self._pace(min(left, TURN), must=now >= self._turn_until)):
            self._turn_until = None
        return wait

    def had_turn(self, turn: "Future[None]") -> None:
        """Nothing is published of a turn that was cancelled or raises."""
        self.fail(Unavailable("it had no turn") if turn.cancelled() else turn.exception())

    def arrived(self, sent: "Future[None]") -> None:
        """A turn's messages are acknowledged, or may be missing."""
        self.fail(sent.exception())
        with self._lock:
            self._missing -= 1
            if not self._missing and self._next == len(self._messages) and not self.acknowledged.done():
                self.acknowledged.set_result(None)

    def fail(self, error: BaseException | None) -> None:
        with self._lock:
            if error is not None and not self.acknowledged.done():
                self.acknowledged.set_exception(error)


def _ended(done: "asyncio.Future[None]", held: ExitStack) -> None:
    held.close()
    if not done.cancelled():
        done.exception()  # retrieved, because asyncio logs exceptions that are never retrieved
