"""Detects a worker that makes no progress, and logs the stack of the blocked thread."""

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

from shared.runtime.protocols import Partition
from shared.runtime.runner import Runner

log = logging.getLogger(__name__)

#: Name prefix of the threads that run a runner's reads and commits.
STORE_THREADS = "store"


class Hang(NamedTuple):
    """Work that has been pending since ``since`` (``time.monotonic()``). Without ``partition`` the whole worker
    hangs. ``blocked``: the worker's thread does not return from the step."""

    step: str
    partition: Partition | None
    since: float
    trouble: str | None
    blocked: bool

    def describe(self, now: float) -> str:
        seconds = f"{now - self.since:.0f} s"
        where = f"{self.step} of {self.partition}" if self.partition else self.step
        if self.blocked:
            return f"the worker hangs in {where} for {seconds}"
        because = f": {self.trouble}" if self.trouble else ""
        return f"{self.partition} has been stuck in {self.step} for {seconds}{because}"


def hangs(runner: Runner, limit: float, now: float) -> list[Hang]:
    """Everything that has hung for longer than ``limit`` seconds. Any thread may call it."""
    doing = runner.doing
    if now - doing.since > limit:
        # The partitions wait because the worker does.
        return [Hang(doing.step, doing.partition, doing.since, None, True)]
    waits = [(state.partition, state.wait) for state in list(runner.partitions.values())]
    return [
        Hang(wait.step, partition, wait.since, wait.trouble, False)
        for partition, wait in waits
        if wait is not None and now - wait.since > limit
    ]


class Watchdog:
    """Checks a runner once a second on its own thread. Logs each hang once, with the stacks of the blocked
    threads, and its end."""

    def __init__(
        self,
        find: Callable[[float], list[Hang]],
        watched: threading.Thread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``find`` returns the hangs as of a time. ``watched`` is the thread whose stack is logged."""
        self._find = find
        self._watched = watched
        self._clock = clock
        self._known: dict[tuple[Partition | None, bool], Hang] = {}

    def watch(self, stop: threading.Event) -> None:
        while not stop.wait(1.0):
            self.look()

    def look(self) -> None:
        """Log new hangs, and those that have ended."""
        now = self._clock()
        found = {(hang.partition, hang.blocked): hang for hang in self._find(now)}
        shown = False
        for key, hang in found.items():
            if key not in self._known:
                extra = {"step": hang.step, "seconds": round(now - hang.since)}
                if hang.partition is not None:
                    extra |= {"topic": hang.partition.topic, "partition": hang.partition.number}
                # The stack is long, and the same for every partition.
                if not shown and (stack := self._stack(hang)):
                    extra["stack"], shown = stack, True
                log.error("stuck: %s", hang.describe(now), extra=extra)
        for key, hang in self._known.items():
            if key not in found:
                log.warning("no longer stuck: %s", hang.partition or "the worker", extra={"step": hang.step})
        self._known = found

    def _stack(self, hang: Hang) -> str:
        """The stack of the worker's thread if it is blocked, otherwise of the threads that read and commit for
        it."""
        if hang.blocked:
            threads = [self._watched]
        elif hang.step in ("fold", "commit"):
            threads = [thread for thread in threading.enumerate() if thread.name.startswith(STORE_THREADS)]
        else:
            threads = []
        frames = sys._current_frames()
        found = [frames.get(thread.ident or 0) for thread in threads]
        return "\n".join("".join(traceback.format_stack(frame)) for frame in found if frame is not None)
