"""The remaining facts of consumers who are being erased, in the order of their ids, while a slice is folded.
Pure."""

from collections.abc import Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush

from shared.runtime.protocols import Document


class RemainingFacts:
    """Holds those of ``ids`` that begin with one of ``prefixes``, which end with the colon before the relation.

    ``facts`` holds the ones that exist (None or absent: gone) and changes during the fold; ``add`` reports each
    new fact. The cost of a fact does not depend on how many consumers the slice erases, or how often.
    """

    def __init__(self, prefixes: Iterable[str], ids: Iterable[str], facts: Mapping[str, Document | None]) -> None:
        self._facts = facts
        # A fact that is gone may still be in a heap; one that went and came back may be there twice.
        self._heaps: dict[str, list[str]] = {prefix: [] for prefix in prefixes}
        for id in ids:
            if (heap := self._heaps.get(_prefix(id))) is not None:
                heap.append(id)
        for heap in self._heaps.values():
            heapify(heap)

    def add(self, id: str) -> None:
        """Report a fact that exists now. A known fact, or one of another consumer, does no harm."""
        if (heap := self._heaps.get(_prefix(id))) is not None:
            heappush(heap, id)

    def lowest(self, prefixes: Sequence[str]) -> str | None:
        """The lowest id with the first of ``prefixes`` that any remaining fact has; None without facts."""
        for prefix in prefixes:
            heap = self._heaps[prefix]
            while heap and self._facts.get(heap[0]) is None:
                heappop(heap)
            if heap:
                return heap[0]
        return None


def _prefix(id: str) -> str:
    return id[: id.rindex(":") + 1]
