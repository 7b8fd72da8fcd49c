"""The KeyStore in memory. The contract suite holds it to the behaviour of the one on MongoDB."""

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from shared.contracts.errors import Unavailable
from shared.vault.protocols import DESTROYED, Destroyed, Wrapped, Wrapping


class MemoryKeyStore:
    """While ``available`` is false, every call fails."""

    def __init__(self) -> None:
        self.keys: dict[str, Wrapped | Destroyed] = {}
        self.wrapping: dict[int, Wrapping] = {}
        self.available = True
        #: Calls of find, for tests that count round trips.
        self.finds = 0
        self._lock = threading.Lock()

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """One call at a time, as atomic as in a database. Raises Unavailable."""
        with self._lock:
            if not self.available:
                raise Unavailable("the key store is unavailable")
            yield

    def find(self, ids: Collection[str]) -> dict[str, Wrapped | Destroyed]:
        with self._at_once():
            self.finds += 1
            return {id: self.keys[id] for id in ids if id in self.keys}

    def insert(self, keys: Mapping[str, Wrapped]) -> set[str]:
        with self._at_once():
            taken = keys.keys() & self.keys.keys()
            self.keys |= {id: key for id, key in keys.items() if id not in taken}
            return set(taken)

    def destroy(self, id: str) -> None:
        with self._at_once():
            self.keys[id] = DESTROYED

    def not_under(self, number: int, after: str, limit: int) -> list[tuple[str, Wrapped]]:
        with self._at_once():
            found = [
                (id, key)
                for id, key in sorted(self.keys.items(), key=lambda item: item[0].encode())
                if isinstance(key, Wrapped) and key.wrapping != number and id.encode() > after.encode()
            ]
            return found[:limit]

    def rewrap(self, changes: Sequence[tuple[str, Wrapped, Wrapped]]) -> int:
        with self._at_once():
            mine = [(id, new) for id, old, new in changes if self.keys.get(id) == old]
            self.keys |= dict(mine)
            return len(mine)

    def count_under(self, number: int) -> int:
        with self._at_once():
            return sum(isinstance(key, Wrapped) and key.wrapping == number for key in self.keys.values())

    def wrappings(self) -> list[Wrapping]:
        with self._at_once():
            return [self.wrapping[number] for number in sorted(self.wrapping)]

    def add_wrapping(self, wrapping: Wrapping) -> bool:
        with self._at_once():
            return self.wrapping.setdefault(wrapping.number, wrapping) is wrapping

    def replace_wrapping(self, old: Wrapping, new: Wrapping) -> bool:
        with self._at_once():
            if self.wrapping.get(old.number) != old:
                return False
            self.wrapping[old.number] = new
            return True
