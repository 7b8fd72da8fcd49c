"""``/health/live`` and ``/health/ready`` of every service."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI

from shared.http.problems.server import NOT_READY
from shared.http.scopes import public
from shared.http.server import problem, problems


class _Probe:
    """Asks ``ready`` in a thread of its own, once for everybody who waits. So neither work in progress nor a flood
    of health checks delays one."""

    def __init__(self, ready: Callable[[], Sequence[str]]) -> None:
        self._ready = ready
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._asked: asyncio.Future[Sequence[str]] | None = None

    async def reasons(self) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        asked = self._asked
        if asked is None or asked.done() or asked.get_loop() is not loop:
            asked = self._asked = loop.run_in_executor(self._executor, self._ready)
        return await asyncio.shield(asked)


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
