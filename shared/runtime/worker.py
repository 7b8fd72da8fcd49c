"""A runner on its own thread, beside the HTTP API of the same process."""

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import cache

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.runtime.behind import FEW
from shared.runtime.runner import Runner
from shared.runtime.tuning import shorten_switch_interval, tune_gc
from shared.runtime.watchdog import Hang, Watchdog, hangs

log = logging.getLogger(__name__)

#: A partition in which nothing was stored for so long waits for something else than its turn.
_STANDING_SECONDS = 5.0


def owner_name() -> str:
    """Identifies this process in the positions: host, a random part and process id. A container that is started
    again has the host name and the process id of the one that was killed, and is another process all the same."""
    pid = os.getpid()
    return f"{socket.gethostname()}/{_random_part(pid)}/{pid}"


@cache
def _random_part(_pid: int) -> str:
    # Of each process that was forked another one.
    return secrets.token_hex(3)


class Worker:
    """Builds a runner once its servers answer, and runs it until ``stop``.

    An error that stops the runner also stops the process, with SIGTERM to itself, so that the API shuts down in
    order. ``stop`` then raises the error, and the process exits with a non-zero status. Work without progress for
    ``stuck_seconds`` is reported as a problem, and logged with the place where it hangs. ``others`` returns the
    problems of partitions that are not this worker's.
    """

    def __init__(
        self,
        build: Callable[[], Runner],
        stuck_seconds: float = 30.0,
        others: Callable[[], list[str]] = list,
    ) -> None:
        self._build, self._others = build, others
        self._stuck_seconds = stuck_seconds
        self._stop = threading.Event()
        self._runner: Runner | None = None
        self._failure: BaseException | None = None
        self._waiting_for = "the start"
        self._thread = threading.Thread(target=self._work, name="runner")
        watchdog = Watchdog(self._hangs, self._thread)
        self._watch = threading.Thread(target=watchdog.watch, args=[self._stop], name="watchdog", daemon=True)

    @property
    def runner(self) -> Runner | None:
        """None until the servers have answered."""
        return self._runner

    def start(self) -> None:
        self._thread.start()
        self._watch.start()

    def stop(self) -> None:
        """Finish the current slice, publish what is stored, leave the group. Raises the error that stopped the
        runner earlier, if any."""
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def problems(self) -> list[str]:
        """Why the worker cannot work now; empty when it can."""
        if self._failure is not None:
            return [f"stopped by {type(self._failure).__name__}: {self._failure}"]
        if self._runner is None:
            return [f"waiting for {self._waiting_for}"]
        now = time.monotonic()
        return [hang.describe(now) for hang in self._hangs(now)] + self._others()

    def behind(self) -> float:
        """For how many seconds records wait, while many do; otherwise 0. Partitions in which nothing moves do not
        count: less to do would not help them."""
        if self._runner is None:
            return 0.0
        now = time.monotonic()
        partitions = list(self._runner.partitions.values())
        moving = [each for each in partitions if now - each.moved_at < _STANDING_SECONDS]
        if sum(each.waiting for each in moving) < FEW:
            return 0.0
        return max(each.behind.seconds(each.moved_at, now) for each in moving)

    def _hangs(self, now: float) -> list[Hang]:
        return [] if self._runner is None else hangs(self._runner, self._stuck_seconds, now)

    def _work(self) -> None:
        try:
            runner = self._build_with_retry()
            shorten_switch_interval()
            tune_gc()
            if runner is not None:
                self._runner = runner
                runner.run(self._stop)
        except BaseException as error:
            # What a setting can mend is said in full by its message.
            log.critical("the worker stops: %s", error, exc_info=not isinstance(error, ConfigurationError))
            self._failure = error
            os.kill(os.getpid(), signal.SIGTERM)

    def _build_with_retry(self) -> Runner | None:
        started, said = time.monotonic(), ""
        while not self._stop.is_set():
            try:
                built = self._build()
            except Unavailable as error:
                self._waiting_for = str(error)
                level = logging.DEBUG if said == self._waiting_for else logging.WARNING
                said = self._waiting_for
                log.log(level, "waiting for a server: %s", error)
                self._stop.wait(1.0)
            else:
                if said:
                    log.info("the servers answer after %.0f s", time.monotonic() - started)
                return built
        return None
