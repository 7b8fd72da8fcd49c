"""The body of a request: one limit on its size and time for all routes of all services, enforced while it is read.

Memory for bodies is taken as their bytes arrive, not as they are declared: a sender that declares much and sends
nothing takes nothing.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from fastapi import HTTPException, Request

from shared.contracts.errors import InvalidEvent
from shared.contracts.limits import MAX_BODY_BYTES, Owner
from shared.contracts.strict_json import check
from shared.http.problems.client import REQUEST_TIMEOUT, TOO_LARGE
from shared.http.server import Refusal, declared_names
from shared.http.shares import Share
from shared.http.work import blocking

_JSON = re.compile(r"application/(json|[^;]+\+json)\s*(;.*)?", re.ASCII | re.IGNORECASE)
_NO_JSON = "the body has to be JSON in UTF-8, without a byte order mark"
#: A larger body is looked through on a thread.
_SMALL_BYTES = 65536

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def refuse_ambiguous(request: Request) -> None:
    """Raise HTTPException (422) for a body that is no strict JSON in UTF-8, or has a repeated member, an inexact
    number or half of a character: as an event's is, so that no two readers understand it differently; and for one
    that does not say that it is JSON, of which the route's parser would only say that it is no object. That parser
    reads UTF-16, a byte order mark and NaN as well, so nothing is left to it. A compressed body is 415. Within a
    request only."""
    raw = await request.body()
    if not raw:
        return  # which the route's parser reports, where it needs one
    if request.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise HTTPException(415, "the body is compressed, which this path does not take; send it as it is")
    if not _JSON.fullmatch(request.headers.get("content-type", "")):
        raise HTTPException(422, "the body is JSON, and has to be sent as such: Content-Type: application/json")
    declared = partial(declared_names, request.app)
    try:
        if len(raw) > _SMALL_BYTES:
            await blocking(check, raw, None, declared)
        else:
            check(raw, None, declared)
    except InvalidEvent as error:
        detail = f"{error.field}: {error.detail}" if error.field else error.detail
        raise HTTPException(422, f"{_NO_JSON}: {detail}" if error.reason == "not_json" else detail) from None


async def json_of(request: Request) -> Any:
    """The JSON body of a request, exactly as its route gets it; None without one. Call ``refuse_ambiguous``
    before. Raises HTTPException (422)."""
    if not await request.body():
        return None
    try:
        # The request keeps the value, and the route gets the same: two readers could differ.
        return await request.json()
    except (ValueError, RecursionError):
        raise HTTPException(422, f"{_NO_JSON}: it is nested too deeply, or cannot be read") from None


def too_large() -> Refusal:
    return Refusal(TOO_LARGE, f"a request has at most {MAX_BODY_BYTES} bytes (after decompression)")


class Room:
    """The memory that one request's body takes of a Share, given back when ``held`` is closed."""

    def __init__(self, share: Share, owner: Owner, held: ExitStack) -> None:
        self._share, self._owner = share, owner
        self._taken = 0
        held.callback(self._give_back)

    def take(self, size: int) -> None:
        """Take ``size`` bytes more. Raises Refusal (429, 503)."""
        self._share.take(self._owner, size)
        self._taken += size

    def _give_back(self) -> None:
        if self._taken:
            self._share.give(self._owner, self._taken)
            self._taken = 0


def with_limits(request: Request, room: Room, seconds: float) -> Request:
    """``request``, whose body raises Refusal while it is read: 408 when it does not end within ``seconds``, 413
    when it is too large, 429 and 503 when there is no room for it."""
    receive = request.receive
    read, ended, until = 0, False, 0.0
    declared = request.headers.get("content-length", "")

    async def limited() -> MutableMapping[str, Any]:
        nonlocal read, ended, until
        if ended:
            return await receive()
        if not until:
            # The number of digits is compared first: Python refuses to parse a number with thousands of them.
            if declared.isdigit() and (len(declared) > 18 or int(declared) > MAX_BODY_BYTES):
                raise too_large()
            until = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise Refusal(REQUEST_TIMEOUT, f"the body did not arrive within {seconds:g} s") from None
        ended = message["type"] != "http.request" or not message.get("more_body", False)
        if size := len(message.get("body", b"")):
            read += size
            if read > MAX_BODY_BYTES:
                raise too_large()
            room.take(size)
        return message

    return Request(request.scope, limited, request._send)
