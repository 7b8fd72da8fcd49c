"""Answers 503 while a readiness gate is closed."""

from collections.abc import MutableMapping, Sequence
from typing import Any

from fastapi import FastAPI

from shared.http.problems.server import CATCHING_UP
from shared.http.server import problem
from shared.runtime.readiness import ReadinessGate


def add_gate(app: FastAPI, gate: ReadinessGate, but: Sequence[str] = ()) -> None:
    """Answer 503 to every request for data while the gate is closed. ``but``: paths without data of consumers."""
    app.add_middleware(_Gated, gate=gate, but=frozenset(but))


class _Gated:
    """ASGI middleware."""

    def __init__(self, app: Any, gate: ReadinessGate, but: frozenset[str]) -> None:
        self._app, self._gate, self._but = app, gate, but

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not self._gate.open and self._about_data(scope["path"]):
            detail = f"{'; '.join(self._gate.problems())}; try again"
            await problem(503, detail, {"Retry-After": "1"}, kind=CATCHING_UP)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _about_data(self, path: str) -> bool:
        return path.startswith(("/v1/", "/odata/")) and path not in self._but
