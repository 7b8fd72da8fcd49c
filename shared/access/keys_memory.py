"""API keys in memory, with the behaviour of MongoKeys, for tests."""

import threading

from shared.access.keys import ApiKey
from shared.contracts.errors import Unavailable


class MemoryKeys:
    """A KeyStore. While ``away`` is true it behaves like an unreachable database."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._lock = threading.Lock()
        self.away = False
        #: How many lookups were made.
        self.finds = 0

    def insert(self, key: ApiKey) -> bool:
        self._reach()
        with self._lock:
            return self._keys.setdefault(key.prefix, key) is key

    def find(self, prefix: str) -> ApiKey | None:
        self.finds += 1
        self._reach()
        return self._keys.get(prefix)

    def all(self) -> list[ApiKey]:
        self._reach()
        return sorted(self._keys.values(), key=lambda key: (key.created, key.prefix))

    def replace(self, before: ApiKey, after: ApiKey) -> bool:
        self._reach()
        with self._lock:
            if self._keys.get(before.prefix) != before:
                return False
            self._keys[after.prefix] = after
            return True

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("the keys cannot be read")
