"""The Registry in memory, beside a ``MemoryStore``, for tests. The contract suite holds it to the behaviour of the
real one."""

from datetime import UTC, datetime, timedelta

from shared.contracts.collections import Collections
from shared.testing.memory import MemoryStore
from shared.versions.generations import Generations, PartitionPosition, collections_of, own_collections, place_of


class MemoryRegistry:
    """``seconds`` is its clock, which tests move."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self._store = store
        self._name = name
        self._generations = Generations()
        self.seconds = 0.0

    @property
    def name(self) -> str:
        return self._name

    def read(self) -> Generations:
        return self._generations

    def replace(self, before: Generations, after: Generations) -> bool:
        if self._generations != before:
            return False
        self._generations = after
        return True

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def positions(self, version: int) -> dict[str, PartitionPosition]:
        return {
            place_of(id): PartitionPosition(entry.progress.next, entry.owner, entry.progress.emitted)
            for id, entry in self._store.positions.items()
            if id.startswith(self._prefix(version))
        }

    def delete(self, version: int, collections: Collections) -> None:
        for name in collections_of(own_collections(collections), version):
            self._store.collections[name] = {}  # a deleted collection is empty for its remaining readers
        self._store.clear([id for id in self._store.outbox if id.startswith(self._prefix(version))])
        for id in [id for id in self._store.positions if id.startswith(self._prefix(version))]:
            del self._store.positions[id]

    def _prefix(self, version: int) -> str:
        return f"{self._name}@{version}/"
