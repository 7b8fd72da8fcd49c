"""The last use of each API key, to the minute. It costs one write per key, process and minute."""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from cachetools import LRUCache
from pymongo.database import Database

from shared.contracts.errors import Unavailable
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

#: Separate from the keys: a service may write here, and cannot change a key.
COLLECTION = "api_key_uses"
#: A use within this many seconds after the last written one is not written.
EXACT_SECONDS = 60.0
_KEYS = 10_000


class KeyUses(Protocol):
    """Stores the last use of each key. Every method raises Unavailable."""

    def write(self, prefix: str, at: datetime) -> None:
        """Store a use, unless a later one is stored already."""

    def all(self) -> dict[str, datetime]: ...


class MongoKeyUses:
    """KeyUses in the collection ``api_key_uses``: a document per key."""

    def __init__(self, database: Database[Document]) -> None:
        self._uses = database[COLLECTION]

    def write(self, prefix: str, at: datetime) -> None:
        with translated():
            self._uses.update_one({"_id": prefix}, {"$max": {"at": at}}, upsert=True)

    def all(self) -> dict[str, datetime]:
        with translated():
            return {found["_id"]: found["at"] for found in self._uses.find()}


class UseRecorder:
    """Decides which uses are written. For one event loop at a time."""

    def __init__(
        self, uses: KeyUses, now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._uses, self._now, self._clock = uses, now, clock
        self._written: LRUCache[str, float] = LRUCache(_KEYS)

    def due(self, prefix: str) -> bool:
        """Whether to write this use. Further uses in the same minute are not written, even if this write fails."""
        last, now = self._written.get(prefix), self._clock()
        if last is not None and now - last < EXACT_SECONDS:
            return False
        self._written[prefix] = now
        return True

    def write(self, prefix: str) -> None:
        """Write the use; blocks on the database. If it cannot be written, the request is still answered."""
        try:
            self._uses.write(prefix, self._now())
        except Unavailable as error:
            log.warning("the last use of an API key could not be stored: %s", error)
