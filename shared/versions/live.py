"""Stores that know versions: one for a fixed version, one for the version that is live."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from shared.contracts.errors import Unavailable
from shared.runtime.protocols import (
    Answer,
    Ask,
    Claim,
    Get,
    GetCurrent,
    GetKeys,
    OutboxBatch,
    Progress,
    Slice,
    Store,
    Write,
)
from shared.versions.generations import FIRST, Registry, collection_of, live_version, position_of, version_of


class VersionStore:
    """A Store that reads and writes one version of a projection in another Store.

    Callers use the names of positions and collections of version 1. Claims contain the real name.
    """

    def __init__(self, store: Store, version: int) -> None:
        self._store = store
        self.version = version

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        return self._store.claim(position_of(position, self.version), owner)

    def unpublished(self, position: str) -> list[OutboxBatch]:
        return self._store.unpublished(position_of(position, self.version))

    def read(self, ask: Ask) -> Answer:
        if self.version == FIRST or isinstance(ask, GetKeys | GetCurrent):
            return self._store.read(ask)
        if isinstance(ask, Get):
            names = {name: collection_of(name, self.version) for name in ask.ids}
            found = self._store.read(Get({names[name]: ids for name, ids in ask.ids.items()}))
            return {name: found[names[name]] for name in ask.ids}
        collection = collection_of(ask.collection, self.version)
        return self._store.read(replace(ask, collection=collection))

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        if self.version == FIRST:
            return self._store.commit(slice)
        writes = [
            Write(collection_of(w.collection, self.version), w.id, w.before, w.after, w.blind)
            for w in slice.outcome.writes
        ]
        return self._store.commit(replace(slice, outcome=replace(slice.outcome, writes=writes)))

    def clear(self, unpublished: Sequence[str]) -> None:
        self._store.clear(unpublished)


class LiveStore:
    """A Store that works on the live version, whichever that is.

    Each claim looks up the version before and after it is made. A handover first announces itself and then claims
    every position of the live version. So a claim that sees no announcement afterwards is either older than the
    handover's, and void, or in time. Documents are read from the version of the latest claim. Claims of any other
    version are void by then, and nothing read through them is stored.
    """

    def __init__(self, registry: Registry, open_store: Callable[[int], Store]) -> None:
        """``open_store`` returns the store for a version, with the collections under the version's names."""
        self._registry = registry
        self._open = open_store
        self._stores: dict[int, VersionStore] = {}
        self._current = 0

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        version = live_version(self._registry)
        if version not in self._stores:
            self._stores[version] = VersionStore(self._open(version), version)
        self._current = version
        found = self._stores[version].claim(position, owner)
        if live_version(self._registry) != version:
            raise Unavailable(f"{self._registry.name} was switched away from version {version}")
        return found

    def unpublished(self, position: str) -> list[OutboxBatch]:
        return self._stores[self._current].unpublished(position)

    def read(self, ask: Ask) -> Answer:
        return self._stores[self._current].read(ask)

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        return self._stores[version_of(slice.claim.position)].commit(slice)

    def clear(self, unpublished: Sequence[str]) -> None:
        self._stores[self._current].clear(unpublished)


class LiveNames:
    """The names of collections for the live version, for readers. Looked up again every second. Thread-safe."""

    def __init__(self, registry: Registry, seconds: float = 1.0) -> None:
        self._registry = registry
        self._seconds = seconds
        self._known: tuple[float, int] | None = None

    @property
    def version(self) -> int:
        """The live version. Raises Unavailable."""
        known, now = self._known, time.monotonic()
        if known is None or now - known[0] >= self._seconds:
            self._known = known = (now, self._registry.read().live)
        return known[1]

    def __call__(self, collection: str) -> str:
        return collection_of(collection, self.version)
