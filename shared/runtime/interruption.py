"""Ends the work of a thread whose result nobody waits for any more."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """The caller has gone; what the thread was doing for them is of no use."""


class Interruption:
    """One piece of work, which another thread can end. ``tag`` marks it in other systems.

    What blocks the thread names, for as long as it blocks, a way to end it (``during``). What does not block is
    ended at the next ``check``.
    """

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self._lock = threading.Lock()
        self._over = False
        self._ends: list[Callable[[str], object]] = []

    def interrupt(self) -> None:
        """End the work, from any thread. What is named by ``during`` must not block."""
        with self._lock:
            self._over = True
            ends = list(self._ends)
        for end in ends:
            end(self.tag)

    def check(self) -> None:
        """Raise Interrupted if the work has been ended."""
        if self._over:
            raise Interrupted

    @contextmanager
    def during(self, end: Callable[[str], object]) -> Iterator[None]:
        """Within the block, ``end`` called with the tag ends what blocks."""
        with self._lock:
            self._ends.append(end)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._ends.remove(end)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within the block, this is what the thread works for (``current``)."""
        before = current()
        _thread.interruption = self
        try:
            yield
        finally:
            _thread.interruption = before


_thread = threading.local()


def current() -> Interruption | None:
    """What this thread works for; None for work that nobody can end."""
    found: Interruption | None = getattr(_thread, "interruption", None)
    return found
