"""Leases say which process sends for which endpoint, by MongoDB's clock.

A process stops sending when half of a lease has passed on its own monotonic clock without a renewal
(``supervisor.py``), before another process may take it. ``epoch`` counts the renewals, for whoever looks at the
document; nothing is compared with it.
"""

from datetime import timedelta

from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from services.webhooks.deliveries import LEASES
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
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

    def take(self, endpoint: str) -> bool:
        """Take or renew the lease of an endpoint; False while another process holds it."""
        with translated():
            now = server_time(self._database)
            free = {"_id": endpoint, "$or": [{"until": {"$lt": now}}, {"owner": self._owner}]}
            taken = {"owner": self._owner, "until": now + LEASE}
            try:
                found = self._leases.find_one_and_update(
                    free,
                    {"$set": taken, "$inc": {"epoch": 1}},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                return False
        return found is not None

    def owners(self) -> set[str]:
        """The processes that send at present."""
        with translated():
            held = {"_id": beginning_with(_PROCESS), "until": {"$gte": server_time(self._database)}}
            return set(self._leases.distinct("owner", held))

    def release(self, endpoint: str) -> None:
        """Let others send for an endpoint at once."""
        with translated():
            self._leases.delete_one({"_id": endpoint, "owner": self._owner})
