"""A lazy publisher for single messages: opened at the first one."""

from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError

from shared.contracts.errors import Unavailable
from shared.runtime.lazy import Lazy
from shared.runtime.protocols import Message, Publisher


class Outlet:
    """Thread-safe. ``open`` raises Unavailable while Kafka is unavailable; the next message calls it again.
    ``timeout_seconds`` is for the acknowledgement; None: as long as the publisher itself waits."""

    def __init__(self, open: Callable[[], Publisher], timeout_seconds: float | None = None) -> None:
        self._publisher, self._timeout = Lazy(open, lambda publisher: publisher.close()), timeout_seconds

    def publish(self, messages: Sequence[Message]) -> None:
        """Return once every replica has all of them. If it raises Unavailable, some may be published; publishing
        them again is safe."""
        sent = self._publisher.get().send(messages)
        try:
            sent.result(self._timeout)
        except TimeoutError as error:
            raise Unavailable(f"Kafka: no acknowledgement within {self._timeout:g} s") from error

    def close(self) -> None:
        self._publisher.close()
