"""The processes that keep a state in memory which follows the changes, and how far each has followed.

An erasure is complete only when none of them still holds the consumer. A process that cannot write its beat stops
answering before the others stop waiting for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

import pymongo
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from shared.contracts.bson_types import DATE, STRING, WHOLE
from shared.contracts.collections import CollectionSpec, object_schema
from shared.mongo.errors import translated
from shared.mongo.store import server_time
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

FOLLOWERS = "followers"
SPEC = CollectionSpec(
    object_schema(
        {
            "service": STRING,
            "at": DATE,
            "seen": {
                "bsonType": "array",
                "items": {
                    "bsonType": "object",
                    "required": ["origin", "number"],
                    "properties": {"origin": STRING, "number": WHOLE},
                    "additionalProperties": False,
                },
            },
        }
    )
)
EVERY_SECONDS = 1.0
#: A process that has not written for so long does not answer any more. (On its own clock, from before the write.)
SILENT_SECONDS = 10.0
#: For so long others wait for it.
_GONE_SECONDS = 30.0
_TIMEOUT_SECONDS = 5.0
_FORGOTTEN = timedelta(days=1)


class FollowerBeat:
    """Writes ``{_id: owner, service, at, seen}`` every second on its own thread. ``seen`` returns the numbers that
    everything that the process answers or stores is based on at least. ``stop`` deletes the document."""

    def __init__(
        self,
        database: Database[Document],
        service: str,
        owner: str,
        seen: Callable[[], Mapping[str, int]],
    ) -> None:
        self._beats = database.get_collection(FOLLOWERS, write_concern=WriteConcern("majority", wtimeout=5_000))
        self._service, self._owner, self._seen = service, owner, seen
        self._written_at = time.monotonic() - SILENT_SECONDS
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="follower-beat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(_TIMEOUT_SECONDS)
        with suppress(PyMongoError), pymongo.timeout(_TIMEOUT_SECONDS):
            self._beats.delete_one({"_id": self._owner})

    def problems(self) -> list[str]:
        """Why the process must not answer: an erasure may be complete without it. Empty otherwise."""
        if time.monotonic() - self._written_at < SILENT_SECONDS:
            return []
        return ["MongoDB has not taken note of this process's progress for too long"]

    def beat(self) -> None:
        """Write once. Raises PyMongoError."""
        at = time.monotonic()
        seen = [{"origin": origin, "number": number} for origin, number in sorted(self._seen().items())]
        self._beats.update_one(
            {"_id": self._owner},
            {"$set": {"service": self._service, "seen": seen}, "$currentDate": {"at": True}},
            upsert=True,
        )
        self._written_at = at
        # Of processes that were killed.
        self._beats.delete_many({"at": {"$lt": server_time(self._beats.database) - _FORGOTTEN}})

    def _work(self) -> None:
        while True:
            try:
                with pymongo.timeout(_TIMEOUT_SECONDS):
                    self.beat()
            except PyMongoError as error:
                log.debug("progress not written: %s", error)
            if self._stop.wait(EVERY_SECONDS):
                return


def followed_numbers(database: Database[Document]) -> list[dict[str, int]]:
    """The numbers that each running process has followed. Raises Unavailable."""
    with translated():
        alive = server_time(database) - timedelta(seconds=_GONE_SECONDS)
        beats = database.get_collection(FOLLOWERS, read_concern=ReadConcern("majority"))
        found = list(beats.find({"at": {"$gte": alive}}, {"seen": 1}))
    return [{each["origin"]: each["number"] for each in beat["seen"]} for beat in found]
