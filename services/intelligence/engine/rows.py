"""The neighbours of each node of one side, in one flat array with room to spare. Pure."""

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.names import Names, enlarged

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# A row that is longer on average is copied as a slice; shorter ones are gathered all at once.
_LONG = 48


class Rows:
    """The numbers of each node's neighbours and, with ``words``, a word about each edge.

    Rows have no order that a reader may rely on. ``gather`` can give some neighbours only, those with the
    lowest hashes of their ids, which depends on the set of neighbours alone: the first ``_ordered`` items of a
    row are sorted by hash, from the first time that a sample of it was needed.
    """

    __slots__ = ("_end", "_ordered", "_room", "_start", "_waste", "length", "to", "words")

    def __init__(self, words: bool) -> None:
        self._start = np.zeros(16, np.int64)
        self._room = np.zeros(16, np.int32)
        self._ordered = np.zeros(16, np.int32)
        self.length = np.zeros(16, np.int32)
        self.to = np.zeros(64, np.int32)
        self.words: NDArray[np.uint64] | None = np.zeros(64, np.uint64) if words else None
        self._end = 0
        self._waste = 0

    def row(self, node: int) -> NDArray[np.int32]:
        """A view: read it at once."""
        start = int(self._start[node])
        return self.to[start : start + int(self.length[node])]

    def row_words(self, node: int) -> NDArray[np.uint64]:
        """The words beside ``row``."""
        assert self.words is not None
        start = int(self._start[node])
        return self.words[start : start + int(self.length[node])]

    def find(self, node: int, neighbour: int) -> int:
        """The position of an edge in ``to`` and ``words``; -1 without one."""
        if node >= len(self.length):
            return -1
        found = np.flatnonzero(self.row(node) == neighbour)
        return int(self._start[node]) + int(found[0]) if len(found) else -1

    def append(self, node: int, neighbour: int, word: int = 0) -> None:
        """Add an edge that is not there yet."""
        if node >= len(self.length):
            for name in ("_start", "_room", "_ordered", "length"):
                setattr(self, name, enlarged(getattr(self, name), node + 1))
        length = int(self.length[node])
        if length == self._room[node]:
            self._move(node, length)
        at = int(self._start[node]) + length
        self.to[at] = neighbour
        if self.words is not None:
            self.words[at] = word
        self.length[node] = length + 1

    def remove(self, node: int, at: int) -> None:
        """Remove the edge at a position that ``find`` gave."""
        last = int(self._start[node]) + int(self.length[node]) - 1
        self.to[at] = self.to[last]
        self.to[last] = 0
        if self.words is not None:
            self.words[at] = self.words[last]
            self.words[last] = 0
        self.length[node] -= 1
        self._ordered[node] = 0

    def fill(self, nodes: Ints, neighbours: Ints, words: NDArray[np.uint64] | None, count: int) -> None:
        """Replace all rows by the edges (``nodes[k]``, ``neighbours[k]``) of ``count`` nodes."""
        lengths = np.bincount(nodes, minlength=count)
        room = lengths + (lengths >> 3) + 1
        start = np.concatenate(([0], np.cumsum(room)))
        order = np.argsort(nodes, kind="stable")
        first = np.concatenate(([0], np.cumsum(lengths)))[:-1]
        at = np.repeat(start[:-1] - first, lengths) + np.arange(len(nodes))
        self._start, self._end, self._waste = start[:-1].copy(), int(start[-1]), 0
        self._room, self.length = room.astype(np.int32), lengths.astype(np.int32)
        self._ordered = np.zeros(count, np.int32)
        self.to = np.zeros(self._end + 64, np.int32)
        self.to[at] = neighbours[order]
        if self.words is not None and words is not None:
            self.words = np.zeros(self._end + 64, np.uint64)
            self.words[at] = words[order]

    def positions(self, nodes: Ints) -> tuple[Ints, Ints]:
        """The positions of all edges of ``nodes``, one row after the other, and the lengths of the rows."""
        lengths = self.length[nodes].astype(np.int64)
        return _ranges(self._start[nodes], lengths), lengths

    def gather(self, nodes: Ints, most: int | None = None, names: Names | None = None) -> tuple[Ints, Ints]:
        """The neighbours of ``nodes``, one row after the other, and how many of each: all, or with ``most`` at
        most so many, sampled by the hashes of ``names``."""
        lengths = self.length[nodes].astype(np.int64)
        if most is not None:
            assert names is not None
            for node in nodes[lengths > most]:
                self._put_in_order(int(node), most, names)
            lengths = np.minimum(lengths, most)
        total = int(lengths.sum())
        if total > _LONG * len(nodes):
            starts = self._start[nodes].tolist()
            pieces = [self.to[at : at + n] for at, n in zip(starts, lengths.tolist(), strict=True)]
            return np.concatenate(pieces).astype(np.int64), lengths
        return self.to[_ranges(self._start[nodes], lengths)].astype(np.int64), lengths

    def nbytes(self) -> int:
        """Bytes of memory."""
        arrays = (self._start, self._room, self._ordered, self.length, self.to, self.words)
        return sum(array.nbytes for array in arrays if array is not None)

    def _put_in_order(self, node: int, most: int, names: Names) -> None:
        start, length = int(self._start[node]), int(self.length[node])
        ordered = int(self._ordered[node])
        if ordered >= most:
            bar = names.hashes[self.to[start + most - 1]]
            if not (names.hashes[self.to[start + ordered : start + length]] < bar).any():
                return
        row = slice(start, start + length)
        # Nearly in order already, but for what came since: then a stable sort is fast.
        order = np.argsort(names.hashes[self.to[row]], kind="stable")
        self.to[row] = self.to[row][order]
        if self.words is not None:
            self.words[row] = self.words[row][order]
        self._ordered[node] = length

    def _move(self, node: int, length: int) -> None:
        """Give a row more room, at the end of the array."""
        if self._waste > 1024 and self._waste > self._end // 3:
            self._compact()  # which leaves every row some room
            return
        room = max(4, length + (length >> 2) + 1)
        if self._end + room > len(self.to):
            self.to = enlarged(self.to, self._end + room)
            if self.words is not None:
                self.words = enlarged(self.words, self._end + room)
        old, new = int(self._start[node]), self._end
        self.to[new : new + length] = self.to[old : old + length]
        if self.words is not None:
            self.words[new : new + length] = self.words[old : old + length]
        self._waste += int(self._room[node])
        self._start[node], self._room[node] = new, room
        self._end += room

    def _compact(self) -> None:
        nodes = np.arange(len(self.length))
        at, lengths = self.positions(nodes)
        ordered = self._ordered.copy()
        owners = np.repeat(nodes, lengths)
        words = self.words[at] if self.words is not None else None
        self.fill(owners, self.to[at].astype(np.int64), words, len(nodes))
        self._ordered = ordered


def summed(numbers: Ints, amounts: Floats, room: int) -> Floats:
    """The sum of the amounts of each number below ``room``, added in their order."""
    # Of nothing, bincount gives integers.
    return np.bincount(numbers, weights=amounts, minlength=room).astype(np.float64, copy=False)


def counted(numbers: Ints, room: int) -> Ints:
    """How often each number below ``room`` occurs."""
    return np.bincount(numbers, minlength=room).astype(np.int64, copy=False)


def _ranges(starts: Ints, lengths: Ints) -> Ints:
    """``starts[0] … starts[0] + lengths[0] − 1, starts[1] …``"""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - ends + lengths, lengths) + np.arange(total)
