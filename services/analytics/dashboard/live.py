"""``GET /v1/live``: figures that move, as server-sent events."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, Protocol

import anyio
import orjson
from fastapi import FastAPI, Query, Request
from fastapi.responses import StreamingResponse

from services.analytics.dashboard.figures import Extent, ExtentQuery, Figures, FiguresQuery
from shared.access.guard import CallerOf, TenantOf, held_by, owner_of
from shared.access.masks import masked
from shared.access.routes import check_order
from shared.contracts.errors import Unavailable
from shared.contracts.limits import Most
from shared.http.caller import ANALYTICS_READ, Caller
from shared.http.costs import Cost, costs
from shared.http.fair_pool import FairPool
from shared.http.purposes import SUMS
from shared.http.scopes import needs
from shared.http.server import problems
from shared.http.shares import Share
from shared.measures.query import BadMeasure

#: Threads that read figures for streams.
_THREADS = 4
#: The lifetime of a stream in seconds. The page opens the next one, which a revoked credential cannot.
LIFE_SECONDS = 600.0
BEAT_SECONDS = 10.0
_LOOK_SECONDS = 1.0
#: The largest fraction of time spent on reading figures for one stream.
_SHARE = 0.1

Json = dict[str, Any]


class Reader(Protocol):
    """``mark`` differs whenever figures may differ. All raise Unavailable, ``read`` and ``extent`` also
    BadMeasure."""

    def mark(self) -> tuple[object, ...]: ...
    def read(self, tenant: str, query: FiguresQuery, /) -> Figures: ...
    def extent(self, tenant: str, query: ExtentQuery, /) -> Extent: ...


def change(before: Json, after: Json) -> Json | None:
    """``after`` with only the days that differ from ``before``, of the same period; None when nothing does. A day
    that has nothing any more comes with zeros."""
    known = {day["day"]: day for day in before["days"]}
    moved = [day for day in after["days"] if known.pop(day["day"], None) != day]
    empty = {"count": 0, "amount": {}, "rating_count": 0, "rating_sum": 0}
    moved += [{**day, **empty, "consumers": None if day["consumers"] is None else 0} for day in known.values()]
    if not moved and before == after:
        return None
    return {**after, "days": sorted(moved, key=lambda day: str(day["day"]))}


def framed(event: str, data: Json) -> bytes:
    return b"event: " + event.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


class Stream:
    """The events of one page. ``stopping`` returns whether the process is shutting down."""

    def __init__(
        self,
        reader: Reader,
        caller: Caller,
        query: FiguresQuery,
        pool: FairPool,
        stopping: Callable[[], bool],
    ) -> None:
        self._reader = reader
        self._caller = caller
        self._query = query
        self._pool, self._owner = pool, owner_of(caller)
        self._stopping = stopping
        self._mark: tuple[object, ...] | None = None
        self._sent: Json | None = None

    async def events(self, first: bytes) -> AsyncIterator[bytes]:
        """``first``, then what changes, until the client leaves, the process stops or LIFE_SECONDS are over."""
        began = said = time.monotonic()
        pause = _LOOK_SECONDS
        yield first
        while not self._stopping() and time.monotonic() - began < LIFE_SECONDS:
            await anyio.sleep(pause)
            asked = time.monotonic()
            try:
                news = await self.news()
            except Unavailable:
                news = framed(
                    "away", {"detail": "MongoDB is unavailable or too slow; the figures are not updated"}
                )
                self._mark = self._sent = None
            except BadMeasure as error:
                # A category that has grown too large since.
                yield framed("failed", {"detail": str(error)})
                return
            now = time.monotonic()
            pause = max(_LOOK_SECONDS, (now - asked) / _SHARE)
            if news is None and now - said >= BEAT_SECONDS:
                news = b": beat\n\n"
            if news is not None:
                said = now
                yield news

    async def news(self) -> bytes | None:
        """All figures at first and for a new period, then those that changed; None when nothing did. Raises
        Unavailable and BadMeasure."""
        return await self._pool.run(self._owner, self._news)

    def _news(self) -> bytes | None:
        mark = self._reader.mark()
        if mark == self._mark:
            return None
        found = self._reader.read(self._caller.tenant, self._query).model_dump(mode="json")
        before, self._sent, self._mark = self._sent, found, mark
        if before is None or (before["first"], before["last"]) != (found["first"], found["last"]):
            return framed("figures", self._shown(found))
        moved = change(before, found)
        return None if moved is None else framed("change", self._shown(moved))

    def _shown(self, figures: Json) -> Json:
        return masked(figures, Figures, self._caller.masks)


def add_live(app: FastAPI, reader: Reader) -> None:
    """Add the routes. Streams end when ``app.state.stopping`` is set."""
    most: Most = app.state.access.limits.streams
    pool = FairPool("live", _THREADS, most, what="streams waiting for figures")
    # Each holds a connection, and asks MongoDB once a second.
    streams = Share("live streams", most, retry_seconds=5)

    def stopping() -> bool:
        return bool(getattr(app.state, "stopping", False))

    @app.get(
        "/v1/extent",
        tags=["analytics"],
        summary="The first and the last day that have relations.",
        responses=problems(
            {
                400: "The category has too many providers to be a filter.",
                422: "A parameter is not known or not of its form; detail says which.",
                503: "MongoDB is unavailable or too slow; retry after Retry-After seconds.",
            }
        ),
    )
    @needs(ANALYTICS_READ, purpose=SUMS)
    @costs(Cost.QUERY)
    def get_extent(query: Annotated[ExtentQuery, Query()], tenant: TenantOf) -> Extent:
        """The first and the last day with data: of everything, of a kind or of a category. A page needs it to
        offer "all time", and to say where the data ends."""
        return reader.extent(tenant, query)

    @app.get(
        "/v1/live",
        tags=["analytics"],
        summary="The figures of a period, and every change of them, as server-sent events.",
        operation_id="getLive_v1",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **problems(
                {
                    400: "Parameters cannot be used together, or ask for too much; detail says which and why.",
                    422: "A parameter is missing, not known or not of its form; detail says which.",
                    503: "MongoDB is unavailable, or there are too many streams. Retry after Retry-After seconds.",
                }
            ),
        },
    )
    @needs(ANALYTICS_READ, masks_itself=True, purpose=SUMS)
    async def live(
        request: Request, query: Annotated[FiguresQuery, Query()], caller: CallerOf, _: TenantOf
    ) -> Any:
        """`figures` first, with every day that has relations; then `change` with the totals and only the days
        that differ. `away` while MongoDB is. It looks once a second, and ends after ten minutes."""
        check_order(Figures, caller.masks, {})
        # Before anything is awaited, so that requests that come together are counted, too.
        held_by(request).enter_context(streams.taken(owner_of(caller)))
        stream = Stream(reader, caller, query, pool, stopping)
        # What fails at once is answered as a problem, before the stream has a status.
        first = await stream.news()
        assert first is not None
        # A buffering proxy would hold the events back.
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(stream.events(first), media_type="text/event-stream", headers=headers)
