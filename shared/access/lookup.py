"""Looks up API keys for the services: cached for seconds, so that a revoked key is rejected within seconds."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from cachetools import LRUCache

from shared.access.key_uses import UseRecorder
from shared.access.keys import ApiKey, KeyStore, matches, prefix_of
from shared.contracts.errors import Unavailable
from shared.http.caller import Caller, unauthorized

#: A revoked or new key takes effect in all processes after this many seconds. With the seconds between two checks
#: of a stream (shared.http.streams), streams end within five seconds of a revocation.
FRESH_SECONDS = 2.0
#: While MongoDB is unavailable, a key that was valid when last read stays valid for this many seconds.
STALE_SECONDS = 15 * 60.0
_KEYS = 10_000
#: How long a request waits for a read of its key: with an earlier result to fall back on, and without one.
_PATIENCE_SECONDS, _GIVE_UP_SECONDS = 0.5, 4.0


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class _Read:
    key: ApiKey | None
    at: float


class KeyLookup:
    """Finds the caller of a key. For one event loop at a time."""

    def __init__(
        self,
        store: KeyStore,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc,
        fresh_seconds: float = FRESH_SECONDS,
        stale_seconds: float = STALE_SECONDS,
        uses: UseRecorder | None = None,
    ) -> None:
        self._uses = uses
        self._store = store
        self._clock = clock
        self._now = now
        self._fresh = fresh_seconds
        self._stale = stale_seconds
        # Two caches, so that attempts with unknown keys evict no known ones.
        self._known: LRUCache[str, _Read] = LRUCache(_KEYS)
        self._unknown: LRUCache[str, _Read] = LRUCache(_KEYS)
        self._reading: dict[str, asyncio.Task[ApiKey | None]] = {}
        self._away = False
        # Threads of its own: no other work delays the check of a credential. Keys that were read before do not
        # wait for reads of keys that may not exist.
        self._rereading = ThreadPoolExecutor(2, thread_name_prefix="known-keys")
        self._searching = ThreadPoolExecutor(2, thread_name_prefix="new-keys")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="key-uses")

    async def caller(self, text: str) -> Caller:
        """Raises Denied (401), and Unavailable when the key was not read recently and cannot be read now."""
        prefix = prefix_of(text)
        key = None if prefix is None else await self._key(prefix)
        # One message for all cases, and a constant-time comparison: nothing reveals which part was right.
        if key is None or not matches(key, text) or not key.valid(self._now()):
            raise unauthorized("the API key is not known, or has ended or been revoked")
        if self._uses is not None and self._uses.due(key.prefix):
            # In the background: the request does not wait for it.
            self._writing.submit(self._uses.write, key.prefix)
        return key.caller()

    async def _key(self, prefix: str) -> ApiKey | None:
        read = self._known.get(prefix) or self._unknown.get(prefix)
        age = None if read is None else self._clock() - read.at
        if read is not None and age is not None and age < self._fresh:
            return read.key
        task = self._reading.get(prefix)
        if task is None or task.done():
            task = asyncio.create_task(self._load(prefix))
            self._reading[prefix] = task
            task.add_done_callback(lambda done: self._done(prefix, done))
        lasting = read is not None and read.key is not None and age is not None and age < self._stale
        if lasting and self._away:
            assert read is not None
            return read.key  # a failing read takes seconds, and one is in progress
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS if lasting else _GIVE_UP_SECONDS):
                return await asyncio.shield(task)
        except (Unavailable, TimeoutError) as error:
            # A server that hangs is unavailable, too; its own timeout is much longer.
            self._away = True
            if lasting:
                assert read is not None
                return read.key
            raise Unavailable("the API keys cannot be read") from error

    async def _load(self, prefix: str) -> ApiKey | None:
        # The time before the read: a revoked key must not stay valid for longer than promised.
        at = self._clock()
        try:
            threads = self._rereading if prefix in self._known else self._searching
            key = await asyncio.get_running_loop().run_in_executor(threads, self._store.find, prefix)
        except Unavailable:
            self._away = True
            raise
        self._away = False
        (self._known if key else self._unknown)[prefix] = _Read(key, at)
        if key is None:
            self._known.pop(prefix, None)
        else:
            self._unknown.pop(prefix, None)
        return key

    def _done(self, prefix: str, task: asyncio.Task[ApiKey | None]) -> None:
        if self._reading.get(prefix) is task:
            del self._reading[prefix]
        if not task.cancelled():
            task.exception()  # retrieved, because asyncio warns about an exception that is never retrieved
