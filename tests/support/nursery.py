"""Workers as forks of a process that has imported their code already: the imports are one or two seconds of a
processor, and the fault and end-to-end tests start hundreds of workers. A fork is what ``python -m MODULE`` is
after them: its own session, environment, log and end, and the kernel kills it when the nursery is gone, which ends
with the tests.
Importing a module has no effects: what is inherited is modules, and the seed of hashes, which orders sets. Where
processes must agree whatever their seeds, they are fresh ones.

``python -m tests.support.nursery DESCRIPTOR`` is the nursery; ``Worker`` is the tests' side.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from shared.local.private import UMASK, private_file
from shared.local.processes import Process, ProcessFailed
from shared.local.shim import PR_SET_PDEATHSIG
from tests.support.paths import ROOT

_LARGEST = 1 << 20


class Worker(Process):
    """One that the nursery forks. Its ``argv`` is ``python -m MODULE ARGUMENT…``, and the arguments are modules.
    On a system that is not Linux, and lacks what the nursery needs, it is a process like any other."""

    #: One for all, as long as the tests run or until it ends.
    _nursery: "ClassVar[_Nursery | None]" = None

    def _spawn(self) -> None:
        if sys.platform != "linux":
            super()._spawn()
            return
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(private_file(self.log, os.O_WRONLY | os.O_APPEND))
        self._log_start = self.log.stat().st_size
        if Worker._nursery is None:
            Worker._nursery = _Nursery(self.log.with_name("nursery.log"))
        argv = self.argv[self.argv.index("-m") + 1 :]
        # Has what of it is used.
        self._child = _Fork(Worker._nursery, argv, self.log, self.env or {})  # type: ignore[assignment]


class _Fork:
    """What ``Process`` uses of a ``subprocess.Popen``, of a child of the nursery."""

    def __init__(self, nursery: "_Nursery", argv: list[str], log: Path, env: Mapping[str, str]) -> None:
        self._nursery = nursery
        self.returncode: int | None = None
        self.pid: int = nursery.ask(start=argv, log=str(log), env=dict(env))

    def poll(self) -> int | None:
        if self.returncode is None:
            try:
                self.returncode = self._nursery.ask(ended=self.pid)
            except ProcessFailed:
                # The kernel has killed all of its workers, too.
                self.returncode = -signal.SIGKILL
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired("a worker", timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        # Nobody else gets its number: the nursery has not looked for its end, or it is alive.
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class _Nursery:
    def __init__(self, log: Path) -> None:
        self._lock = threading.Lock()
        self._asked = 0
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
        argv = [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno())]
        self._process = Process("the nursery", argv, log, {**clean, "PYTHONPATH": str(ROOT)})
        self._process.pass_fds = (theirs.fileno(),)
        # In the thread of all starts already.
        self._process._spawn()
        theirs.close()

    def ask(self, **request: Any) -> Any:
        """Raises ProcessFailed when it has ended; the next worker gets another nursery."""
        with self._lock:
            self._asked += 1
            with contextlib.suppress(OSError):
                self._socket.send(json.dumps([self._asked, request]).encode())
                while received := self._socket.recv(_LARGEST):
                    number, answer = json.loads(received)
                    # Else it answers a request whose test was interrupted.
                    if number == self._asked:
                        return answer
            self._socket.close()
            self._process.kill()
            failure = self._process.failure("has ended")
            if Worker._nursery is self:
                Worker._nursery = None
                # Whoever only asks for a worker sees that it was killed.
                print(failure, file=sys.stderr)
        raise failure


def _serve(asked: socket.socket) -> list[str] | None:
    """Answers until the tests are gone: None. In a child: what it is to be."""
    endings: dict[int, int] = {}
    imported: set[str] = set()
    while request := asked.recv(_LARGEST):
        answer: int | None
        number, wanted = json.loads(request)
        match wanted:
            case {"ended": pid}:
                if pid not in endings and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    endings[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                answer = endings.get(pid)
            case {"start": argv, "log": log, "env": env}:
                for module in {*argv} - imported:
                    _import(module)
                    imported.add(module)
                gc.collect()
                gc.freeze()
                parent = os.getpid()
                answer = os.fork()
                if answer == 0:
                    asked.close()
                    _become(parent, log, env)
                    return [*argv]
            case other:
                raise ValueError(other)
        asked.send(json.dumps([number, answer]).encode())
    return None


def _import(module: str) -> None:
    """What it needs stays; itself, it is run and not imported. What cannot be imported fails again in the child,
    and is in its log."""
    with contextlib.suppress(Exception):
        if hasattr(importlib.import_module(module), "__path__"):
            module = f"{module}.__main__"
            importlib.import_module(module)
    sys.modules.pop(module, None)


def _become(parent: int, log: str, env: dict[str, str]) -> None:
    """What ``Process`` gives to a child of its own. The log first: what fails then, is in it."""
    nothing, file = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND)
    for given, place in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(given, place)
    os.close(nothing)
    os.close(file)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the nursery was gone before this process could be tied to it")
    os.setsid()
    os.umask(UMASK)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    gc.unfreeze()


def main() -> None:
    # What a child does, it does outside of the nursery's own frames.
    if (argv := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        sys.argv = argv
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
