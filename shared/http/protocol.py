"""The time and size that a connection may take, before its request reaches the app and after its answer has left.

uvicorn has a time limit for idle connections only. Here each part of a request has one, which no trickle of bytes
renews: the head, the body, the rest of a body that nobody reads, and an answer that its client does not take.
"""

import asyncio
import re
import socket
import struct
from collections.abc import Callable
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from shared.contracts.limits import Owner
from shared.http.connections import Connections
from shared.http.limits import Limits
from shared.http.server import problem

#: The app answers 408 when a body is late. If it does not read the body, the connection is closed this much later.
_GRACE_SECONDS = 5.0
#: How long a client may go on sending a body after the answer. Without it, some would not see the answer.
_LINGER_SECONDS = 2.0
#: An answer makes progress when its client takes this many bytes within ``send_seconds``.
_PROGRESS_BYTES = 16 * 1024
#: Most chunks of one body. Each costs as much as some hundred bytes, even an empty one.
MAX_CHUNKS = 6_000
#: Most bytes of a request's head: its first line and its headers.
MAX_HEAD_BYTES = 32 * 1024
#: Most lines of a head, and parameters of an address. Each costs as much as a hundred bytes, even an empty one.
MAX_HEAD_LINES, MAX_PARAMETERS = 200, 1_000
#: Empty lines before a request that are ignored.
_EMPTY_LINES = 8
#: Unsent bytes are discarded when the socket is closed.
_NO_LINGER = struct.pack("ii", 1, 0)
_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    413: b"Content Too Large",
    431: b"Request Header Fields Too Large",
}
#: Where h11's messages begin to quote the request.
_QUOTED = re.compile(r":?\s*(?:bytearray\()?b['\"].*", re.DOTALL)
_TOO_LARGE = f"a request's head has at most {MAX_HEAD_BYTES} bytes; send fewer or shorter headers and parameters"
_TOO_MANY = (
    f"a request's head has at most {MAX_HEAD_LINES} lines and {MAX_PARAMETERS:,} parameters; send fewer headers "
    "or parameters"
)
#: The end of a head: also of one whose lines end without a carriage return.
_BLANK_LINE = re.compile(rb"\n\r?\n")
_AUTHORITY = re.compile(rb"https?://[^/?]*", re.IGNORECASE)


class LimitedProtocol(H11Protocol):
    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
        limits: Limits,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # uvicorn has a set of its own, with the name that this would have.
        self._all, self._limits = connections, limits
        self.conn: _Parser = _Parser(h11.SERVER)
        self.app = self._in_progress
        #: Done when the connection has ended.
        self.gone: asyncio.Future[None] = self.loop.create_future()
        #: Without an admitted request in progress.
        self.idle = True
        self._scope: object = None
        self._waits_for: object = None
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._all.opened(self, self.client[0] if self.client else ""):
            self.drop()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.closed(self)
        if not self.gone.done():
            self.gone.set_result(None)
        for timer in (self._late, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_sending()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None and not self.transport.is_closing():
            self._stalled.cancel()
            self._stalled = None

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls this for what is not HTTP, or exceeds a limit of the parser."""
        self._refuse(*self.conn.fault or (400, msg))

    def belongs_to(self, owner: Owner) -> None:
        """The request in progress was admitted. Raises Refusal (429)."""
        self._all.belongs_to(self, owner)
        self.idle = False

    def drop(self) -> None:
        """Close the connection at once. The app sees that its client has left."""
        self.transport.abort()

    def cut(self) -> None:
        """Close it at once, without what the kernel still has to send: that is megabytes for a client that reads
        slowly."""
        if self.gone.done():
            return  # its number may be another connection's socket by now
        if (connected := self.transport.get_extra_info("socket")) is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.drop()

    async def _in_progress(self, scope: Any, receive: Any, send: Any) -> None:
        scope["kith.connection"], self._scope = self, scope
        try:
            await self.config.loaded_app(scope, receive, send)
        finally:
            # The next request may have begun already.
            if self._scope is scope:
                self.idle = True

    def _watch(self) -> None:
        """Begin the time limit of what the connection waits for now, unless it has begun."""
        if self.transport.is_closing():
            self._wait_for(None)
            self._watch_sending()
            return
        their, answered = self.conn.their_state, self.cycle is None or self.cycle.response_complete
        if their is h11.IDLE:
            self._wait_for(("head", self.cycle), self._limits.head_seconds, self._head_is_late)
        elif their is h11.SEND_BODY and answered:
            self._wait_for(("rest", self.cycle), _LINGER_SECONDS, self.drop)
        elif their is h11.SEND_BODY:
            self._wait_for(("body", self.cycle), self._limits.body_seconds + _GRACE_SECONDS, self.drop)
        else:
            self._wait_for(None)

    def _wait_for(self, what: object, seconds: float = 0.0, late: Callable[[], None] | None = None) -> None:
        if what == self._waits_for:
            return
        if self._late is not None:
            self._late.cancel()
        self._waits_for = what
        self._late = None if late is None else self.loop.call_later(seconds, late)

    def _head_is_late(self) -> None:
        if self.conn.trailing_data[0]:
            self._refuse(408, f"the request's head did not arrive within {self._limits.head_seconds:g} s")
        else:
            self.drop()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer for the app, and close the connection."""
        answer = problem(status, detail, {"Connection": "close"})
        head = h11.Response(status_code=status, headers=answer.raw_headers, reason=_PHRASES[status])
        try:
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            # An answer is under way already.
            self.drop()
            return
        self.transport.close()
        self._watch()

    def _watch_sending(self) -> None:
        """Close the connection when its client does not take what was written."""
        if self._stalled is None and (left := self.transport.get_write_buffer_size()):
            self._stalled = self.loop.call_later(self._limits.send_seconds, self._check_sending, left)

    def _check_sending(self, before: int) -> None:
        self._stalled = None
        if not self.flow.write_paused and not self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() > before - _PROGRESS_BYTES:
            self.logger.warning("an answer was not taken by its client; the connection is closed")
            self.drop()
        else:
            self._watch_sending()


class _Parser(h11.Connection):
    """Refuses heads that are too large, bodies of too many chunks, and requests that another server could end at
    another byte."""

    def __init__(self, role: Any) -> None:
        # The exact limit on a head is below: this one depends on the pieces in which its bytes arrive.
        super().__init__(role, max_incomplete_event_size=2 * MAX_HEAD_BYTES)
        self._chunks = self._empty_lines = 0
        #: Status and detail of the answer to a request that is not understood.
        self.fault: tuple[int, str] | None = None

    def next_event(self) -> Any:
        if self.their_state is h11.IDLE:
            self._look_at_head()
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                self._refuse(431, _TOO_LARGE)
            self._refuse(400, f"the request is not HTTP/1.1 (RFC 9112): {_QUOTED.sub('', str(error))}")
        if isinstance(event, h11.Request):
            self._chunks = self._empty_lines = 0
            return self._checked(event)
        if isinstance(event, h11.Data) and event.chunk_start:
            self._chunks += 1
            if self._chunks > MAX_CHUNKS:
                self._refuse(413, f"a body has at most {MAX_CHUNKS:,} chunks; send larger ones")
        return event

    def _look_at_head(self) -> None:
        """Refuse a head of too many lines before it is read: that takes a hundred times as long as its bytes."""
        waiting = self.trailing_data[0]
        # An empty line before a request is ignored (RFC 9112, section 2.2): some clients end a body with one.
        start = 0
        while waiting.startswith(b"\r\n", start) and self._empty_lines < _EMPTY_LINES:
            start += 2
            self._empty_lines += 1
        if start:
            self._receive_buffer.maybe_extract_at_most(start)
        blank = _BLANK_LINE.search(waiting, start)
        if waiting.count(b"\n", start, blank.start() if blank else len(waiting)) > MAX_HEAD_LINES:
            self._refuse(431, _TOO_MANY)

    def _checked(self, request: h11.Request) -> h11.Request:
        if (
            len(request.target) + sum(len(name) + len(value) + 4 for name, value in request.headers)
            > MAX_HEAD_BYTES
        ):
            self._refuse(431, _TOO_LARGE)
        if request.target.count(b"&") >= MAX_PARAMETERS:
            self._refuse(431, _TOO_MANY)
        names = {name for name, _ in request.headers}
        if b"transfer-encoding" in names and (b"content-length" in names or request.http_version != b"1.1"):
            # Of two readers one could take the rest of the body for a request of somebody else's.
            self._refuse(400, "a body has Content-Length or, in HTTP/1.1, Transfer-Encoding: one of the two")
        try:
            unquote_to_bytes(request.target).decode()
        except UnicodeDecodeError:
            # uvicorn would replace what it cannot read, and an erasure would then be of somebody else.
            self._refuse(400, "the address is not UTF-8, percent-encoded as in %C3%A9 for é")
        if (absolute := _AUTHORITY.match(request.target)) is None:
            return request
        # As it is sent to a proxy; every server has to accept it (RFC 9112, section 3.2.2).
        path = request.target[absolute.end() :]
        return h11.Request(
            method=request.method,
            target=path if path.startswith(b"/") else b"/" + path,
            headers=request.headers,
            http_version=request.http_version,
        )

    def _refuse(self, status: int, detail: str) -> NoReturn:
        self.fault = status, detail
        raise h11.RemoteProtocolError(detail) from None
