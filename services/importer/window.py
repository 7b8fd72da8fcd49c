"""Publishes messages to Kafka in batches, with a bounded number in flight."""

from collections import deque
from concurrent.futures import Future
from types import TracebackType

from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Message, Publisher

BATCH_EVENTS = 500
BATCH_BYTES = 1024 * 1024
BATCHES_UNDER_WAY = 8


class Window:
    """The batches in flight: a bounded number wait for their acknowledgement."""

    def __init__(self, publisher: Publisher | None) -> None:
        self._publisher = publisher
        self._batch: list[Message] = []
        self._bytes = 0
        self._under_way: deque[tuple[int, Future[None]]] = deque()
        self._published = 0

    def add(self, message: Message) -> None:
        self._batch.append(message)
        self._bytes += len(message.value)
        if len(self._batch) >= BATCH_EVENTS or self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Publish the gathered batch. Waits if too many are in flight."""
        batch, self._batch, self._bytes = self._batch, [], 0
        if not batch or self._publisher is None:
            return
        self._under_way.append((len(batch), self._publisher.send(batch)))
        while len(self._under_way) >= BATCHES_UNDER_WAY:
            self._await()

    def drain(self) -> None:
        """Publish what is gathered and wait until all is acknowledged. Raises Unavailable."""
        self.flush()
        while self._under_way:
            self._await()

    def _await(self) -> None:
        size, future = self._under_way.popleft()
        try:
            future.result()
        except Unavailable as error:
            raise Unavailable(
                f"publishing failed after {self._published} acknowledged events: {error}. Running the same "
                "import again is safe: what was published already changes nothing."
            ) from error
        self._published += size

    def __enter__(self) -> "Window":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while kind is None and self._under_way:
            self._await()
