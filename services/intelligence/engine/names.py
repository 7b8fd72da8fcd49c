"""The ids of one side of the graph, numbered. Pure.

A number is free again when its node loses its last relationship: then neither id nor number is kept. Numbers
depend on the history of changes, so no answer may depend on them.
"""

import sys
from hashlib import blake2b
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)

_FIRST_ROOM = 16


class Names:
    """Numbers of ids, and a hash of each id by which samples are drawn: 64 bits, so equal ones need not be
    expected."""

    __slots__ = ("_bytes", "_free", "_numbers", "hashes", "ids", "version")

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        #: By number; the empty string where a number is free.
        self.ids: list[str] = []
        self._free: list[int] = []
        self.hashes: NDArray[np.uint64] = np.zeros(_FIRST_ROOM, np.uint64)
        self._bytes = 0
        #: Another one whenever an id comes or goes.
        self.version = 0

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def room(self) -> int:
        """One more than the highest number that was given out."""
        return len(self.ids)

    def find(self, id: str) -> int | None:
        return self._numbers.get(id)

    def intern(self, id: str) -> int:
        """The number of ``id``, a new one if need be."""
        number = self._numbers.get(id)
        if number is not None:
            return number
        if self._free:
            number = self._free.pop()
            self.ids[number] = id
        else:
            number = len(self.ids)
            self.ids.append(id)
            if number >= len(self.hashes):
                self.hashes = enlarged(self.hashes, number + 1)
        self._numbers[id] = number
        self.version += 1
        self.hashes[number] = hash_of(id)
        self._bytes += sys.getsizeof(id)
        return number

    def some(self, numbers: NDArray[np.int64]) -> "Names":
        """The ids of some numbers, numbered anew in their order."""
        made = Names()
        made.ids = [self.ids[number] for number in numbers.tolist()]
        made._numbers = {id: number for number, id in enumerate(made.ids)}
        made.hashes = enlarged(self.hashes[numbers], len(numbers))
        made._bytes = sum(map(sys.getsizeof, made.ids))
        made.version = 1
        return made

    def release(self, number: int) -> None:
        """Forget an id."""
        id = self.ids[number]
        del self._numbers[id]
        self.version += 1
        self.ids[number] = ""
        self.hashes[number] = 0
        self._free.append(number)
        self._bytes -= sys.getsizeof(id)

    def numbers(self) -> NDArray[np.int64]:
        """The numbers of all ids, in the order of the ids."""
        return np.array([self._numbers[id] for id in sorted(self._numbers)], np.int64)

    def nbytes(self) -> int:
        """Bytes of memory."""
        tables = sys.getsizeof(self._numbers) + sys.getsizeof(self.ids) + sys.getsizeof(self._free)
        return self._bytes + tables + self.hashes.nbytes + 28 * len(self.ids)


def hash_of(id: str) -> int:
    """64 bits of an id, the same in every process."""
    return int.from_bytes(blake2b(id.encode(), digest_size=8).digest())


def enlarged(old: NDArray[T], least: int) -> NDArray[T]:
    """A copy with room for ``least`` items and a quarter more, the new ones zero."""
    new = np.zeros(max(least + least // 4, _FIRST_ROOM), old.dtype)
    new[: len(old)] = old
    return new
