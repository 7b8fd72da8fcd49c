"""Hands messages to the publisher's thread and back: in turns between tenants, and only so many at a time."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

from shared.contracts.errors import Unavailable
from shared.contracts.limits import Most, Owner
from shared.http.fair_pool import FairPool
from shared.http.problems.server import TOO_BUSY
from shared.http.processor import Processor
from shared.http.server import Refusal
from shared.http.shares import Share
from shared.runtime.protocols import Message, Publisher

#: Messages that are handed over in one turn. The publisher takes some 60 µs for each.
_TURN = 100
#: A call of the publisher that takes longer is stuck: Kafka has not even said where its partitions are.
_STUCK_SECONDS = 1.0


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
        self._tasks: set[asyncio.Task[None]] = set()

    async def publish(self, owner: Owner, messages: Sequence[Message], held: ExitStack) -> None:
        """Return when every message is acknowledged. Raises Unavailable when some may be missing, and Refusal
        (503) when the other tenants' messages left no turn for these.

        ``held`` is closed, which frees its room, when the publisher is done with the messages, even if the request
        has ended before: until then they occupy memory.
        """
        turns: list[Future[Any]] = []
        task = asyncio.create_task(self._publish(owner, messages, turns))
        held = held.pop_all()
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            held.close()
            if not task.cancelled():
                task.exception()  # retrieved, because asyncio logs exceptions that are never retrieved

        task.add_done_callback(done)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.shield(task)
        except TimeoutError as error:
            if turns and turns[0].cancel() and not self._stuck():
                detail = f"these events had no turn to be published within {self._timeout:g} s, and were not"
                raise Refusal(TOO_BUSY, detail, {"Retry-After": "5"}) from error
            raise Unavailable(f"no acknowledgement within {self._timeout:g} s") from error

    def close(self) -> None:
        """Release the thread. Messages that the publisher does not have yet are not published."""
        self._pool.close()

    async def _publish(self, owner: Owner, messages: Sequence[Message], turns: list[Future[Any]]) -> None:
        sent = []
        for start in range(0, len(messages), _TURN):
            turns.append(self._pool.submit(owner, self._send, messages[start : start + _TURN]))
            sent.append(asyncio.wrap_future(await asyncio.wrap_future(turns[-1])))
        await asyncio.gather(*sent)

    def _send(self, messages: Sequence[Message]) -> "Future[None]":
        self._calling_since = time.monotonic()
        try:
            return self._publisher.send(messages)
        finally:
            self._calling_since = None

    def _stuck(self) -> bool:
        since = self._calling_since
        return since is not None and time.monotonic() - since > min(_STUCK_SECONDS, self._timeout / 2)
