"""Answers that are sent piece by piece: they end soon after the credential does."""

from collections.abc import Awaitable, Callable

import anyio
from fastapi import Response
from starlette.types import Message, Receive, Scope, Send

#: A stream's credential is checked again after so many seconds. With the seconds for which a credential that was
#: read counts as valid (shared.access.lookup), a stream ends within five seconds of a revocation.
RECHECK_SECONDS = 2.0


def is_streamed(answer: Response) -> bool:
    """Whether an answer has no length, because it is made while it is sent."""
    return "content-length" not in answer.headers and answer.status_code not in (204, 304)


class WhileValid(Response):
    """``answer``, as long as ``valid`` returns true. After that it ends without the end of its body, so that no
    client takes a part for the whole; server-sent events end as they always do."""

    def __init__(self, answer: Response, valid: Callable[[], Awaitable[bool]]) -> None:
        self._answer, self._valid = answer, valid
        self.status_code, self.background = answer.status_code, None
        self.raw_headers = answer.raw_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        revoked = begun = False
        events = (self.headers.get("content-type") or "").startswith("text/event-stream")
        failed: Exception | None = None

        async def watch(group: anyio.CancelScope) -> None:
            nonlocal revoked
            while await self._valid():
                await anyio.sleep(RECHECK_SECONDS)
            revoked = True
            if not events and (connection := scope.get("kith.connection")) is not None:
                # At once: an answer's thread may take long to end.
                connection.cut()
            group.cancel()

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        async with anyio.create_task_group() as group:
            group.start_soon(watch, group.cancel_scope)
            try:
                await self._answer(scope, receive, noted)
            except Exception as error:  # raised below: the group would wrap it
                failed = error
            group.cancel_scope.cancel()
        if revoked and events and begun:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        if failed is not None:
            raise failed
