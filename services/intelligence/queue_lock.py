"""Locks that those who wait for them get in the order in which they came."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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

    @contextmanager
    def in_turn(self) -> Iterator[Callable[[str | None], None]]:
        """Yields what takes the lock of a name in place of the one that is held; None: of no name. Taken for the
        same name again, it is not given back in between."""
        held: str | None = None
        with ExitStack() as turn:

            def take(name: str | None) -> None:
                nonlocal held
                if name == held:
                    return
                turn.close()
                held = None
                if name is not None:
                    turn.enter_context(self.of(name))
                    held = name

            yield take
