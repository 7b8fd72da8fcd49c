"""Workers as forks of a process that has imported their code already: the imports are two seconds of a processor,
and the fault tests start hundreds of workers. A fork is what ``python -m tests.fault.process`` is after them: its
own session, environment, log and end, and the kernel kills it when the nursery is gone, which ends with the tests.
Importing a module has no effects: nothing but modules is inherited.

``python -m tests.fault.nursery DESCRIPTOR`` is the nursery; ``Worker`` is the tests' side.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
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
from shared.local.processes import Process
from shared.local.shim import PR_SET_PDEATHSIG
from tests.fault import process
from tests.support.paths import ROOT

_LARGEST = 1 << 20


class Worker(Process):
    """A process of ``tests.fault.process`` with one of the services in it."""

    #: One for all, as long as the tests run.
    _nursery: "ClassVar[_Nursery | None]" = None

    def __init__(self, name: str, service: str, log: Path, env: dict[str, str]) -> None:
        super().__init__(name, ["tests.fault.process", f"services.{service}"], log, env)

    def _spawn(self) -> None:
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(private_file(self.log, os.O_WRONLY | os.O_APPEND))
        self._log_start = self.log.stat().st_size
        if Worker._nursery is None:
            Worker._nursery = _Nursery(self.log.with_name("nursery.log"))
        # Has what of it is used.
        self._child = _Fork(Worker._nursery, self.argv, self.log, self.env or {})  # type: ignore[assignment]


class _Fork:
    """What ``Process`` uses of a ``subprocess.Popen``, of a child of the nursery."""

    def __init__(self, nursery: "_Nursery", argv: list[str], log: Path, env: Mapping[str, str]) -> None:
        self._nursery = nursery
        self.returncode: int | None = None
        self.pid: int = nursery.ask(start=argv, log=str(log), env=dict(env))

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask(ended=self.pid)
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
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
        argv = [sys.executable, "-m", "tests.fault.nursery", str(theirs.fileno())]
        self._process = Process("the nursery", argv, log, {**clean, "PYTHONPATH": str(ROOT)})
        self._process.pass_fds = (theirs.fileno(),)
        # In the thread of all starts already.
        self._process._spawn()
        theirs.close()

    def ask(self, **request: Any) -> Any:
        with self._lock:
            self._socket.send(json.dumps(request).encode())
            answer = self._socket.recv(_LARGEST)
        if not answer:
            raise self._process.failure("has ended")
        return json.loads(answer)


def _serve(asked: socket.socket) -> list[str] | None:
    """Answers until the tests are gone: None. In a child: what it is to be."""
    endings: dict[int, int] = {}
    imported: set[str] = set()
    while request := asked.recv(_LARGEST):
        answer: int | None
        match json.loads(request):
            case {"ended": pid}:
                if pid not in endings and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    endings[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                answer = endings.get(pid)
            case {"start": argv, "log": log, "env": env}:
                module = f"{argv[1]}.__main__"
                if module not in imported:
                    importlib.import_module(module)
                    imported.add(module)
                    # What it needs stays; itself, it is run and not imported.
                    del sys.modules[module]
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
        asked.send(json.dumps(answer).encode())
    return None


def _become(parent: int, log: str, env: dict[str, str]) -> None:
    """What ``Process`` gives to a child of its own."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the nursery was gone before this process could be tied to it")
    os.setsid()
    os.umask(UMASK)
    nothing, file = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND)
    for given, place in ((nothing, 0), (file, 1), (file, 2)):
        os.dup2(given, place)
    os.close(nothing)
    os.close(file)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    gc.unfreeze()


def main() -> None:
    # What a child does, it does outside of the nursery's own frames.
    if (argv := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        sys.argv = argv
        process.main()


if __name__ == "__main__":
    main()
