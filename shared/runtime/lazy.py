"""What is opened when it is first needed, by whichever thread needs it first."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Lazy(Generic[T]):
    """What ``open`` returns. Thread-safe: one thread opens it, outside of the lock, and those that ask meanwhile
    get what it gets, or its error. While a server does not answer, no thread waits for more than one attempt."""

    def __init__(self, open: Callable[[], T]) -> None:
        self._open = open
        self._lock = threading.Lock()
        self._opened: tuple[T] | None = None
        self._attempt: Future[T] | None = None

    def get(self) -> T:
        """Raises what ``open`` raises; the next call then opens again."""
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
        except BaseException as error:
            with self._lock:
                self._attempt = None
            mine.set_exception(error)
            raise
        with self._lock:
            self._attempt, self._opened = None, (found,)
        mine.set_result(found)
        return found

    def take(self) -> T | None:
        """What was opened, to close it; None if nothing was. The next ``get`` opens again."""
        with self._lock:
            opened, self._opened = self._opened, None
        return None if opened is None else opened[0]
