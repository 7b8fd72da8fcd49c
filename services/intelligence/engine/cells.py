"""What a relationship consists of, packed: counts by kind and month, eight bytes each. Pure.

A word of 64 bits is one cell (kind, month, count) in its edge's row, or, for a relationship of several cells,
where they stand in a pool, or a strength without cells.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.intelligence.engine.names import enlarged

#: kind → month → {count, …}, as in the document of a relationship.
Kinds = Mapping[str, Mapping[str, Mapping[str, Any]]]

_KIND_BITS, _MONTH_BITS, _COUNT_BITS = 16, 17, 29
_MOST_COUNT = (1 << _COUNT_BITS) - 1
_MOST_KINDS = (1 << _KIND_BITS) - 1
_POOLED, _WIDE = 1, 2
_LENGTH_BITS = 26
_PAYLOAD = (1 << 62) - 1
#: Memory of a kind: its name of at most 32 letters, its code, and its places in a dict and a list.
_KIND_BYTES = 200
#: The code of a strength without cells, and of kinds for which there is no code left. It weighs 1.
UNNAMED = 0


@dataclass(frozen=True, slots=True)
class Wide:
    """A relationship whose cells are not in its document: its strength as of a month, like "2026-11"."""

    month: str
    strength: float


class Cell(NamedTuple):
    kind: str
    month: int
    amount: float


class Cells:
    """The pool of one graph, and the codes of its kinds.

    A tenant has at most 65,534 kinds; further ones are counted together without a name: they weigh 1, and no
    filter finds them.
    """

    __slots__ = ("_codes", "_end", "_pool", "_waste", "kinds")

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self.kinds: list[str] = [""]
        self._pool = np.zeros(64, np.uint64)
        self._end = 0
        self._waste = 0

    def share_codes(self, other: "Cells") -> None:
        """Give kinds the codes that ``other`` gives them, from now on."""
        self._codes, self.kinds = other._codes, other.kinds

    def pack(self, kinds: Kinds, wide: Wide | None, old: int | None = None) -> int | None:
        """The word of a relationship; None for one of nothing. ``old`` is its word until now."""
        if len(self.kinds) + len(kinds) > _MOST_KINDS:
            kinds = self._as_counted(kinds)
        cells = [
            (self._code(kind) << (_MONTH_BITS + _COUNT_BITS)) | (month_number(month) << _COUNT_BITS) | part
            for kind in sorted(kinds)
            for month, cell in sorted(kinds[kind].items())
            for part in _parts(cell["count"])
        ]
        if len(cells) == 1:
            self._forget(old)
            return cells[0]
        if cells:
            return (_POOLED << 62) | self._store(cells, old)
        if wide is not None and wide.strength > 0:
            strength = int(np.float64(wide.strength).view(np.uint64))
            return (_WIDE << 62) | self._store([month_number(wide.month), strength], old)
        self._forget(old)
        return None

    def _as_counted(self, kinds: Kinds) -> Kinds:
        """The kinds with those together for which there is no code left."""
        for kind in sorted(kinds):
            self._code(kind)
        found: dict[str, dict[str, dict[str, int]]] = {}
        for kind, months in kinds.items():
            counted = found.setdefault(self.counted_as(kind), {})
            for month, cell in months.items():
                counted.setdefault(month, {"count": 0})["count"] += cell["count"]
        return found

    def moved(self, kind: str, month: str, by: int, old: int | None) -> int | None:
        """The word of a relationship with ``by`` relations more (fewer, if negative) of a kind and month; None for
        one of nothing. However many cells the others are, they are not read. Raises ValueError where there are
        fewer."""
        at = month_number(month)
        code = self._code(kind) if by > 0 else self._codes.get(kind, UNNAMED)
        block = self._block(old)
        first, last = self._find(block, code, at)
        count = int((block[first:last] & np.uint64(_MOST_COUNT)).sum()) + by
        if count < 0:
            raise ValueError("there are not so many relations of this kind and month")
        base = (code << (_MONTH_BITS + _COUNT_BITS)) | (at << _COUNT_BITS)
        parts = np.array([base | part for part in _parts(count)] if count else [], np.uint64)
        if old is not None and old >> 62 and len(parts) == last - first:
            block[first:last] = parts
            return old
        cells = np.concatenate((block[:first], parts, block[last:]))
        if len(cells) > 1:
            return (_POOLED << 62) | self._store(cells, old)
        self._forget(old)
        return int(cells[0]) if len(cells) else None

    def _block(self, word: int | None) -> NDArray[np.uint64]:
        """The cells of a word; those in the pool as a view."""
        if word is None:
            return np.zeros(0, np.uint64)
        payload = word & _PAYLOAD
        if not word >> 62:
            return np.array([payload], np.uint64)
        at, length = payload >> _LENGTH_BITS, payload & ((1 << _LENGTH_BITS) - 1)
        return self._pool[at : at + length]

    def _find(self, block: NDArray[np.uint64], code: int, month: int) -> tuple[int, int]:
        """Where the cells of a kind and month are, or would be."""

        def place(cell: np.uint64) -> tuple[str, int]:
            whole = int(cell)
            name = self.kinds[whole >> (_MONTH_BITS + _COUNT_BITS)]
            return name, (whole >> _COUNT_BITS) & ((1 << _MONTH_BITS) - 1)

        wanted = self.kinds[code], month
        return bisect_left(block, wanted, key=place), bisect_right(block, wanted, key=place)

    def cells(self, word: int) -> Iterator[Cell]:
        """What ``pack`` packed, in the order of kinds and months."""
        block = self._block(word)
        if word >> 62 == _WIDE:
            yield Cell("", int(block[0]), float(block[1:].view(np.float64)[0]))
            return
        for cell in block.tolist():
            yield self._cell(cell)

    def amounts(
        self, words: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """All cells of some edges: the edge's index, the code of the kind, the month, the count."""
        tags = words >> np.uint64(62)
        if not tags.any():
            return (np.arange(len(words)), *_fields(words))
        payload = words & np.uint64(_PAYLOAD)
        at = (payload >> np.uint64(_LENGTH_BITS)).astype(np.int64)
        lengths = (payload & np.uint64((1 << _LENGTH_BITS) - 1)).astype(np.int64)
        lengths[tags != _POOLED] = 1
        edges = np.repeat(np.arange(len(words)), lengths)
        first = np.cumsum(lengths) - lengths
        cells = words[edges]
        pooled = tags[edges] == _POOLED
        inner = np.arange(len(edges)) - first[edges]
        cells[pooled] = self._pool[(at[edges] + inner)[pooled]]
        kinds, months, counts = _fields(cells)
        wide = np.flatnonzero(tags == _WIDE)
        if len(wide):
            kinds[first[wide]] = UNNAMED
            months[first[wide]] = self._pool[at[wide]].astype(np.int64)
            counts[first[wide]] = self._pool[at[wide] + 1].view(np.float64)
        return edges, kinds, months, counts

    def of_kind(
        self, words: NDArray[np.uint64], kind: str
    ) -> "tuple[Cells, NDArray[np.int64], NDArray[np.uint64]]":
        """The pool of the relations of a kind only: with it, the indexes of the edges that have any, and the words
        of these."""
        made, code = Cells(), self._codes.get(kind)
        if code is None:
            return made, np.zeros(0, np.int64), np.zeros(0, np.uint64)
        edges, kinds, months, counts = self.amounts(words)
        own = kinds == code
        which, lengths = np.unique(edges[own], return_counts=True)
        base = np.uint64(made._code(kind) << (_MONTH_BITS + _COUNT_BITS))
        cells = base | months[own].astype(np.uint64) << np.uint64(_COUNT_BITS) | counts[own].astype(np.uint64)
        several = lengths > 1
        made._pool = cells[np.repeat(several, lengths)]
        made._end = len(made._pool)
        at = (np.cumsum(lengths[several]) - lengths[several]).astype(np.uint64)
        found = cells[np.cumsum(lengths) - lengths]
        pooled = np.uint64(_POOLED << 62)
        found[several] = pooled | at << np.uint64(_LENGTH_BITS) | lengths[several].astype(np.uint64)
        return made, which, found

    def weights(self, of_kinds: Mapping[str, float]) -> NDArray[np.float64]:
        """The weight of each code of a kind: 1 where none is stated."""
        found = np.ones(len(self.kinds))
        for kind, weight in of_kinds.items():
            if (code := self._codes.get(kind)) is not None:
                found[code] = weight
        return found

    def is_named(self, kind: str) -> bool:
        return kind in self._codes

    def compacted(self, words: NDArray[np.uint64]) -> NDArray[np.uint64] | None:
        """Where much of the pool is waste: the words again, for a pool without it."""
        # Copying the words of a large graph costs more than the waste of a small pool.
        if self._waste <= max(1024, len(words) // 8) or self._waste * 3 <= self._end:
            return None
        pooled = np.flatnonzero(words >> np.uint64(62))
        old = words[pooled]
        at = ((old & np.uint64(_PAYLOAD)) >> np.uint64(_LENGTH_BITS)).astype(np.int64)
        lengths = (old & np.uint64((1 << _LENGTH_BITS) - 1)).astype(np.int64)
        ends = np.cumsum(lengths)
        self._pool = self._pool[np.repeat(at - ends + lengths, lengths) + np.arange(lengths.sum())]
        self._end, self._waste = len(self._pool), 0
        out = words.copy()
        tags = old >> np.uint64(62) << np.uint64(62)
        out[pooled] = (
            tags | ((ends - lengths).astype(np.uint64) << np.uint64(_LENGTH_BITS)) | lengths.astype(np.uint64)
        )
        return out

    def nbytes(self) -> int:
        """Bytes of memory, with the names of kinds."""
        return self._pool.nbytes + _KIND_BYTES * len(self._codes)

    def _cell(self, payload: int) -> Cell:
        kind = self.kinds[payload >> (_MONTH_BITS + _COUNT_BITS)]
        return Cell(kind, (payload >> _COUNT_BITS) & ((1 << _MONTH_BITS) - 1), float(payload & _MOST_COUNT))

    def _code(self, kind: str) -> int:
        code = self._codes.get(kind)
        if code is None:
            if len(self.kinds) > _MOST_KINDS - 1:
                return UNNAMED
            code = self._codes[kind] = len(self.kinds)
            self.kinds.append(kind)
        return code

    def counted_as(self, kind: str) -> str:
        """The name under which ``cells`` has a kind: the empty one where there is no code left for it."""
        return kind if kind in self._codes or len(self.kinds) < _MOST_KINDS else ""

    def _store(self, block: list[int] | NDArray[np.uint64], old: int | None) -> int:
        at = self._room_of(old, len(block))
        self._pool[at : at + len(block)] = block
        return (at << _LENGTH_BITS) | len(block)

    def _room_of(self, old: int | None, length: int) -> int:
        if old is not None and old >> 62 and old & ((1 << _LENGTH_BITS) - 1) == length:
            return (old & _PAYLOAD) >> _LENGTH_BITS
        self._forget(old)
        at = self._end
        self._end += length
        if self._end > len(self._pool):
            self._pool = enlarged(self._pool, self._end)
        return at

    def _forget(self, old: int | None) -> None:
        if old is not None and old >> 62:
            self._waste += old & ((1 << _LENGTH_BITS) - 1)


def _fields(cells: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    kinds = ((cells & np.uint64(_PAYLOAD)) >> np.uint64(_MONTH_BITS + _COUNT_BITS)).astype(np.int64)
    months = ((cells >> np.uint64(_COUNT_BITS)) & np.uint64((1 << _MONTH_BITS) - 1)).astype(np.int64)
    return kinds, months, (cells & np.uint64(_MOST_COUNT)).astype(np.float64)


def _parts(count: int) -> Iterator[int]:
    """A count, in parts that fit a cell."""
    while count > _MOST_COUNT:
        yield _MOST_COUNT
        count -= _MOST_COUNT
    yield count


@lru_cache(1_200)
def month_number(month: str) -> int:
    """Months since year 0, so that differences count months."""
    return int(month[:4]) * 12 + int(month[5:7]) - 1
