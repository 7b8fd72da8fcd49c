"""The blocking work of a request: in the threads of its app, in the turn of its tenant and credential."""

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from shared.contracts.limits import Owner
from shared.http.fair_pool import FairPool

T = TypeVar("T")


class Work(NamedTuple):
    """Where the request of this task does its blocking work, and for whom."""

    pool: FairPool
    owner: Owner


#: Set by the guard of each route.
CURRENT: ContextVar[Work] = ContextVar("work")


async def blocking(function: Callable[..., T], *arguments: Any) -> T:
    """The result of a blocking function. Within a request only. Raises Refusal (429, 503) when too much waits."""
    work = CURRENT.get()
    return await work.pool.run(work.owner, function, *arguments)


def off_the_loop(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """A route's function as a coroutine function. FastAPI would run a plain function in a pool that all tenants
    share without turns."""
    if inspect.iscoroutinefunction(endpoint):
        return endpoint

    async def in_turn(*arguments: Any, **parameters: Any) -> Any:
        work = CURRENT.get()
        return await work.pool.run(work.owner, endpoint, *arguments, **parameters)

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
