"""A publisher that connects in the background: the door opens before its brokers are available."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Message, Publisher

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class NotConnected(Unavailable):
    """The brokers have not been reached since the start: nothing has been published."""


class LatePublisher:
    """Opens a publisher in its own thread and retries until it succeeds; until then sending fails with
    NotConnected.

    An error that a retry cannot fix (a wrong setting) stops the process, by SIGTERM to itself, and ``close``
    raises it.
    """

    def __init__(self, open: Callable[[], Publisher], retry_seconds: float = _RETRY_SECONDS) -> None:
        self._open = open
        self._retry_seconds = retry_seconds
        self._publisher: Publisher | None = None
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        # A daemon: an attempt can take as long as its timeout, and shutdown does not wait for it.
        threading.Thread(target=self._work, name="connect", daemon=True).start()

    def problems(self) -> list[str]:
        """The reasons why nothing can be published; empty once the brokers have been reached."""
        return [] if self._publisher is not None else ["the Kafka brokers have not been reached since the start"]

    def send(self, messages: Sequence[Message]) -> Future[None]:
        if (publisher := self._publisher) is not None:
            return publisher.send(messages)
        future: Future[None] = Future()
        future.set_exception(NotConnected("Kafka has not been reached since the start"))
        return future

    def close(self) -> None:
        with self._lock:
            self._stop.set()
            publisher = self._publisher
        if publisher is not None:
            publisher.close()
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._take(self._open())
                return
            except Unavailable as error:
                log.warning("waiting for Kafka: %s", error)
                self._stop.wait(self._retry_seconds)
            except BaseException as error:
                self._failure = error
                self._end()
                return

    def _end(self) -> None:
        # Not before the process has its signal handlers, which it installs right after the start.
        while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and not self._stop.wait(0.02):
            pass
        if not self._stop.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    def _take(self, publisher: Publisher) -> None:
        with self._lock:
            if not self._stop.is_set():
                self._publisher = publisher
                return
        publisher.close()
