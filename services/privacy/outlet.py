"""A lazy publisher for single events: opened at the first message."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError

from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Message, Publisher


class Outlet:
    """Thread-safe. ``open`` raises Unavailable while Kafka is unavailable; the next message calls it again."""

    def __init__(self, open: Callable[[], Publisher], timeout_seconds: float) -> None:
        self._open, self._timeout = open, timeout_seconds
        self._lock = threading.Lock()
        self._publisher: Publisher | None = None

    def publish(self, messages: Sequence[Message]) -> None:
        """Return once every replica has all of them. If it raises Unavailable, some may be published; publishing
        them again is safe."""
        with self._lock:
            if self._publisher is None:
                self._publisher = self._open()
            sent = self._publisher.send(messages)
        try:
            sent.result(self._timeout)
        except TimeoutError as error:
            raise Unavailable(f"Kafka: no acknowledgement within {self._timeout:g} s") from error

    def close(self) -> None:
        with self._lock:
            if self._publisher is not None:
                self._publisher.close()
