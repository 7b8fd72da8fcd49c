"""``/health/live`` and ``/health/ready`` of every service."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI

from shared.http.problems.server import NOT_READY
from shared.http.scopes import public
from shared.http.server import problem, problems

_log = logging.getLogger(__name__)
#: A service that is not ready logs another reason this long after the last one.
_PAUSE_SECONDS = 30.0
_NUMBER = re.compile(r"\d+(\.\d+)?")


class ReadinessLog:
    """Logs when a service gets ready, when it stops to be, and why, in one line each. A reason in which only
    numbers differ is no other one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: str | None = None
        self._at = 0.0

    def note(self, reasons: Sequence[str]) -> None:
        text = "; ".join(reasons)
        known = _NUMBER.sub("", text)
        if known == self._known or (known and self._known and self._clock() - self._at < _PAUSE_SECONDS):
            return
        self._known, self._at = known, self._clock()
        if text:
            _log.warning("not ready: %s", text)
        else:
            _log.info("ready")


class _Probe:
    """Asks ``ready`` in a thread of its own, once for everybody who waits. So neither work in progress nor a flood
    of health checks delays one."""

    def __init__(self, ready: Callable[[], Sequence[str]]) -> None:
        self._ready, self._readiness = ready, ReadinessLog()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._asked: asyncio.Future[Sequence[str]] | None = None

    async def reasons(self) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        asked = self._asked
        if asked is None or asked.done() or asked.get_loop() is not loop:
            asked = self._asked = loop.run_in_executor(self._executor, self._look)
        return await asyncio.shield(asked)

    def _look(self) -> Sequence[str]:
        reasons = self._ready()
        self._readiness.note(reasons)
        return reasons


def add_health(app: FastAPI, ready: Callable[[], Sequence[str]]) -> None:
    """Add ``/health/live`` (the process answers) and ``/health/ready`` (it is able to work).

    ``ready`` returns the reasons why not. It runs on a thread and may block for a moment.
    """
    probe = _Probe(ready)
    #: Also for the metric of readiness.
    app.state.ready = ready

    # No credential: process managers and monitoring call it, and the answers contain no data.
    @app.get("/health/live", tags=["health"], summary="The process answers.", operation_id="getLive")
    @public
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get(
        "/health/ready",
        tags=["health"],
        summary="The service can do its work now.",
        operation_id="getReady",
        response_model=dict[str, str],
        responses=problems({503: "It cannot; detail says why."}),
    )
    @public
    async def is_ready() -> Any:
        reasons = await probe.reasons()
        return problem(503, "; ".join(reasons), kind=NOT_READY) if reasons else {"status": "ready"}
