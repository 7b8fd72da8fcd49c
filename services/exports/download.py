"""An HTTP answer that streams an export, and frees its resources when the client disconnects."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from threading import Event

import anyio
from anyio import CapacityLimiter, to_thread
from fastapi import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.exports.columns import Batches, Row, WriterFailed
from services.exports.formats import FORMATS, Format
from services.exports.snapshot import MomentPassed
from services.exports.source import Export
from shared.access.guard import CallerOf, held_by, owner_of
from shared.contracts.errors import Unavailable, WrongMasterKey
from shared.contracts.limits import Most
from shared.http.problems.server import WRONG_MASTER_KEY
from shared.http.server import problem
from shared.http.shares import Share

_log = logging.getLogger(__name__)


class Cancelled(Exception):
    """The client has disconnected."""


class Stoppable:
    """Rows that raise Cancelled once they are stopped, from any thread."""

    def __init__(self, rows: Batches) -> None:
        self._rows = rows
        self._stopped = Event()

    def __iter__(self) -> "Stoppable":
        return self

    def __next__(self) -> Sequence[Row]:
        if self._stopped.is_set():
            raise Cancelled
        return next(self._rows)

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        self._rows.close()


class Download(Response):
    """``chunks`` are made in threads of ``limiter``, one at a time, never ahead of a slow reader.

    A failure midway closes the connection without the end of the body, so that no client takes a part for the
    whole. With ``awaited`` the answer begins with the first chunk; an earlier failure is answered as a problem.
    """

    def __init__(
        self,
        chunks: Iterator[bytes],
        rows: Stoppable,
        limiter: CapacityLimiter,
        headers: Mapping[str, str],
        media_type: str,
        awaited: bool = False,
    ) -> None:
        super().__init__(None, 200, headers, media_type)
        del self.headers["content-length"]
        self._chunks = chunks
        self._rows = rows
        self._limiter = limiter
        self._awaited = awaited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        failed: Exception | None = None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch, receive, group.cancel_scope)
                try:
                    await self._stream(scope, receive, send)
                except Exception as error:  # raised below: the group would wrap it
                    failed = error
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._end, limiter=self._limiter)
        # The server closes the connection if the end of the body is missing.
        if failed is not None and not isinstance(failed, Cancelled | MomentPassed | Unavailable | WriterFailed):
            raise failed

    async def _watch(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        # The thread that reads, or feeds the writer of the file, ends with the next batch.
        self._rows.stop()
        scope.cancel()

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        chunk: bytes | None = b""
        try:
            if self._awaited:
                chunk = await to_thread.run_sync(self._next, limiter=self._limiter)
        except WriterFailed as error:
            await problem(500, str(error))(scope, receive, send)
            return
        except MomentPassed as error:
            await problem(410, str(error))(scope, receive, send)
            return
        except WrongMasterKey as error:
            await problem(503, str(error), kind=WRONG_MASTER_KEY)(scope, receive, send)
            return
        except Unavailable:
            unavailable = problem(503, "MongoDB is temporarily unavailable. Retry later.", {"Retry-After": "5"})
            await unavailable(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        while chunk is not None:
            if chunk:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await to_thread.run_sync(self._next, limiter=self._limiter)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _next(self) -> bytes | None:
        try:
            return next(self._chunks, None)
        except (MomentPassed, Unavailable, WriterFailed) as error:
            _log.error("an export was aborted", extra={"reason": str(error)})
            raise

    def discard(self) -> None:
        """Free the cursor of a download that is not sent. Blocks."""
        self._end()

    def _end(self) -> None:
        try:
            close = getattr(self._chunks, "close", None)
            if close is not None:
                close()
        finally:
            self._rows.close()


class Downloads:
    """Begins downloads: so many per credential, per tenant and in all."""

    def __init__(self, most: Most) -> None:
        self._limiter = CapacityLimiter(most.process)
        self.places = Share("exports in progress", most, retry_seconds=10)

    async def place(self, request: Request, caller: CallerOf) -> None:
        """A dependency of routes: takes a place until the request has ended. Raises Refusal (429, 503)."""
        held_by(request).enter_context(self.places.taken(owner_of(caller)))

    def begin(self, opened: Callable[[], Export], format: str) -> Response:
        """The download, in the place that its request has. Raises what ``opened`` raises, and NotInstalled."""
        return self._answer(opened(), FORMATS[format])

    def _answer(self, export: Export, format: Format) -> Download:
        rows = Stoppable(export.rows)
        try:
            chunks = format.chunks(replace(export, rows=rows))
        except BaseException:
            rows.close()
            raise
        headers = {
            "Content-Disposition": f'attachment; filename="{export.filename}.{format.extension}"',
            "Kith-As-Of": export.as_of.isoformat().replace("+00:00", "Z"),
            "Cache-Control": "no-store",
        }
        if export.hidden:
            headers["Kith-Masked"] = ", ".join(export.hidden)
        if export.about:
            # Lists may be longer than a header.
            about = {name: value for name, value in export.about.items() if not isinstance(value, list)}
            headers["Kith-Measure"] = json.dumps(about)
        return Download(chunks, rows, self._limiter, headers, format.media_type, format.awaited)
