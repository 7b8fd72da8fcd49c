"""Looks up API keys for the services: cached for seconds, so that a revoked key is rejected within seconds."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from shared.access.fresh import FRESH_SECONDS, STALE_SECONDS, FreshReads
from shared.access.key_uses import UseRecorder
from shared.access.keys import KeyStore, matches, prefix_of
from shared.http.caller import Caller, unauthorized
from shared.runtime import clock as clocks

__all__ = ["FRESH_SECONDS", "STALE_SECONDS", "KeyLookup"]


class KeyLookup:
    """Finds the caller of a key. For one event loop at a time."""

    def __init__(
        self,
        store: KeyStore,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = clocks.now,
        fresh_seconds: float = FRESH_SECONDS,
        uses: UseRecorder | None = None,
    ) -> None:
        self._uses = uses
        self._now = now
        self._keys = FreshReads(store.find, "the API keys", "keys", clock, fresh_seconds, STALE_SECONDS)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="key-uses")

    async def caller(self, text: str) -> Caller:
        """Raises Denied (401), and Unavailable when the key was not read recently and cannot be read now."""
        prefix = prefix_of(text)
        key = None if prefix is None else await self._keys.get(prefix)
        # One message for all cases, and a constant-time comparison: nothing reveals which part was right.
        if key is None or not matches(key, text) or not key.valid(self._now()):
            raise unauthorized("the API key is not known, or has ended or been revoked")
        if self._uses is not None and self._uses.due(key.prefix):
            # In the background: the request does not wait for it.
            self._writing.submit(self._uses.write, key.prefix)
        return key.caller()
