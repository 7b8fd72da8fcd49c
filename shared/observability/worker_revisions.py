"""The revision of the event schema that every running worker understands."""

import logging
import threading
from datetime import timedelta

import pymongo
from pymongo.database import Database
from pymongo.errors import PyMongoError

from shared.contracts.revision import FIRST, REVISION
from shared.mongo.store import server_time
from shared.observability.heartbeat import SILENT_SECONDS, WORKERS
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

_EVERY_SECONDS, _TIMEOUT_SECONDS = 1.0, 2.0


class WorkerRevisions:
    """Polls the heartbeats of the workers of ``service`` on its own thread. Thread-safe.

    Until the first read, the oldest worker is assumed to be of any version. A new worker is noticed within three
    seconds (its heartbeat, and the next poll). Until then the door accepts events that it cannot fold.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._database = database
        self._lowest = FIRST
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="revisions", daemon=True)

    @property
    def lowest(self) -> int:
        """The revision that the oldest running worker understands; this version's own when none runs."""
        return self._lowest

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(_TIMEOUT_SECONDS)

    def look(self) -> None:
        """Read the heartbeats once. Raises PyMongoError."""
        with pymongo.timeout(_TIMEOUT_SECONDS):
            alive = server_time(self._database) - timedelta(seconds=SILENT_SECONDS)
            beats = self._database[WORKERS].find({"service": "relations", "at": {"$gte": alive}}, {"schema": 1})
            lowest = min((beat.get("schema", FIRST) for beat in beats), default=REVISION)
        if lowest < min(REVISION, self._lowest):
            log.warning(
                "a worker of an older version is running: events that need schema revision %d are rejected",
                REVISION,
                extra={"service": "relations", "revision": lowest},
            )
        self._lowest = lowest

    def _work(self) -> None:
        while True:
            try:
                self.look()
            except PyMongoError as error:
                # The last result stays valid: a worker needs MongoDB as well, so none has started meanwhile.
                log.debug("the workers' heartbeats cannot be read: %s", error)
            if self._stop.wait(_EVERY_SECONDS):
                return
