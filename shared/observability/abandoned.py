"""Partitions that no living worker reads, as each worker of the same projection finds them in MongoDB."""

import time
from collections.abc import Callable, Sequence

from pymongo.database import Database

from shared.mongo.store import POSITIONS
from shared.observability.heartbeat import SILENT_SECONDS, WORKERS
from shared.runtime.protocols import Document


class AbandonedPartitions:
    """The partitions whose last owner has ended or gives no sign of life, and that nobody has claimed since.

    Normally Kafka gives them to another worker within the session timeout. It does not while the group waits for a
    member that neither joins nor dies. A partition that was never claimed is not among them. Thread-safe.
    """

    def __init__(
        self,
        database: Database[Document],
        projection: str,
        topics: Sequence[str],
        version: Callable[[], int],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``topics`` are the projection's, ``version`` returns its live version. A partition is a problem after
        ``seconds``."""
        self._positions, self._workers = database[POSITIONS], database[WORKERS]
        self._projection, self._topics, self._version = projection, frozenset(topics), version
        self._seconds, self._clock = seconds, clock
        self._since: dict[str, float] = {}

    def look(self) -> None:
        """Look at positions and heartbeats. Raises PyMongoError and Unavailable."""
        prefix = f"{self._projection}@{self._version()}/"
        recent = {"$gt": ["$at", {"$subtract": ["$$NOW", int(SILENT_SECONDS * 1000)]}]}
        alive = {
            beat["owner"]
            for beat in self._workers.find({"service": self._projection, "$expr": recent}, {"owner": 1})
        }
        # The slash is followed by the topic, and "0" is the character after it.
        found = self._positions.find({"_id": {"$gt": prefix, "$lt": prefix[:-1] + "0"}}, {"owner": 1})
        dead = {
            place
            for position in found
            if position.get("owner") not in alive
            and (place := position["_id"].removeprefix(prefix)).rpartition("/")[0] in self._topics
        }
        now = self._clock()
        self._since = {place: self._since.get(place, now) for place in dead}

    def problems(self) -> list[str]:
        """Which partitions nobody reads, and for how long, as of the last ``look``."""
        now = self._clock()
        return [
            f"no worker has read {place} for {now - since:.0f} s, since its last one ended"
            for place, since in sorted(self._since.items())
            if now - since > self._seconds
        ]
