"""Runs blocking work on a thread of its own, beside an event loop."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from shared.contracts.errors import Stale, Unavailable

log = logging.getLogger(__name__)


class BackgroundCall:
    """Does one call at a time, so that a slow one holds up nothing but the next one of its kind. The log names it
    ``name``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name.replace(" ", "-"))
        self._last: asyncio.Future[Any] | None = None

    def run(self, call: Callable[[], object]) -> None:
        """Begin ``call``, unless the last one still goes on. An error of the last one is logged."""
        if self._last is not None:
            if not self._last.done():
                return
            self._report(self._last)
        self._last = asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _report(self, done: "asyncio.Future[Any]") -> None:
        error = done.exception()
        if isinstance(error, Unavailable | Stale):
            log.warning("the %s waits for a server: %s", self._name, error)
        elif error is not None:
            log.error("the %s failed; it begins again", self._name, exc_info=error)
