"""Locks that those who wait for them get in the order in which they came."""

import threading
from collections import deque
from types import TracebackType


class QueueLock:
    """A ``threading.Lock`` may go to a thread that has just released it again and again, and one that waits, such
    as the follower of changes, never has its turn."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()

    def take_free(self) -> bool:
        """Take it if nobody has it. Who gets True gives it back by ``__exit__``."""
        with self._guard:
            free = not self._held
            self._held = True
        return free

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False


class QueueLocks:
    """A lock for each name."""

    def __init__(self) -> None:
        self._locks: dict[str, QueueLock] = {}

    def of(self, name: str) -> QueueLock:
        return self._locks.get(name) or self._locks.setdefault(name, QueueLock())
