"""Answers HEAD wherever there is GET."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class HeadAsGet:
    """ASGI middleware: HEAD gets the status and headers of GET, without the body. A streamed answer is ended after
    its head."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        ended = False

        async def head_only(message: MutableMapping[str, Any]) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                ended = True
            elif message.get("more_body", False):
                raise _HeadSent

        asked = {**scope, "method": "GET", "kith.method": "HEAD"}
        try:
            await self._app(asked, receive, head_only)
        except (_HeadSent, ClientDisconnect):
            # A stream that cannot be sent ends as if its reader had disconnected.
            if not ended:
                raise
        finally:
            # For the outer middleware, which measures by route.
            if "route" in asked:
                scope["route"] = asked["route"]


class _HeadSent(OSError):
    """Raised into a stream whose body is not needed."""
