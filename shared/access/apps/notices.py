"""Notices and receipts in MongoDB, for the services that cause notices and show receipts."""

from collections.abc import Iterable
from datetime import datetime

from pymongo.database import Database

from shared.access.apps import compliance
from shared.access.apps.mongo import durable
from shared.access.apps.schema import NOTICES, RECEIPTS, REGISTER
from shared.contracts.errors import Stale
from shared.mongo.errors import translated
from shared.mongo.limits import QUERY_MS
from shared.mongo.store import beginning_with, earlier
from shared.runtime.protocols import Document


def registered(database: Database[Document], tenant: str, consumer_id: str) -> set[str]:
    """The ids of the applications that the register has for a consumer. Raises Unavailable."""
    with translated():
        found = durable(database, REGISTER).find_one({"_id": compliance.register_id(tenant, consumer_id)})
    return set() if found is None else set(found["apps"])


class MongoNotices:
    """Methods raise Unavailable."""

    def __init__(self, database: Database[Document]) -> None:
        self._database, self._notices = database, durable(database, NOTICES)

    def exported(self, tenant: str, consumer_id: str, granted: Iterable[str], at: datetime) -> None:
        """Tell the applications that may know a consumer of a copy of their data: those of the register, and those
        whose purpose is ``granted`` now, which the register may not have yet."""
        if not (apps := registered(self._database, tenant, consumer_id) | set(granted)):
            return
        made = compliance.exported(tenant, consumer_id, apps, at)
        try:
            with translated():
                self._notices.update_one({"_id": made.pop("_id")}, {"$setOnInsert": made}, upsert=True)
        except Stale:
            pass  # another request has stored it at the same moment


class MongoReceipts:
    """Methods raise Unavailable."""

    def __init__(self, database: Database[Document]) -> None:
        self._receipts = durable(database, RECEIPTS)

    def page(
        self, tenant: str, app: str, state: compliance.State | None, limit: int, after: compliance.Place | None
    ) -> list[Document]:
        """The receipts of an application, also of one that was deleted, latest first, after a place."""
        query: Document = {"tenant": tenant, "app": app}
        if state is not None:
            query["state"] = state
        if after is not None:
            query.update(earlier(*after))
        with translated():
            found = self._receipts.find(query, max_time_ms=QUERY_MS).sort([("at", -1), ("_id", -1)])
            return list(found.limit(limit))

    def of_erasure(self, tenant: str, erasure: str) -> list[Document]:
        """The receipts of an erasure, by application."""
        ids = beginning_with(f"{compliance.notice_of_erasure(tenant, erasure)}/")
        with translated():
            return list(self._receipts.find({"_id": ids}, max_time_ms=QUERY_MS).sort("_id", 1))
