"""What is opened when it is first needed, by whichever thread needs it first."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from shared.contracts.errors import Unavailable

T = TypeVar("T")


class Lazy(Generic[T]):
    """What ``open`` returns, and ``close`` closes. Thread-safe: one thread opens it, outside of the lock, and
    those that ask meanwhile get what it gets, or its error. While a server does not answer, no thread waits for
    more than one attempt."""

    def __init__(self, open: Callable[[], T], close: Callable[[T], object]) -> None:
        self._open, self._close = open, close
        self._lock = threading.Lock()
        self._opened: tuple[T] | None = None
        self._attempt: Future[T] | None = None

    def get(self) -> T:
        """Raises what ``open`` raises, and Unavailable if it was closed meanwhile; the next call then opens
        again."""
        with self._lock:
            if self._opened is not None:
                return self._opened[0]
            others = self._attempt
            if others is None:
                mine: Future[T] = Future()
                self._attempt = mine
        if others is not None:
            return others.result()
        try:
            found = self._open()
            if not self._keep(mine, found):
                self._close(found)
                raise Unavailable("closed while it was being opened")
        except BaseException as error:
            self._keep(mine, None)
            mine.set_exception(error)
            raise
        mine.set_result(found)
        return found

    def close(self) -> None:
        """Close what was opened; what is being opened is closed by the thread that opens it. The next ``get``
        opens again."""
        with self._lock:
            opened, self._opened, self._attempt = self._opened, None, None
        if opened is not None:
            self._close(opened[0])

    def _keep(self, attempt: Future[T], found: T | None) -> bool:
        """End an attempt, and keep what it found. False if it was closed, and is no longer the one that counts."""
        with self._lock:
            if self._attempt is not attempt:
                return False
            self._attempt, self._opened = None, None if found is None else (found,)
            return True
