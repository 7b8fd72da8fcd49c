"""Child processes that are stopped in order and never outlive their parent, and free ports for them."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

from shared.contracts.errors import ConfigurationError
from shared.local.private import UMASK, new_folder, private_file

SHIM = Path(__file__).with_name("shim.py")

# The kernel ties a child to the *thread* that forked it. Every child is therefore forked by this one thread,
# which lives as long as the process, so that a child may be started from a thread that ends.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ProcessFailed(ConfigurationError):
    """A child process ended, or was not ready in time. The message holds the end of its log."""


class Process:
    """A child process that logs to a file.

    ``stop`` asks with SIGTERM and kills after ``grace`` seconds. A parent that dies, even by ``kill -9``,
    takes the child with it (on Linux, by PR_SET_PDEATHSIG set in ``shim.py``: a ``preexec_fn`` is unsafe
    beside threads; elsewhere only an orderly end of the parent does). The child has a session of its own:
    Ctrl-C in the terminal reaches the parent only, who decides in which order to stop. ``stop_signal`` replaces
    SIGTERM.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        grace: float = 30.0,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self.env = env
        self.grace = grace
        self.stop_signal = stop_signal
        #: The folder it runs in; None: this process's.
        self.cwd: Path | None = None
        #: As whom it runs, (user id, group id), where this process is root's; and descriptors that it keeps.
        self.user: tuple[int, int] | None = None
        self.pass_fds: Sequence[int] = ()
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The process id, None when it was never started."""
        return None if self._child is None else self._child.pid

    @property
    def returncode(self) -> int | None:
        """The exit status (negative: the signal that ended it); None before the start and while it runs."""
        return None if self._child is None else self._child.poll()

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start, or start again after the end. The log is appended to."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        _spawner.submit(self._spawn).result()

    def ask_to_stop(self) -> None:
        """Send the signal and return at once, so that several can stop side by side."""
        self._signal(self.stop_signal)

    def stop(self) -> None:
        """Stop gracefully, or by force after the grace period. Not running is fine."""
        self.ask_to_stop()
        try:
            self._wait(self.grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """``kill -9``: what a crash looks like."""
        self._signal(signal.SIGKILL)
        self._wait(None)

    def check(self) -> None:
        """Raise ProcessFailed if it has ended."""
        if not self.running:
            raise self.failure("was never started" if self._child is None else f"ended with {self.ending}")

    def wait_until(self, missing: Callable[[], str | None], seconds: float, pause: float = 0.05) -> None:
        """Return once ``missing`` returns None; a text is what it waits for. Stops the process and raises
        ProcessFailed after ``seconds``, and raises it when the process has ended. ``pause`` is in seconds."""
        deadline = time.monotonic() + seconds
        while (what := missing()) is not None:
            self.check()
            if time.monotonic() > deadline:
                self.stop()
                raise self.failure(f"was not ready after {seconds:.0f} s" + (f" ({what})" if what else ""))
            time.sleep(pause)

    @property
    def ending(self) -> str:
        """How it ended, for a person: ``status 1`` or ``SIGKILL``."""
        code = self.returncode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return signal.Signals(-code).name
        return f"status {code}"

    def failure(self, what: str) -> ProcessFailed:
        """An error that says what happened to this process, with the end of its log."""
        return ProcessFailed(
            f"{self.name} {what}. The end of its log, {self.log}:\n{tail(self.log, since=self._log_start)}"
        )

    def _spawn(self) -> None:
        new_folder(self.log.parent)
        with os.fdopen(private_file(self.log, os.O_WRONLY | os.O_APPEND), "ab") as log:
            self._log_start = log.seek(0, os.SEEK_END)
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SHIM), str(os.getpid()), self._shown_user(), *self.argv],
                env=None if self.env is None else dict(self.env),
                cwd=self.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=UMASK,
                pass_fds=self.pass_fds,
            )

    def _shown_user(self) -> str:
        return "-" if self.user is None else f"{self.user[0]}:{self.user[1]}"

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)

    def _wait(self, timeout: float | None) -> None:
        if self._child is not None:
            self._child.wait(timeout)


class Server(Protocol):
    """A server that waits until it can be used, and stops gracefully. Stopping what does not run is fine."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


S = TypeVar("S", bound=Server)


@contextmanager
def running(server: S) -> Iterator[S]:
    """``server``, started for the time of the block."""
    try:
        server.start()
        yield server
    finally:
        server.stop()


def tail(log: Path, lines: int = 15, since: int = 0) -> str:
    """The last lines of a log file, indented; ``since`` is the position before which nothing is shown."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, log.stat().st_size - 16_384))
            last = file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        last = []
    return "\n".join(f"    {line}" for line in last or ["(empty)"])


def free_ports(n: int, base: int | None = None) -> list[int]:
    """``n`` free TCP ports: from ``base`` upwards, without those in use; without a base, any."""
    if base is None:
        return replace_taken([0] * n)
    ports = list(islice((port for port in range(base, 65_536) if is_free(port)), n))
    if len(ports) < n:
        raise ConfigurationError(f"there are no {n} free ports from {base} upwards")
    return ports


def replace_taken(wanted: Sequence[int]) -> list[int]:
    """The wanted ports in their order, each that is in use (or 0, or wanted twice) replaced by a free one."""
    ports: list[int] = []
    for port in wanted:
        if port == 0 or port in ports or not is_free(port):
            port = _any_free(exclude={*ports, *wanted})
        ports.append(port)
    return ports


def is_free(port: int) -> bool:
    """Whether a server could listen on this port, on any address."""
    with socket.socket() as candidate:
        # As servers do: a port that only has connections in TIME_WAIT is free.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("", port))
        except OSError:
            return False
        return True


def _reserve(port: int) -> bool:
    """Whether no process of Kith has chosen this port before that still runs, this one included: until a server
    listens, nothing else keeps two from choosing the same one."""
    if sys.platform != "linux":
        return True
    # A name in the kernel's memory, which is to go with the process and not before.
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0kith-port-{port}")
    except OSError:
        mark.close()
        return False
    mark.detach()
    return True


def _any_free(exclude: set[int]) -> int:
    # Not the kernel's choice (bind to 0): it comes from the range of outgoing connections, one of which could
    # take the port again in the seconds until a server listens.
    for port in random.sample(range(20_000, 32_000), 1000):
        if port not in exclude and is_free(port) and _reserve(port):
            return port
    raise ConfigurationError("there is no free port between 20000 and 32000")
