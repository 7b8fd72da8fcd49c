"""The blocking work of a request: in threads for work of its cost, in the turn of its tenant and credential."""

import asyncio
import functools
import inspect
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel

from shared.contracts.limits import Owner
from shared.http.fair_pool import FairPool
from shared.http.server import ClientGone
from shared.runtime.interruption import Interruption

T = TypeVar("T")


class Work(NamedTuple):
    """Where the request of this task does its blocking work, and for whom. ``request``: the one whose client may
    leave, which ends the work; None for work that is to be finished."""

    pool: FairPool
    owner: Owner
    request: Request | None = None


#: Set by the guard of each route.
CURRENT: ContextVar[Work] = ContextVar("work")


async def blocking(function: Callable[..., T], *arguments: Any) -> T:
    """The result of a blocking function. Within a request only. Raises Refusal (429, 503) when too much waits."""
    work = CURRENT.get()
    return await work.pool.run(work.owner, function, *arguments)


async def _endable(work: Work, request: Request, call: Callable[[], T]) -> T:
    """The result of ``call``. When the client leaves, it does not begin, or is ended: what it waits for, too."""
    interruption = Interruption(uuid.uuid4().hex)

    def run() -> T:
        with interruption.active():
            interruption.check()
            return call()

    submitted = work.pool.submit(work.owner, run)
    result = asyncio.ensure_future(asyncio.wrap_future(submitted))
    left = asyncio.ensure_future(_left(request))
    try:
        both: set[asyncio.Future[Any]] = {result, left}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if result.done():
            return result.result()
        left.result()  # raises if the body of the request is refused
        raise ClientGone
    finally:
        left.cancel()
        if not result.done():
            result.cancel()
            interruption.interrupt()
            submitted.add_done_callback(_discard)


def _discard(done: "Future[Any]") -> None:
    """Free what an answer holds that nobody sends: the client left while it was made."""
    if not done.cancelled() and done.exception() is None:
        discard = getattr(done.result(), "discard", None)
        if discard is not None:
            discard()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def off_the_loop(endpoint: Callable[..., Any], model: Callable[[], Any]) -> Callable[..., Any]:
    """A route's function as a coroutine function. FastAPI would run a plain function in a pool that all tenants
    share without turns, and write an answer of the route's ``model`` as JSON on the event loop."""
    if inspect.iscoroutinefunction(endpoint):
        return endpoint

    async def in_turn(*arguments: Any, **parameters: Any) -> Any:
        work = CURRENT.get()

        def call() -> Any:
            found = endpoint(*arguments, **parameters)
            if isinstance(found, BaseModel) and type(found) is model():
                return Response(found.model_dump_json(by_alias=True), media_type="application/json")
            return found

        if work.request is None:
            return await work.pool.run(work.owner, call)
        return await _endable(work, work.request, call)

    functools.update_wrapper(in_turn, endpoint)
    # FastAPI follows __wrapped__ to a plain function, and would then treat this as one.
    in_turn.__signature__ = inspect.signature(endpoint)  # type: ignore[attr-defined]
    del in_turn.__wrapped__  # type: ignore[attr-defined]
    return in_turn


async def each(pieces: Iterator[T]) -> AsyncIterator[T]:
    """The items of an iterator that blocks, each made in the turn of this request's tenant."""
    while (found := await blocking(_next, pieces)) is not None:
        yield found[0]


def _next(pieces: Iterator[T]) -> tuple[T] | None:
    for piece in pieces:
        return (piece,)
    return None
