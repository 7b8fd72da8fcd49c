"""Sends again what was given up, and at once what waits for its next attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pymongo.client_session import ClientSession
from pymongo.database import Database

from services.webhooks.deliveries import DELIVERIES, ENDPOINTS
from services.webhooks.messages.notice import receipt_delivery
from shared.access.apps.schema import RECEIPTS
from shared.mongo.errors import translated
from shared.mongo.transactions import transact
from shared.runtime.protocols import Document

_RECEIPTS_AT_ONCE = 500
_NOW = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries: one by its own id or by that of its receipt, or all that were given up. ``waiting``: also
    those that have failed and wait for their next attempt; a single one is sent in either case."""

    delivery: str | None = None
    receipt: str | None = None
    waiting: bool = False

    @property
    def single(self) -> Document:
        named = {"_id": self.delivery, "receipt": self.receipt}
        return {name: value for name, value in named.items() if value is not None}


def retry(database: Database[Document], endpoint: str, wanted: Wanted) -> int:
    """Send the deliveries of an endpoint that are ``wanted`` as soon as their turn comes. Returns how many. Raises
    Unavailable."""
    of_endpoint = {"endpoint": endpoint, **wanted.single}
    if wanted.receipt is not None and wanted.delivery is None:
        # Of all that its endpoint has, found at once.
        of_endpoint["_id"] = receipt_delivery(endpoint, wanted.receipt)
    count = _reopen(database, {**of_endpoint, "state": "failed"})
    if wanted.single or wanted.waiting:
        count += _hasten(database, endpoint, {**of_endpoint, "state": "queued"})
    return count


def _reopen(database: Database[Document], query: Document) -> int:
    again = {"$set": {"state": "queued", "due": _NOW}, "$unset": {"failed": ""}}
    deliveries, receipts = database[DELIVERIES], database[RECEIPTS]
    reopened = {"$set": {"state": "queued"}, "$unset": {"settled": "", "expires": "", "reason": ""}}
    with translated():
        told = deliveries.distinct("receipt", query)
        # Both: the query may ask for one receipt.
        untold = {"$and": [query, {"receipt": {"$exists": False}}]}
        count = deliveries.update_many(untold, again).modified_count
    for start in range(0, len(told), _RECEIPTS_AT_ONCE):
        of_these = told[start : start + _RECEIPTS_AT_ONCE]

        def transaction(session: ClientSession, ids: Sequence[str] = of_these) -> int:
            # Together: the delivery may be given up again before the receipt is queued.
            found = deliveries.update_many({**query, "receipt": {"$in": ids}}, again, session=session)
            receipts.update_many({"_id": {"$in": ids}, "state": "failed"}, reopened, session=session)
            return found.modified_count

        count += transact(database, transaction)
    return count


def _hasten(database: Database[Document], endpoint: str, query: Document) -> int:
    with translated():
        found = database[DELIVERIES].update_many({**query, "attempts": {"$gt": 0}}, {"$set": {"due": _NOW}})
        if found.matched_count:
            # Its sender remembers when subjects are due, until the endpoint is changed. Also where nothing is due
            # later any more: whoever asked before may have got no further.
            database[ENDPOINTS].update_one({"_id": endpoint}, {"$inc": {"revision": 1}})
    return found.modified_count
