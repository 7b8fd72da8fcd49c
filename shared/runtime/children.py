"""Child processes that compute for this one, so that no thread of it waits for the interpreter meanwhile.

A child answers one request at a time, over a socket that is its standard input. It is started when it is first
needed, with a lower priority than its parent, and ends with it.
"""

import logging
import os
import queue
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from multiprocessing.connection import Connection
from typing import Any

from shared.runtime.interruption import Interrupted, Interruption, current

#: Added to a child's niceness: what answers in milliseconds goes before what takes seconds.
NICENESS = 10
#: How long a child has to end a request whose client has left. It is killed after that.
GRACE_SECONDS = 2.0
#: A child without requests ends after this.
IDLE_SECONDS = 600.0
#: A child that has become larger than this ends after its answer, because Python keeps memory for itself.
_LARGE_BYTES = 512 * 1024 * 1024
#: The largest answer that is read.
_MOST_BYTES = 256 * 1024 * 1024
_LOOK_SECONDS = 0.25
#: Instead of a request: end the one that was sent before.
_CANCEL = b""

log = logging.getLogger(__name__)


class ChildEnded(Exception):
    """The child has ended without an answer. The text completes "the process that computes …"."""


class ChildTooSlow(ChildEnded):
    """The child was ended at the time limit."""


class Children:
    """At most ``most`` children. Thread-safe: each of as many threads can ask at the same time, others wait.

    ``command`` is the child's; it calls ``answer_parent``. ``seconds`` is the time limit of one answer, with the
    start of a child.
    """

    def __init__(self, command: Sequence[str], most: int, seconds: float) -> None:
        self.most = most
        self._command, self._seconds = list(command), seconds
        self._places = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._closed = False

    def ask(self, request: bytes) -> bytes:
        """A child's answer to a request, which must not be empty. Raises ChildEnded, and Interrupted when this
        thread's work is ended (``shared.runtime.interruption``)."""
        with self._places:
            until = time.monotonic() + self._seconds
            while True:
                child, used = self._take()
                try:
                    answer = child.ask(request, until)
                except _EndedItself:
                    self._drop(child)
                    if used:  # it may have ended just before the request came
                        continue
                    raise ChildEnded("ended before it answered") from None
                except BaseException:
                    self._drop(child)
                    raise
                with self._lock:
                    self._idle.append(child)
                return answer

    @property
    def running(self) -> list[int]:
        """The process ids of the children."""
        with self._lock:
            return [child.process.pid for child in self._all]

    def close(self) -> None:
        """End all children. Requests in progress raise ChildEnded."""
        with self._lock:
            self._closed = True
            children = list(self._all)
        for child in children:
            end(child.process)

    def _take(self) -> "tuple[_Child, bool]":
        with self._lock:
            if self._closed:
                raise ChildEnded("is not started any more, because the service stops")
            if self._idle:
                # The last one: the others may end.
                return self._idle.pop(), True
            child = self._started()
            # The start takes a second: who comes next, from another tenant, does not wait for it.
            if len(self._all) < self.most:
                self._idle.append(self._started())
            return child, False

    def _started(self) -> "_Child":
        child = _Child(self._command)
        self._all.add(child)
        return child

    def _drop(self, child: "_Child") -> None:
        end(child.process)
        child.pipe.close()
        with self._lock:
            self._all.discard(child)


class _EndedItself(Exception):
    """The child has ended with status 0, as one does that is not needed."""


class _Child:
    def __init__(self, command: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = start(command, stdin=theirs)
        self.pipe: Connection[bytes, bytes] = Connection(ours.detach())

    def ask(self, request: bytes, until: float) -> bytes:
        work, cancelled = current(), [float("inf")]

        def cancel(_: str) -> None:
            cancelled[0] = time.monotonic()
            with suppress(OSError):
                self.pipe.send_bytes(_CANCEL)

        try:
            self.pipe.send_bytes(request)
            with work.during(cancel) if work is not None else nullcontext():
                while not self.pipe.poll(_LOOK_SECONDS):
                    now = time.monotonic()
                    if now > cancelled[0] + GRACE_SECONDS:
                        raise Interrupted
                    if now > until:
                        raise ChildTooSlow("took longer than it may, and was ended")
                return self.pipe.recv_bytes(_MOST_BYTES)
        except (EOFError, OSError):
            with suppress(subprocess.TimeoutExpired):
                if self.process.wait(GRACE_SECONDS) == 0:
                    raise _EndedItself from None
            end(self.process)
            raise ChildEnded(how_it_ended(self.process.returncode)) from None


def start(command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """A child with a lower priority, in a process group of its own: Ctrl-C in a terminal is for its parent."""
    # No session of its own: Linux divides the processor between sessions first, and a priority counts only within
    # one.
    child = subprocess.Popen(list(command), process_group=0, **options)
    # From here, because it has not imported anything yet, and what it starts inherits it.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, child.pid, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
    return child


def end(child: "subprocess.Popen[bytes]") -> None:
    """Kill a child with what it has started, and return when it has ended."""
    # The group outlives its leader where a child of the child does.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def how_it_ended(status: int) -> str:
    """In words, of a status other than 0."""
    if status < 0:
        return f"was ended by the signal {signal.Signals(-status).name}"
    return f"ended with status {status}"


def confine(memory_bytes: int | None = None) -> None:
    """In a child, first: bound its memory, and leave no core dump, because its memory contains data."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes is not None:
        with suppress(ValueError, OSError):  # the machine's own limit is lower
            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


def answer_parent(answer: Callable[[bytes], bytes], idle_seconds: float = IDLE_SECONDS) -> None:
    """Answer the parent's requests, one after the other, until none has come for ``idle_seconds`` or this process
    has become large. When the parent ends, so does this process, in the middle of whatever it does.

    While ``answer`` runs, ``current()`` is ended when nobody waits for it; then its answer is not read.
    """
    pipe: Connection[bytes, bytes] = Connection(os.dup(0))
    with open(os.devnull) as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    work = _Work(pipe)
    threading.Thread(target=work.read, name="parent", daemon=True).start()
    while (request := work.next(idle_seconds)) is not None:
        body, interruption = request
        with interruption.active():
            made = answer(body)
        pipe.send_bytes(made)
        if _resident_bytes() > _LARGE_BYTES:
            return


class _Work:
    """What the parent asks for."""

    def __init__(self, pipe: "Connection[bytes, bytes]") -> None:
        self._pipe = pipe
        self._requests: queue.SimpleQueue[tuple[bytes, Interruption]] = queue.SimpleQueue()
        self._last: Interruption | None = None

    def next(self, seconds: float) -> tuple[bytes, Interruption] | None:
        try:
            return self._requests.get(timeout=seconds)
        except queue.Empty:
            return None

    def read(self) -> None:
        try:
            while True:
                if (request := self._pipe.recv_bytes()) != _CANCEL:
                    self._last = Interruption(uuid.uuid4().hex)
                    self._requests.put((request, self._last))
                elif self._last is not None:
                    self._last.interrupt()
        except (EOFError, OSError):
            os._exit(0)


def _resident_bytes() -> int:
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * resource.getpagesize()
