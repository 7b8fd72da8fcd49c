"""Which facts of those who are to be erased are there while a slice is folded, in the order of their ids. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from shared.runtime.protocols import Document


class RemainingFacts:
    """Those of ``ids`` that begin with one of ``prefixes``, which end with the colon before the relation.

    ``facts`` says which of them are there (None or absent: gone). It changes meanwhile; what comes is told by
    ``add``. A fact costs about the same whoever else is erased in the slice, and however often.
    """

    def __init__(self, prefixes: Iterable[str], ids: Iterable[str], facts: Mapping[str, Document | None]) -> None:
        self._facts = facts
        # What has gone since may still be in a heap, and what went and came back twice.
        self._heaps: dict[str, list[str]] = {prefix: [] for prefix in prefixes}
        for id in ids:
            if (heap := self._heaps.get(_prefix(id))) is not None:
                heap.append(id)
        for heap in self._heaps.values():
            heapify(heap)

    def add(self, id: str) -> None:
        """This fact is there now; also for one that was before, or of somebody else."""
        if (heap := self._heaps.get(_prefix(id))) is not None:
            heappush(heap, id)

    def lowest(self, prefixes: Sequence[str]) -> str | None:
        """The lowest id that begins with the first of ``prefixes`` that any begins with."""
        for prefix in prefixes:
            heap = self._heaps[prefix]
            while heap and self._facts.get(heap[0]) is None:
                heappop(heap)
            if heap:
                return heap[0]
        return None


def _prefix(id: str) -> str:
    return id[: id.rindex(":") + 1]
