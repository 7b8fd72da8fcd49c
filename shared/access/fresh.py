"""Reads documents that decide about credentials: cached for seconds, so that what was revoked is refused soon."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

from shared.contracts.errors import Unavailable

T = TypeVar("T")

#: A revoked or new credential takes effect in all processes after this many seconds. With the seconds between two
#: checks of a stream (shared.http.streams), streams end within five seconds of a revocation.
FRESH_SECONDS = 2.0
#: While MongoDB is unavailable, a credential that was valid when last read stays valid for this many seconds.
STALE_SECONDS = 15 * 60.0
_MOST = 10_000
#: How long a request waits for a read: with an earlier result to fall back on, and without one.
_PATIENCE_SECONDS, _GIVE_UP_SECONDS = 0.5, 4.0
#: How long after a read begins the next one of the same document that would refuse a request.
_DOUBTED_SECONDS = 0.05


@dataclass(slots=True)
class _Read(Generic[T]):
    found: T | None
    at: float
    #: Reads are numbered as they begin.
    number: int


class FreshReads(Generic[T]):
    """Documents by their id, at most ``fresh_seconds`` old. ``find`` blocks and raises Unavailable; ``what`` names
    the documents in errors, and ``threads`` the threads. For one event loop at a time."""

    def __init__(
        self,
        find: Callable[[str], T | None],
        what: str,
        threads: str,
        clock: Callable[[], float] = time.monotonic,
        fresh_seconds: float = FRESH_SECONDS,
        stale_seconds: float = STALE_SECONDS,
    ) -> None:
        self._find, self._what, self._clock = find, what, clock
        self._fresh = fresh_seconds
        self._stale = stale_seconds
        # Two caches, so that attempts with unknown ids evict no known ones.
        self._known: LRUCache[str, _Read[T]] = LRUCache(_MOST)
        self._unknown: LRUCache[str, _Read[T]] = LRUCache(_MOST)
        self._reading: dict[str, asyncio.Task[T | None]] = {}
        self._away = False
        self._begun = 0
        # Threads of its own: no other work delays the check of a credential. What was read before does not wait
        # for reads of what may not exist.
        self._rereading = ThreadPoolExecutor(2, thread_name_prefix=f"known-{threads}")
        self._searching = ThreadPoolExecutor(2, thread_name_prefix=f"new-{threads}")

    async def get(self, id: str, accept: Callable[[T], bool] = lambda _: True) -> T | None:
        """The document, None where there is none. One that ``accept`` refuses may have been read before the
        credential was made: only a read that begins after the call returns such a one, at most twenty a second.
        Raises Unavailable when it was not read recently and cannot be read now."""
        begun, read = self._begun, self._last(id)
        if read is not None and (age := self._clock() - read.at) < self._fresh:
            if read.found is None or accept(read.found):
                return read.found
            await asyncio.sleep(max(0.0, _DOUBTED_SECONDS - age))
            if (running := self._reading.get(id)) is not None:
                await asyncio.wait([running], timeout=_GIVE_UP_SECONDS)
            if (latest := self._last(id)) is not None and latest.number > begun:
                return latest.found
        found = await self._read(id, read)
        if found is None or accept(found) or (last := self._last(id)) is None or last.number > begun:
            return found
        # That read was under way already.
        return await self._read(id, last)

    def _last(self, id: str) -> _Read[T] | None:
        return self._known.get(id) or self._unknown.get(id)

    async def _read(self, id: str, read: _Read[T] | None) -> T | None:
        """The document as it is now; while that cannot be read, as it was in ``read``, the last result."""
        task = self._reading.get(id)
        if task is None or task.done():
            task = asyncio.create_task(self._load(id))
            self._reading[id] = task
            task.add_done_callback(lambda done: self._done(id, done))
        lasting = read is not None and read.found is not None and self._clock() - read.at < self._stale
        if lasting and self._away:
            assert read is not None
            return read.found  # a failing read takes seconds, and one is in progress
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS if lasting else _GIVE_UP_SECONDS):
                return await asyncio.shield(task)
        except (Unavailable, TimeoutError) as error:
            # A server that hangs is unavailable, too; its own timeout is much longer.
            self._away = True
            if lasting:
                assert read is not None
                return read.found
            raise Unavailable(f"{self._what} cannot be read") from error

    async def _load(self, id: str) -> T | None:
        # The time before the read: what was revoked must not stay valid for longer than promised.
        at = self._clock()
        self._begun = number = self._begun + 1
        try:
            threads = self._rereading if id in self._known else self._searching
            found = await asyncio.get_running_loop().run_in_executor(threads, self._find, id)
        except Unavailable:
            self._away = True
            raise
        self._away = False
        (self._unknown if found is None else self._known)[id] = _Read(found, at, number)
        (self._known if found is None else self._unknown).pop(id, None)
        return found

    def _done(self, id: str, task: "asyncio.Task[T | None]") -> None:
        if self._reading.get(id) is task:
            del self._reading[id]
        if not task.cancelled():
            task.exception()  # retrieved, because asyncio warns about an exception that is never retrieved
