"""What a developer and a tenant want to know of an application: how many have agreed, what it has used."""

from collections.abc import Callable

from pymongo.database import Database

from shared.access.event_days import MongoCounts
from shared.mongo.errors import translated
from shared.mongo.limits import QUERY_MS
from shared.runtime.protocols import Document

#: Consent is counted so far: it is a scan of the tenant's consumers.
MOST_COUNTED = 100_000


class Figures:
    """Reads what relations has stored. ``names`` are its collections."""

    def __init__(self, database: Database[Document], names: Callable[[str], str]) -> None:
        self._database, self._names = database, names

    def consented(self, tenant: str, purpose: str) -> int:
        """The number of consumers who have granted the purpose, up to MOST_COUNTED. Raises Unavailable."""
        # By the range of ids, which begin with the tenant; ";" follows ":".
        query = {"_id": {"$gte": f"{tenant}:", "$lt": f"{tenant};"}, f"consent.{purpose}": True}
        with translated():
            consumers = self._database[self._names("consumers")]
            return int(consumers.count_documents(query, limit=MOST_COUNTED, maxTimeMS=QUERY_MS))

    def events(self, tenant: str, app: str, day: str) -> int:
        """The events that are counted against the application's quota of a day. Raises Unavailable."""
        return MongoCounts(self._database).read(tenant, app, day)
