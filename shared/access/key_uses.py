"""When an API key was last used: known to the minute, at the cost of one write per key, process and minute."""

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

#: Apart from the keys: a service may write here, and cannot change a key.
COLLECTION = "api_key_uses"
#: A use within so many seconds of the one that was written is not.
EXACT_SECONDS = 60.0
_KEYS = 10_000


class KeyUses(Protocol):
    """Where the last use of each key is kept. Every method raises Unavailable."""

    def write(self, prefix: str, at: datetime) -> None:
        """A later use that is known already stays."""

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
    """Decides which uses are written. Used from one event loop at a time."""

    def __init__(
        self, uses: KeyUses, now: Callable[[], datetime], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._uses, self._now, self._clock = uses, now, clock
        self._written: LRUCache[str, float] = LRUCache(_KEYS)

    def due(self, prefix: str) -> bool:
        """Whether this use is to be written. The next ones of the minute then are not, whatever becomes of it."""
        last, now = self._written.get(prefix), self._clock()
        if last is not None and now - last < EXACT_SECONDS:
            return False
        self._written[prefix] = now
        return True

    def write(self, prefix: str) -> None:
        """Waits for the database. A use that cannot be written is no reason to refuse a request."""
        try:
            self._uses.write(prefix, self._now())
        except Unavailable as error:
            log.warning("the use of an API key could not be noted: %s", error)
