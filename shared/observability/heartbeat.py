"""A worker's heartbeat in MongoDB: that it runs, and the latency of its messages."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta

import pymongo
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from shared.contracts.errors import Unavailable
from shared.contracts.revision import REVISION
from shared.runtime.protocols import Document

WORKERS = "workers"
EVERY_SECONDS = 2.0
#: How often a worker that is behind, or just was, says so.
BEHIND_SECONDS = 0.1
#: A worker without a heartbeat for this long has ended, or is cut off.
SILENT_SECONDS = 10.0

_FORGOTTEN = timedelta(days=1)
_TIMEOUT_SECONDS = 1.0

log = logging.getLogger(__name__)


class Heartbeat:
    """Writes ``{_id: service/owner, service, owner, at, latency, schema, behind}`` every two seconds on its own
    thread, outside of the transactions. ``latency`` is a histogram (``shared.observability.latency``), ``schema``
    the revision of the event schema that the worker understands, ``behind`` the seconds that the oldest record
    waits, which is written ten times a second while there is one. Beats are lost while the database is away.
    ``stop`` deletes the document. ``then`` is called after each beat, and may raise PyMongoError or
    Unavailable."""

    def __init__(
        self,
        database: Database[Document],
        service: str,
        owner: str,
        latency: Callable[[], Mapping[int, int]],
        then: Callable[[], None] = lambda: None,
        behind: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._workers = database.get_collection(WORKERS, write_concern=WriteConcern(1))
        self._service, self._owner = service, owner
        self._latency, self._then, self._behind = latency, then, behind
        self._said = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(_TIMEOUT_SECONDS)
        with suppress(PyMongoError), pymongo.timeout(_TIMEOUT_SECONDS):
            self._workers.delete_one({"_id": self._id})

    @property
    def _id(self) -> str:
        return f"{self._service}/{self._owner}"

    def _work(self) -> None:
        due = 0.0
        while True:
            try:
                with pymongo.timeout(_TIMEOUT_SECONDS):
                    # By the clock: a worker that is behind is not silent while the database is slow.
                    if (now := time.monotonic()) < due:
                        self.say_behind()
                    else:
                        due = now + EVERY_SECONDS
                        self.beat()
                        self._then()
            except (PyMongoError, Unavailable) as error:
                log.debug("heartbeat not written: %s", error)
            if self._stop.wait(BEHIND_SECONDS):
                return

    def say_behind(self) -> None:
        """Write how far the worker is behind, unless it is not, as the last time. Raises PyMongoError."""
        behind = round(self._behind(), 3)
        if behind or self._said:
            self._workers.update_one({"_id": self._id}, {"$set": {"behind": behind}})
            self._said = behind

    def beat(self) -> None:
        """Write one heartbeat, and delete those older than a day. Raises PyMongoError."""
        latency = [{"size": size, "count": count} for size, count in sorted(self._latency().items())]
        fields = {"service": self._service, "owner": self._owner, "latency": latency, "schema": REVISION}
        fields["behind"] = self._said = round(self._behind(), 3)
        found = self._workers.find_one_and_update(
            {"_id": self._id},
            # By the server's clock, so that the times of all workers are comparable.
            {"$set": fields, "$currentDate": {"at": True}},
            upsert=True,
            return_document=pymongo.ReturnDocument.AFTER,
        )
        assert found is not None
        self._workers.delete_many({"at": {"$lt": found["at"] - _FORGOTTEN}})
