"""The store of the sink: positions and dead letters in MongoDB, and documents as they are now."""

from collections.abc import Sequence

from services.cassandra.reader import CurrentDocuments
from shared.runtime.protocols import Answer, Ask, Claim, GetCurrent, OutboxBatch, Progress, Slice, Store


class CurrentStore:
    """``store``, which also answers for documents as they are now."""

    def __init__(self, store: Store, current: CurrentDocuments) -> None:
        self._store, self._current = store, current

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        return self._store.claim(position, owner)

    def unpublished(self, position: str) -> list[OutboxBatch]:
        return self._store.unpublished(position)

    def read(self, ask: Ask) -> Answer:
        if isinstance(ask, GetCurrent):
            return self._current.read(ask.ids, ask.counted)
        return self._store.read(ask)

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        return self._store.commit(slice)

    def clear(self, unpublished: Sequence[str]) -> None:
        self._store.clear(unpublished)
