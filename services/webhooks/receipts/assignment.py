"""Gives receipts of applications to endpoints, and takes them back.

A receipt is sent to the oldest enabled endpoint of its application that may see what it names. One that can be
sent nowhere waits, with the reason, and is given up after 30 days, so that neither receipts nor their alert grow
without end; the law gives a controller a month, too (GDPR, article 12 (3)). Once there is a way, it is sent all
the same, and keeps its id.

While a receipt waits, ``expires`` is three years after it began to: that is when it began, too, and a bound that
holds if nobody looks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pymongo import ReplaceOne
from pymongo.client_session import ClientSession
from pymongo.database import Database

from services.webhooks.applications import hides_consumers
from services.webhooks.deliveries import DELIVERIES
from services.webhooks.messages.notice import receipt_delivery, telling
from shared.access.apps.compliance import KEPT, UNSEEN
from shared.access.apps.model import App
from shared.access.apps.schema import RECEIPTS
from shared.access.masks import hides
from shared.mongo.concerns import durable_database
from shared.mongo.errors import translated
from shared.mongo.limits import QUERY_MS
from shared.mongo.transactions import transact
from shared.runtime.clock import now
from shared.runtime.protocols import Document

#: Receipts of one transaction.
BATCH = 200
#: How long a receipt waits for a way before it is given up.
PATIENCE = timedelta(days=30)
NO_ENDPOINT = "the application has no webhook endpoint"
DISABLED = "every webhook endpoint of the application is disabled"
HIDDEN = "consumer_id is hidden from the application"
DELETED = "the application was deleted, and had no webhook endpoint that was enabled"
STAYS_HIDDEN = "the application was deleted, and consumer_id was hidden from it"
#: Of receipts that were given up because there was no way; they are sent as soon as there is one.
NEVER_SENT = {
    reason: f"{reason}: given up after {PATIENCE.days} days" for reason in (NO_ENDPOINT, DISABLED, HIDDEN)
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an application is told: an endpoint, or the reason why there is none. ``ever``: whether there may be
    one later."""

    endpoint: Document | None = None
    reason: str = ""
    ever: bool = True


class ReceiptAssignment:
    """``own`` are the endpoints of the application, the oldest first. Methods raise Unavailable, and Stale when
    another process was first."""

    def __init__(self, database: Database[Document], clock: Callable[[], datetime] = now) -> None:
        self._database = durable_database(database)
        self._receipts, self._clock = self._database[RECEIPTS], clock

    def give(self, id: str, app: App | None, own: Sequence[Document]) -> None:
        """Give the receipts of an application that wait to an endpoint, or state why they wait."""
        if app is None:
            # Nobody knows its masks any more.
            self._end({"app": id, "state": "waiting", "reason": HIDDEN}, STAYS_HIDDEN)
        for place, of_these in self._places(id, app, own):
            query = {**of_these, "state": "waiting"}
            if place.endpoint is not None:
                self.move(self._batch(query), place.endpoint)
            elif place.ever:
                with translated():
                    self._receipts.update_many(
                        {**query, "reason": {"$ne": place.reason}}, {"$set": {"reason": place.reason}}
                    )
            else:
                self._end(query, place.reason)

    def give_up(self, id: str, app: App | None, own: Sequence[Document]) -> int:
        """Give up the receipts of an application that have waited too long. Returns how many."""
        now = self._clock()
        waiting = {"state": "waiting", "app": id}
        with translated():
            # A version that did not count the days has made it.
            self._receipts.update_many({**waiting, "expires": None}, {"$set": {"expires": now + KEPT}})
        ended = 0
        for place, of_these in self._places(id, app, own):
            if place.endpoint is None and place.ever:
                too_long = {**of_these, **waiting, "expires": {"$lt": now - PATIENCE + KEPT}}
                ended += self._end(too_long, NEVER_SENT[place.reason])
        return ended

    def reopen(self, id: str, app: App | None, own: Sequence[Document]) -> None:
        """Let the receipts of an application that were given up for want of a way wait again, now that there is
        one. What was hidden from one that was deleted stays so."""
        reasons = [NEVER_SENT[reason] for reason in NEVER_SENT if app is not None or reason != HIDDEN]
        for place, of_these in self._places(id, app, own):
            if place.endpoint is not None:
                query = {**of_these, "state": "failed", "reason": {"$in": reasons}}
                waits = {"state": "waiting", "reason": UNSEEN, "expires": self._clock() + KEPT}
                with translated():
                    self._receipts.update_many(query, {"$set": waits, "$unset": {"settled": ""}})

    def take_back(self, endpoint: str, *, named: bool) -> None:
        """Let the receipts that are sent to an endpoint wait again: all of them, or those that name a consumer."""
        query: Document = {"state": "queued", "endpoint": endpoint}
        if named:
            query["consumer_id"] = {"$exists": True}
        self.move(self._batch(query), None)

    def move(self, found: Sequence[Document], endpoint: Document | None) -> None:
        """Give receipts, all of which are in one state and at one endpoint, to another one, or take them back
        (None): with their deliveries."""
        if not found:
            return
        now = self._clock()
        was: Document = {name: found[0][name] for name in ("state", "endpoint") if name in found[0]}
        change: Document
        if endpoint is None:
            waits = {"state": "waiting", "reason": DISABLED, "expires": now + KEPT}
            change = {"$set": waits, "$unset": {"endpoint": "", "enqueued": ""}}
        else:
            queued = {"state": "queued", "endpoint": endpoint["_id"], "enqueued": now}
            change = {"$set": queued, "$unset": {"reason": "", "expires": ""}}

        def transaction(session: ClientSession) -> None:
            # Without those that were delivered meanwhile, or moved by another process.
            still = {**was, "_id": {"$in": [each["_id"] for each in found]}}
            moved = list(self._receipts.find(still, session=session))
            if not moved:
                return
            self._receipts.update_many({"_id": {"$in": [each["_id"] for each in moved]}}, change, session=session)
            deliveries = self._database[DELIVERIES]
            if "endpoint" in was:
                former = [receipt_delivery(was["endpoint"], each["_id"]) for each in moved]
                deliveries.delete_many({"_id": {"$in": former}}, session=session)
            if endpoint is not None:
                made = [telling(endpoint, each, now) for each in moved]
                writes = [ReplaceOne({"_id": each["_id"]}, each, upsert=True) for each in made]
                deliveries.bulk_write(writes, session=session)

        transact(self._database, transaction)

    def _places(self, id: str, app: App | None, own: Sequence[Document]) -> Iterator[tuple[_Place, Document]]:
        """Where an application is told what names a consumer, and what does not; with the query for these."""
        with translated():
            # All of an application are of one tenant, which is known when the application is not any more.
            first = self._receipts.find_one({"app": id, "state": {"$in": ["waiting", "failed"]}}, {"tenant": 1})
        if first is not None:
            for named in (True, False):
                yield (
                    told_at(app, own, first["tenant"], named=named),
                    {"app": id, "consumer_id": {"$exists": named}},
                )

    def _batch(self, query: Document) -> list[Document]:
        with translated():
            return list(self._receipts.find(query, max_time_ms=QUERY_MS).limit(BATCH))

    def _end(self, query: Document, reason: str) -> int:
        now = self._clock()
        ended = {"state": "failed", "reason": reason, "settled": now, "expires": now + KEPT}
        with translated():
            return self._receipts.update_many(query, {"$set": ended}).modified_count


def told_at(app: App | None, own: Sequence[Document], tenant: str, *, named: bool) -> _Place:
    """Where an application of ``tenant`` is told what names a consumer (``named``), or does not. ``own`` are its
    endpoints, the oldest first. Those of other tenants, whose keys may be bound to any purpose, do not count."""
    if named and app is not None and hides(app.masks, "consumer_id"):
        return _Place(reason=HIDDEN)
    mine = [endpoint for endpoint in own if endpoint["tenant"] == tenant]
    enabled = [endpoint for endpoint in mine if endpoint["state"] == "enabled"]
    for endpoint in enabled:
        # Its sender would hold back what names a consumer, for as long as it has its masks.
        if not named or not hides_consumers(endpoint, app):
            return _Place(endpoint)
    if enabled:
        return _Place(reason=HIDDEN)
    if app is None:
        return _Place(reason=DELETED, ever=False)
    return _Place(reason=DISABLED if mine else NO_ENDPOINT)
