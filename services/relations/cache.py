"""The cache of hot reads: bounded, invalidated by changes, and never staler than a second.

Two things drop an entry: a change of one of its subjects (from the change topics, within milliseconds), and
its age. The age is the guarantee: it holds even while changes cannot be published or read.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from cachetools import Cache, LFUCache, LRUCache, TTLCache

from shared.runtime.protocols import Policy

MAX_AGE_SECONDS = 1.0
_IDLE_SECONDS = 5.0
_SLOTS = 1 << 16


class QueryCache:
    """Keeps answers by key. Each names the subjects that it contains, as any hashable values.

    ``policy`` decides which entry a full cache drops: the least recently used (``lru``), the least frequently
    used (``lfu``), or an expired one and only then the least recently used (``ttl``). ``off`` keeps nothing.
    Thread-safe.
    """

    def __init__(self, policy: Policy, entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: Cache[Any, tuple[float, int, Any]] | None = _cache(policy, entries, clock)
        # A counter per subject, by hash: bounded, at the price of a needless miss when two share a slot.
        self._changes = [0] * _SLOTS
        self._cleared = 0
        self._asked_at = -math.inf
        self.hits = 0
        self.misses = 0

    def get(self, key: Any, subjects: Iterable[Any], load: Callable[[], Any]) -> Any:
        """The answer for ``key``, from memory or by ``load``."""
        if self._entries is None:
            return load()
        slots = [hash(subject) % _SLOTS for subject in subjects]
        with self._lock:
            # Counted before loading: a change that arrives during the load makes the new entry outdated at once.
            stamp = sum((self._changes[slot] for slot in slots), self._cleared)
            now = self._asked_at = self._clock()
            found = self._entries.get(key)
            if found is not None and found[1] == stamp and now - found[0] < MAX_AGE_SECONDS:
                self.hits += 1
                return found[2]
            self.misses += 1
        value = load()
        with self._lock:
            self._entries[key] = (now, stamp, value)
        return value

    @property
    def idle(self) -> bool:
        """Whether there were no reads for so long that every entry has expired."""
        return self._entries is None or self._clock() - self._asked_at > _IDLE_SECONDS

    def clear(self) -> None:
        """Drop every entry: anything may have changed."""
        with self._lock:
            self._cleared += 1

    def forget(self, subjects: Iterable[Any]) -> None:
        """Drop the entries of these subjects: something about them has changed."""
        with self._lock:
            for subject in subjects:
                self._changes[hash(subject) % _SLOTS] += 1


def _cache(policy: Policy, entries: int, clock: Callable[[], float]) -> Cache[Any, Any] | None:
    if policy == "lru":
        return LRUCache(entries)
    if policy == "lfu":
        return LFUCache(entries)
    if policy == "ttl":
        return TTLCache(entries, MAX_AGE_SECONDS, clock)
    return None
