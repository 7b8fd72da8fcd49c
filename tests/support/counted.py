"""Threads that wait for one another, counted."""

import threading
from concurrent.futures import Future
from typing import Any


class Counted(Future[Any]):
    """A future that knows how many threads wait, or are just about to."""

    waiting = threading.Semaphore(0)

    def result(self, timeout: float | None = None) -> Any:
        self.waiting.release()
        return super().result(timeout)
