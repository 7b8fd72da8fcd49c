"""Reads documents as they are now, after taking a number: what the exactness of the sink rests on."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from pymongo import ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from services.cassandra.schema import NUMBERS
from services.cassandra.subjects import AGGREGATES
from shared.contracts.errors import Stale, Unavailable
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.runtime.protocols import Document
from shared.versions.generations import Registry, collection_of
from shared.versions.progress import counted_numbers

_COUNTER = "cassandra"
_MOST_IDS = 10_000  # in one query, which may have 16 MB
_PATIENCE_SECONDS, _GLANCE_SECONDS = 3.0, 0.05


class CurrentDocuments:
    """Reads of one database. ``relations`` and ``analytics`` are the versions of the two projections."""

    def __init__(
        self,
        database: Database[Document],
        relations: Registry,
        analytics: Registry,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database.with_options(read_concern=ReadConcern("majority"), write_concern=DURABLE)
        self._relations, self._analytics = relations, analytics
        self._pause = pause

    def read(
        self, ids: Mapping[str, Collection[str]], counted: Mapping[str, int]
    ) -> tuple[int, dict[str, dict[str, Document]]]:
        """A new number, and the documents as a majority has them afterwards: collection → id → document. Raises
        Unavailable, also while analytics has not counted the changes up to ``counted``; Stale when another version
        of a projection has become live meanwhile."""
        if ids.get(AGGREGATES):
            self._wait(counted)
        # Causally consistent: no read is served by a primary that has been replaced without knowing it.
        with translated(), self._database.client.start_session(causal_consistency=True) as session:
            number = self._next(session)
            versions = self._versions()
            found = {
                name: self._by_id(collection_of(name, versions[name == AGGREGATES]), list(wanted), session)
                for name, wanted in ids.items()
            }
            if self._versions() != versions:
                raise Stale("another version of relations or analytics is live since")
        return number, found

    def _versions(self) -> tuple[int, int]:
        return self._relations.read().live, self._analytics.read().live

    def _next(self, session: ClientSession) -> int:
        """The next number, as ``shared.cassandra.numbers.next_number``, by the clock of the primary."""
        after = {"$add": [{"$ifNull": ["$last", 0]}, 1]}
        stored = self._database[NUMBERS].find_one_and_update(
            {"_id": _COUNTER},
            [{"$set": {"last": {"$max": [after, {"$toLong": "$$NOW"}]}}}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        assert stored is not None
        return int(stored["last"])

    def _by_id(self, name: str, ids: list[str], session: ClientSession) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for start in range(0, len(ids), _MOST_IDS):
            wanted = {"_id": {"$in": ids[start : start + _MOST_IDS]}}
            found |= {each["_id"]: each for each in self._database[name].find(wanted, session=session)}
        return found

    def _wait(self, counted: Mapping[str, int]) -> None:
        """Until analytics has counted these changes: its documents do not contain them before."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while behind := self._behind(counted):
            if time.monotonic() > until:
                raise Unavailable(
                    f"analytics has not counted the changes of {behind} yet, on which the rows depend"
                )
            self._pause(_GLANCE_SECONDS)

    def _behind(self, counted: Mapping[str, int]) -> str | None:
        if not counted:
            return None
        numbers = counted_numbers(self._database, self._analytics)
        return next((origin for origin, number in counted.items() if numbers.get(origin, 0) < number), None)
