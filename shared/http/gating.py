"""What stands before an API that must not answer yet."""

import logging
import threading
from collections.abc import MutableMapping, Sequence
from typing import Any

from fastapi import FastAPI

from shared.contracts.errors import Unavailable
from shared.http.server import problem

log = logging.getLogger(__name__)

_LOOK_SECONDS, _TROUBLE_SECONDS = 0.5, 5.0


class Waiting:
    """Looks again and again, in a thread once ``start`` is called, until there is nothing to wait for; then it is
    ``open``, for good. Who makes one says in ``look`` what there is. Safe for threads."""

    def __init__(self, unknown: str) -> None:
        """``unknown``: what is wrong until it has been looked for the first time."""
        self.open = False
        self._problems = [unknown]
        self._said = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="gate", daemon=True)

    def look(self) -> list[str]:
        """Why nothing may be answered yet; empty when everything may. Raises Unavailable."""
        raise NotImplementedError

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def problems(self) -> list[str]:
        """Why nothing may be answered yet, as of the last look."""
        return [] if self.open else self._problems

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                if not (found := self.look()):
                    self.open = True
                    return
                self._problems = found
            except Unavailable as error:
                log.warning("the gate waits: %s", error)
            except Exception as error:
                # Somebody has to do something: grant a right, for one. Then it opens without a restart.
                if self._said != (said := repr(error)):
                    log.exception("the gate cannot be opened")
                    self._said = said
                self._problems = ["what has to be known before anything is answered cannot be read; see the log"]
                self._stop.wait(_TROUBLE_SECONDS)
            self._stop.wait(_LOOK_SECONDS)


def add_gate(app: FastAPI, gate: Waiting, but: Sequence[str] = ()) -> None:
    """Answer 503 to every request about data while the gate is not open. ``but``: paths that tell of nobody."""
    app.add_middleware(_Gated, gate=gate, but=frozenset(but))


class _Gated:
    """ASGI middleware."""

    def __init__(self, app: Any, gate: Waiting, but: frozenset[str]) -> None:
        self._app, self._gate, self._but = app, gate, but

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not self._gate.open and self._about_data(scope["path"]):
            detail = f"{'; '.join(self._gate.problems())}; try again"
            await problem(503, detail, {"Retry-After": "1"})(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _about_data(self, path: str) -> bool:
        return path.startswith(("/v1/", "/odata/")) and path not in self._but
