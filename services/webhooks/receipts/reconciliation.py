"""Brings receipts back in step with their deliveries.

A process of an older version, beside which this one runs during an upgrade, stores what became of a delivery and
knows nothing of its receipt, which stays ``queued``. What happened is in the log of attempts, as long as that is
kept. A receipt of whose delivery nothing is known is sent again, under the same id: told twice is better than
never.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from pymongo.database import Database

from services.webhooks.deliveries import DELIVERIES, LOG
from services.webhooks.messages.notice import receipt_delivery
from services.webhooks.receipts.assignment import ReceiptAssignment
from services.webhooks.receipts.outcome import receipt_update
from shared.access.apps.schema import RECEIPTS
from shared.mongo.concerns import durable_database
from shared.mongo.errors import translated
from shared.mongo.limits import QUERY_MS
from shared.runtime.clock import now
from shared.runtime.protocols import Document

#: A receipt that was given to its endpoint less long ago is not looked at: senders of today write it first.
_YOUNG = timedelta(minutes=1)
#: Receipts of an endpoint that are compared at a time, the oldest first. Those behind them have their turn when
#: these are delivered, or when the endpoint is disabled after five days.
_COMPARED = 10_000
_SETTLED = 200


class ReceiptReconciliation:
    """Methods raise Unavailable, and Stale when another process was first."""

    def __init__(
        self,
        database: Database[Document],
        assignment: ReceiptAssignment,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._database = durable_database(database)
        self._receipts, self._assignment, self._clock = self._database[RECEIPTS], assignment, clock

    def reconcile(self, endpoint: str) -> None:
        """Settle the receipts that wait for an answer of an endpoint, and whose delivery is not under way."""
        for receipt in self._left(endpoint):
            last = self._last_attempt(receipt_delivery(endpoint, receipt["_id"]))
            if last is None:
                self._assignment.move([receipt], None)
            else:
                self._settle(receipt, last)

    def _left(self, endpoint: str) -> list[Document]:
        old = {"state": "queued", "endpoint": endpoint, "enqueued": {"$lt": self._clock() - _YOUNG}}
        delivery = {"$concat": [receipt_delivery(endpoint, ""), "$_id"]}
        joined = {"from": DELIVERIES, "localField": "delivery", "foreignField": "_id", "as": "deliveries"}
        with translated():
            found = self._receipts.aggregate(
                [
                    {"$match": old},
                    {"$limit": _COMPARED},
                    {"$set": {"delivery": delivery}},
                    {"$lookup": joined},
                    {"$match": {"deliveries.state": {"$ne": "queued"}}},
                    {"$limit": _SETTLED},
                    {"$unset": ["delivery", "deliveries"]},
                ],
                maxTimeMS=QUERY_MS,
            )
            return list(found)

    def _last_attempt(self, delivery: str) -> Document | None:
        """The attempt by which a delivery has left the queue: the one that was answered, or the last one."""
        ended = {"delivery": delivery, "outcome": {"$in": ["delivered", "given_up"]}}
        with translated():
            return self._database[LOG].find_one(ended, sort=[("outcome", 1), ("at", -1)])

    def _settle(self, receipt: Document, last: Document) -> None:
        match = {name: receipt[name] for name in ("_id", "state", "endpoint", "enqueued")}
        with translated():
            self._receipts.update_one(match, receipt_update(last))
