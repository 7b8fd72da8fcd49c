"""Leases say which process sends for which endpoint, by MongoDB's clock.

A process stops sending when half of a lease has passed on its own monotonic clock without a renewal
(``supervisor.py``), before another process may take it. ``epoch`` counts the renewals, for whoever looks at the
document; nothing is compared with it.
"""

from collections.abc import Collection
from datetime import timedelta

from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from services.webhooks.deliveries import LEASES
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import only_duplicates, translated
from shared.mongo.store import beginning_with, server_time
from shared.runtime.protocols import Document

#: A lease ends so long after its last renewal. An attempt takes at most half of it.
LEASE = timedelta(seconds=30)


#: Each process has a lease of its own, beside those of its endpoints.
_PROCESS = "process/"


def process_lease(owner: str) -> str:
    return f"{_PROCESS}{owner}"


class Leases:
    """The leases that ``owner`` takes. Methods raise Unavailable."""

    def __init__(self, database: Database[Document], owner: str) -> None:
        self._database, self._owner = database, owner
        self._leases = database.with_options(write_concern=DURABLE)[LEASES]

    def take(self, endpoints: Collection[str]) -> set[str]:
        """Take or renew the leases of these endpoints, and return those that are held now: the others are another
        process's. As many requests for any number of them, for they have to be renewed in time."""
        if not endpoints:
            return set()
        with translated():
            now = server_time(self._database)
            taken = {"owner": self._owner, "until": now + LEASE}
            update = {"$set": taken, "$inc": {"epoch": 1}}
            free = {"$or": [{"until": {"$lt": now}}, {"owner": self._owner}]}
            writes = [UpdateOne({"_id": id, **free}, update, upsert=True) for id in sorted(endpoints)]
            try:
                self._leases.bulk_write(writes, ordered=False)
            except BulkWriteError as error:
                # There is one of another process, so that none is free, and none can be inserted.
                if not only_duplicates(error):
                    raise
            return {each["_id"] for each in self._leases.find({"_id": {"$in": [*endpoints]}, **taken}, {"_id": 1})}

    def others(self) -> set[str]:
        """What other processes hold at present."""
        with translated():
            held = {"owner": {"$ne": self._owner}, "until": {"$gte": server_time(self._database)}}
            return set(self._leases.distinct("_id", held))

    def owners(self) -> set[str]:
        """The processes that send at present."""
        with translated():
            held = {"_id": beginning_with(_PROCESS), "until": {"$gte": server_time(self._database)}}
            return set(self._leases.distinct("owner", held))

    def release(self, endpoints: Collection[str]) -> None:
        """Let others send for endpoints at once."""
        with translated():
            self._leases.delete_many({"_id": {"$in": [*endpoints]}, "owner": self._owner})
