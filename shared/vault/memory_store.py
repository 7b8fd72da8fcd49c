"""The KeyStore in memory, held by the contract suite to what the one on MongoDB does."""

from collections.abc import Collection, Mapping, Sequence

from shared.errors import Unavailable
from shared.vault.protocols import DESTROYED, Destroyed, Wrapped, Wrapping


class MemoryKeyStore:
    """While ``available`` is false, every call fails."""

    def __init__(self) -> None:
        self.keys: dict[str, Wrapped | Destroyed] = {}
        self.wrapping: dict[int, Wrapping] = {}
        self.available = True
        #: Calls of find, for tests that count round trips.
        self.finds = 0

    def _check(self) -> None:
        if not self.available:
            raise Unavailable("the key store is away")

    def find(self, ids: Collection[str]) -> dict[str, Wrapped | Destroyed]:
        self._check()
        self.finds += 1
        return {id: self.keys[id] for id in ids if id in self.keys}

    def insert(self, keys: Mapping[str, Wrapped]) -> set[str]:
        self._check()
        taken = keys.keys() & self.keys.keys()
        self.keys |= {id: key for id, key in keys.items() if id not in taken}
        return set(taken)

    def destroy(self, id: str) -> None:
        self._check()
        self.keys[id] = DESTROYED

    def not_under(self, number: int, after: str, limit: int) -> list[tuple[str, Wrapped]]:
        self._check()
        found = [
            (id, key)
            for id, key in sorted(self.keys.items(), key=lambda item: item[0].encode())
            if isinstance(key, Wrapped) and key.wrapping != number and id.encode() > after.encode()
        ]
        return found[:limit]

    def rewrap(self, changes: Sequence[tuple[str, Wrapped, Wrapped]]) -> int:
        self._check()
        mine = [(id, new) for id, old, new in changes if self.keys.get(id) == old]
        self.keys |= dict(mine)
        return len(mine)

    def count_under(self, number: int) -> int:
        self._check()
        return sum(isinstance(key, Wrapped) and key.wrapping == number for key in self.keys.values())

    def wrappings(self) -> list[Wrapping]:
        self._check()
        return [self.wrapping[number] for number in sorted(self.wrapping)]

    def add_wrapping(self, wrapping: Wrapping) -> bool:
        self._check()
        return self.wrapping.setdefault(wrapping.number, wrapping) is wrapping

    def replace_wrapping(self, old: Wrapping, new: Wrapping) -> bool:
        self._check()
        if self.wrapping.get(old.number) != old:
            return False
        self.wrapping[old.number] = new
        return True
