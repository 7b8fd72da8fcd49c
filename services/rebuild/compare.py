"""Compares the two versions of a projection in MongoDB while the live one advances.

A snapshot of the live version has positions and documents of one moment. The other version is folded to exactly
those positions; then every document must be the same in both. MongoDB drops snapshots after five minutes, so a
long comparison takes several, one after the other.
"""

import time
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from services.rebuild.build import BuildingStore, RebuildContext, Superseded, arrived, build, lag, offsets
from services.rebuild.diff import Comparison, Row, Why, merged
from shared.mongo.errors import translated
from shared.mongo.limits import STREAM_MS
from shared.mongo.store import POSITIONS
from shared.runtime.protocols import Document
from shared.runtime.runner import Runner
from shared.versions.generations import collection_of, own_collections, place_of, settled

SNAPSHOT_SECONDS = 60.0
_LOOK_EVERY = 1_000


@dataclass
class Difference:
    """The result of comparing two versions, by collection (named as in version 1)."""

    projection: str
    live: int
    other: int
    collections: dict[str, Comparison] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        return all(comparison.same for comparison in self.collections.values())


class VersionComparison:
    """Compares one version with the live one, which stays untouched. ``report`` gets a line for each collection
    that is begun, ``tick`` is called regularly; ``collections`` limits the comparison (default: all)."""

    def __init__(
        self,
        context: RebuildContext,
        database: Database[Document],
        target: int,
        why: Callable[[str], Why],
        report: Callable[[str], None] = lambda _: None,
        tick: Callable[[], object] = lambda: None,
        snapshot_seconds: float = SNAPSHOT_SECONDS,
        collections: Collection[str] | None = None,
    ) -> None:
        self._context, self._database, self._target = context, database, target
        self._why, self._report, self._tick = why, report, tick
        self._seconds = snapshot_seconds
        self._names = own_collections(context.collections) if collections is None else collections
        self._live = context.registry.read().live
        self._marks: dict[str, int] = {}
        self._taken_at = 0.0

    def compare(self) -> Difference:
        """Raises Superseded when another process advances the version or switches, and Unavailable."""
        found = Difference(self._context.name, self._live, self._target)
        self._fence()
        for name in self._names:
            comparison = found.collections[name] = Comparison()
            why, after = self._why(name), b""
            self._report(f"comparing {name}")
            while True:
                with translated(), self._database.client.start_session(snapshot=True) as session:
                    self._take(session)
                    last = self._stretch(name, after, session, comparison, why)
                self._verify()
                if last is None:
                    break
                after = last
        return found

    def _fence(self) -> None:
        """Stop every other process that builds the version."""
        store = BuildingStore(self._context, self._target)
        for place in self._context.registry.positions(self._target):
            store.claim(self._context.series(place), self._context.owner)

    def _take(self, session: ClientSession) -> None:
        """Take a snapshot of the live version, and fold the other one to its positions."""
        prefix = f"{self._context.name}@{self._live}"
        positions = self._database[POSITIONS].find(
            {"_id": {"$gte": f"{prefix}/", "$lt": f"{prefix}0"}}, {"next": 1}, session=session
        )
        self._marks = {place_of(each["_id"]): each.get("next") or 0 for each in positions}
        self._taken_at = time.monotonic()
        if lag(offsets(self._context.registry, self._target), self._marks):
            build(self._context, self._target, lambda: self._marks, self._arrived)

    def _arrived(self, runner: Runner) -> bool:
        self._tick()
        return arrived(runner, self._marks)

    def _stretch(
        self, name: str, after: bytes, session: ClientSession, comparison: Comparison, why: Why
    ) -> bytes | None:
        """Compare from an id on until the snapshot is too old. Returns the last id, None at the end."""
        live = rows(self._database, name, self._live, after, session)
        other = rows(self._database, name, self._target, after)
        with closing(live), closing(other):
            for number, (one, two) in enumerate(merged(live, other), 1):
                comparison.add(one, two, why)
                if number % _LOOK_EVERY:
                    continue
                self._tick()
                if time.monotonic() - self._taken_at > self._seconds:
                    row = one or two
                    assert row is not None
                    return row.id
        return None

    def _verify(self) -> None:
        """Raise Superseded if a position has changed during the comparison."""
        registry = self._context.registry
        stands: Mapping[str, int] = offsets(registry, self._target)
        if settled(registry).live != self._live or any(stands.get(p, 0) != m for p, m in self._marks.items()):
            raise Superseded("another process has advanced or switched the version during the comparison")


def rows(
    database: Database[Document], name: str, version: int, after: bytes = b"", session: ClientSession | None = None
) -> Generator[Row, None, None]:
    """The documents of a version's collection after an id, in the order of their ids."""
    collection: Any = database.get_collection(
        collection_of(name, version),
        codec_options=CodecOptions(document_class=RawBSONDocument, tz_aware=True),
        read_concern=None if session is not None else ReadConcern("majority"),
    )
    found = collection.find(
        {"_id": {"$gt": after.decode()}}, session=session, batch_size=2_000, max_time_ms=STREAM_MS
    )
    with closing(found.sort("_id", 1)) as cursor:
        for document in cursor:
            yield Row(document["_id"].encode(), bytes(document.raw))
