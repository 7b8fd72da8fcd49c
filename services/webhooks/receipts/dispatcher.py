"""Dispatches what applications are told without subscribing: notices become receipts, receipts deliveries.

Each step is one transaction, so it happens once, whichever process does it and wherever it crashes.
``assignment.py`` decides where a receipt is sent. Every application is told, a suspended one, too: it holds what
it has.

A look takes a second or two at most, whatever there is to do. Each part of it goes on at the next look where this
one has ended, and gives every tenant and every application a batch at a time.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from pymongo.client_session import ClientSession
from pymongo.database import Database

from services.webhooks.applications import application_of, hides_consumers, readable
from services.webhooks.deliveries import ENDPOINTS
from services.webhooks.receipts.assignment import ReceiptAssignment
from services.webhooks.receipts.reconciliation import ReceiptReconciliation
from services.webhooks.round_robin import RoundRobin, each_of
from shared.access.apps.compliance import UNINSTALLED, receipt
from shared.access.apps.model import App
from shared.access.apps.schema import NOTICES, RECEIPTS
from shared.access.apps.store import AppStore, UnreadableApp
from shared.mongo.concerns import durable_database
from shared.mongo.errors import translated
from shared.mongo.limits import QUERY_MS
from shared.mongo.transactions import transact
from shared.runtime.clock import now
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

#: Notices of one tenant in its turn.
BATCH = 50
#: Tenants whose notices are looked for at a time; the others follow when these have none left.
_MOST_TENANTS = 500
#: How long each part of a look begins new work.
_SLICE_SECONDS = 0.3
#: How often receipts are compared with their deliveries, and those that have waited too long are given up.
_KEEPING_SECONDS = 60.0
_WHAT = "telling applications"


class ReceiptDispatcher:
    """Methods raise Unavailable."""

    def __init__(
        self,
        database: Database[Document],
        apps: AppStore,
        waiting: Callable[[int], None] = lambda _: None,
        given_up: Callable[[int], None] = lambda _: None,
        clock: Callable[[], datetime] = now,
        seconds: float = _SLICE_SECONDS,
    ) -> None:
        """``waiting`` is called with the number of receipts that can be sent nowhere, counted up to 10,000;
        ``given_up`` with how many were given up for that. ``seconds``: of each part of a look."""
        self._database = durable_database(database)
        self._notices, self._receipts = self._database[NOTICES], self._database[RECEIPTS]
        self._apps, self._waiting, self._given_up = apps, waiting, given_up
        self._assignment = ReceiptAssignment(database, clock)
        self._reconciliation = ReceiptReconciliation(database, self._assignment, clock)
        self._turns: dict[str, RoundRobin] = defaultdict(lambda: RoundRobin(seconds))
        self._kept_at = -1e9
        self._reachable: set[str] = set()
        #: Applications that cannot be read: notices that concern nobody else wait for them, and hold up no other.
        self._unread: set[str] = set()

    def look(self, endpoints: Sequence[Document]) -> None:
        """Bring notices and receipts as far as they get now. ``endpoints`` are all that there are."""
        of_app: dict[str, list[Document]] = {}
        for endpoint in sorted(endpoints, key=lambda each: (each["created"], each["_id"])):
            if (id := application_of(endpoint)) is not None:
                of_app.setdefault(id, []).append(endpoint)
        _, self._unread = readable(self._unread, self._apps.find)
        each_of(self._turns["expand"].of(self._tenants()), self._expand_some, _WHAT)
        with translated():
            held = self._receipts.distinct("endpoint", {"state": "queued"})
        enabled = {each["_id"]: each for own in of_app.values() for each in own if each["state"] == "enabled"}
        each_of(self._turns["take back"].of(held), lambda id: self._take_back(id, enabled.get(id)), _WHAT)
        self._keep(of_app, held)
        with translated():
            waiting = self._receipts.distinct("app", {"state": "waiting"})
        each_of(
            self._turns["give"].of(waiting),
            lambda id: self._assignment.give(id, self._apps.find(id), of_app.get(id, [])),
            _WHAT,
        )
        with translated():
            left = self._receipts.count_documents({"state": "waiting"}, limit=10_000, maxTimeMS=QUERY_MS)
        self._waiting(left)
        each_of(self._turns["remove"].of(of_app), lambda id: self._remove_left(id, of_app[id]), _WHAT)

    def _tenants(self) -> list[str]:
        """Return the tenants that have notices: the ids of notices begin with theirs and ``:``."""
        found: list[str] = []
        after = ""
        with translated():
            while len(found) < _MOST_TENANTS and (
                first := self._notices.find_one({"_id": {"$gt": after}}, {"tenant": 1}, sort=[("_id", 1)])
            ):
                found.append(first["tenant"])
                after = f"{first['tenant']};"
        return found

    def _expand_some(self, tenant: str) -> None:
        of_tenant: Document = {"_id": {"$gt": f"{tenant}:", "$lt": f"{tenant};"}}
        if self._unread:
            of_tenant["apps"] = {"$elemMatch": {"$nin": sorted(self._unread)}}
        with translated():
            notices = list(self._notices.find(of_tenant, max_time_ms=QUERY_MS).sort("_id", 1).limit(BATCH))
        for notice in notices:
            self._expand(notice)

    def _expand(self, notice: Document) -> None:
        apps, unread = readable(notice["apps"], self._apps.find)
        for id in sorted(unread - self._unread):
            log.error("webhooks: %s; what it must be told waits until it can be read", UnreadableApp(id))
        self._unread |= unread
        if not apps:
            return
        made = [receipt(notice, id) for id, app in apps.items() if _concerns(notice, app)]

        def transaction(session: ClientSession) -> None:
            same = {"_id": notice["_id"], "apps": notice["apps"]}
            if unread:
                left = {"$set": {"apps": sorted(unread)}}
                done = self._notices.update_one(same, left, session=session).matched_count
            else:
                done = self._notices.delete_one(same, session=session).deleted_count
            if not done:
                return  # another process has
            ids = [each["_id"] for each in made]
            # A notice may be made again after a dump was restored, or on the same day.
            found = self._receipts.find({"_id": {"$in": ids}}, {"_id": 1}, session=session)
            there = {each["_id"] for each in found}
            if new := [each for each in made if each["_id"] not in there]:
                self._receipts.insert_many(new, session=session)

        transact(self._database, transaction)

    def _take_back(self, id: str, endpoint: Document | None) -> None:
        """Let receipts wait again whose endpoint was deleted or disabled (None), or that are hidden by now."""
        if endpoint is None:
            self._assignment.take_back(id, named=False)
        elif hides_consumers(endpoint, self._apps.find(str(application_of(endpoint)))):
            self._assignment.take_back(id, named=True)

    def _keep(self, of_app: dict[str, list[Document]], held: Iterable[str]) -> None:
        """What need not happen at every look. An application that has an endpoint from now on does not wait."""
        reachable = {id for id, own in of_app.items() if any(each["state"] == "enabled" for each in own)}
        reopened, self._reachable = reachable - self._reachable, reachable
        if due := time.monotonic() - self._kept_at >= _KEEPING_SECONDS:
            self._kept_at, reopened = time.monotonic(), reachable
        each_of(
            self._turns["reopen"].of(reopened),
            lambda id: self._assignment.reopen(id, self._apps.find(id), of_app[id]),
            _WHAT,
        )
        if not due:
            return
        each_of(self._turns["reconcile"].of(held), self._reconciliation.reconcile, _WHAT)
        with translated():
            waiting = self._receipts.distinct("app", {"state": "waiting"})
        each_of(self._turns["give up"].of(waiting), lambda id: self._give_up(id, of_app.get(id, [])), _WHAT)

    def _give_up(self, id: str, own: Sequence[Document]) -> None:
        if ended := self._assignment.give_up(id, self._apps.find(id), own):
            log.warning(
                "webhooks: %d messages to the application %s can be sent nowhere, and are given up", ended, id
            )
            self._given_up(ended)

    def _remove_left(self, id: str, own: Sequence[Document]) -> None:
        """Delete the endpoints that an application has made which was deleted, once it has been told everything.
        What a key of the tenant's has made is the tenant's; the purpose of a key need not be an application."""
        made = [each["_id"] for each in own if each["created_by"] == id]
        if not made or self._apps.find(id) is not None:
            return
        # In this order: the notice of its deletion is there since the application is not, until its receipt is.
        with translated():
            if self._notices.find_one({"apps": id}) or self._receipts.find_one(
                {"app": id, "state": {"$in": ["waiting", "queued"]}}
            ):
                return
            self._database[ENDPOINTS].delete_many({"_id": {"$in": made}})
        log.info("webhooks: the endpoints of the deleted application %s are deleted", id)


def _concerns(notice: Document, app: App | None) -> bool:
    """Whether an application is told. A deleted one was told that, and to delete everything with it; one that was
    never approved has never seen anybody."""
    if notice["topic"] == UNINSTALLED:
        return True
    return app is not None and app.tenant == notice["tenant"] and app.state != "pending"
