"""Hands messages from the event loop to the publisher's thread and back, with a bound on requests in progress."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Message, Publisher

MAX_REQUESTS = 256
MAX_BYTES = 64 * 1024 * 1024

_log = logging.getLogger(__name__)


class Busy(Exception):
    """The door already has as many bytes in progress as it accepts at a time."""


class Delivery:
    """Publishes the messages of requests. Used from one event loop only.

    ``timeout`` in seconds is a backstop: a correct publisher fails before.
    """

    def __init__(self, publisher: Publisher, timeout: float) -> None:
        self._publisher = publisher
        self._timeout = timeout
        self._requests_left = MAX_REQUESTS
        self._bytes_left = MAX_BYTES
        # A thread, because kafka-python's send blocks while it has no metadata or its buffer is full. One thread:
        # several only wait for its lock and for each other; four took a third longer.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="publish")
        self._tasks: set[asyncio.Task[None]] = set()

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Room for one request of at most ``size`` bytes. Raises Busy when there is none."""
        if self._requests_left < 1 or self._bytes_left < size:
            raise Busy
        self._requests_left -= 1
        self._bytes_left -= size
        try:
            yield
        finally:
            self._requests_left += 1
            self._bytes_left += size

    async def publish(self, messages: Sequence[Message], held: ExitStack) -> None:
        """Return when every message is acknowledged. Raises Unavailable when some may be missing.

        ``held`` is closed, which frees its room, when the publisher is done with the messages, even if the request
        has ended before: until then they occupy memory.
        """
        task = asyncio.create_task(self._publish(messages))
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
            raise Unavailable(f"no acknowledgement within {self._timeout:g} s") from error

    def close(self) -> None:
        """Release the thread. Messages that the publisher does not have yet are not published."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _publish(self, messages: Sequence[Message]) -> None:
        loop = asyncio.get_running_loop()
        acknowledged = await loop.run_in_executor(self._pool, self._publisher.send, messages)
        await asyncio.wrap_future(acknowledged)
