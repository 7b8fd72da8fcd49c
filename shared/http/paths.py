"""Ids in URLs: in any spelling, and in paths with slashes, which clients encode as %2F.

Servers decode a path before routing, and such a slash then looks like any other.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Annotated, Any
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator

from shared.contracts.events import Id
from shared.contracts.spelling import nfc

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

#: Stands for a slash within a segment. It is a lone surrogate, which decoding never produces.
_SLASH = "\udc2f"


class EncodedSlashes:
    """ASGI middleware that keeps %2F within its path segment. Ids in paths must be declared as PathId."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        raw: bytes = scope.get("raw_path") or b""
        if scope["type"] == "http" and b"%2f" in raw.lower():
            segments = raw.decode("ascii", "replace").split("/")
            scope["path"] = "/".join(unquote(segment).replace("/", _SLASH) for segment in segments)
        await self._app(scope, receive, send)


def _with_slashes(segment: Any) -> Any:
    return segment.replace(_SLASH, "/") if isinstance(segment, str) else segment


#: Ids are stored in NFC, and asked for in whatever form.
QueryId = Annotated[Id, AfterValidator(nfc)]
PathId = Annotated[QueryId, BeforeValidator(_with_slashes)]
