"""A worker's heartbeat in MongoDB: that it runs, and the latency of its messages."""

import logging
import threading
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
#: A worker without a heartbeat for this long has ended, or is cut off.
SILENT_SECONDS = 10.0

_FORGOTTEN = timedelta(days=1)
_TIMEOUT_SECONDS = 1.0

log = logging.getLogger(__name__)


class Heartbeat:
    """Writes ``{_id: service/owner, service, owner, at, latency, schema}`` every two seconds on its own thread,
    outside of the transactions. ``latency`` is a histogram (``shared.observability.latency``), ``schema`` the
    revision of the event schema that the worker understands. Beats are lost while the database is unavailable.
    ``stop`` deletes the document. ``then`` is called after each beat, and may raise PyMongoError or
    Unavailable."""

    def __init__(
        self,
        database: Database[Document],
        service: str,
        owner: str,
        latency: Callable[[], Mapping[int, int]],
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self._workers = database.get_collection(WORKERS, write_concern=WriteConcern(1))
        self._service, self._owner = service, owner
        self._latency, self._then = latency, then
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
        while True:
            try:
                with pymongo.timeout(_TIMEOUT_SECONDS):
                    self.beat()
                    self._then()
            except (PyMongoError, Unavailable) as error:
                log.debug("heartbeat not written: %s", error)
            if self._stop.wait(EVERY_SECONDS):
                return

    def beat(self) -> None:
        """Write one heartbeat, and delete those older than a day. Raises PyMongoError."""
        latency = [{"size": size, "count": count} for size, count in sorted(self._latency().items())]
        fields = {"service": self._service, "owner": self._owner, "latency": latency, "schema": REVISION}
        found = self._workers.find_one_and_update(
            {"_id": self._id},
            # By the server's clock, so that the times of all workers are comparable.
            {"$set": fields, "$currentDate": {"at": True}},
            upsert=True,
            return_document=pymongo.ReturnDocument.AFTER,
        )
        assert found is not None
        self._workers.delete_many({"at": {"$lt": found["at"] - _FORGOTTEN}})
