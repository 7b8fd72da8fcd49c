"""Tells applications what they are told without subscribing: notices become receipts, receipts deliveries.

Each step is one transaction, so it happens once, whichever process does it and wherever it crashes. A receipt is
sent to the oldest enabled endpoint of its application. One that can be sent nowhere waits, with the reason, and is
given to an endpoint as soon as there is one; one whose endpoint was deleted or disabled moves to another. It keeps
its id, and so its ``webhook-id``. Every application is told, a suspended one, too: it holds what it has.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bson.codec_options import CodecOptions
from pymongo.client_session import ClientSession
from pymongo.database import Database

from services.webhooks.applications import application_of
from services.webhooks.deliveries import DELIVERIES, ENDPOINTS
from services.webhooks.notice import telling
from shared.access.apps.compliance import KEPT, UNINSTALLED, receipt
from shared.access.apps.model import App
from shared.access.apps.schema import NOTICES, RECEIPTS
from shared.access.apps.store import AppStore
from shared.access.masks import hides
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.mongo.transactions import transact
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

#: Notices and receipts of one look.
BATCH = 200
_QUERY_MS = 5_000
NO_ENDPOINT = "the application has no webhook endpoint"
DISABLED = "every webhook endpoint of the application is disabled"
HIDDEN = "consumer_id is hidden from the application"
DELETED = "the application was deleted, and had no webhook endpoint that was enabled"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an application is told: an endpoint, or the reason why there is none. ``ever``: whether there may be
    one later."""

    endpoint: Document | None = None
    reason: str = ""
    ever: bool = True


class Telling:
    """Methods raise Unavailable, and Stale when another process was first."""

    def __init__(
        self,
        database: Database[Document],
        apps: AppStore,
        waiting: Callable[[int], None] = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``waiting`` is called with the number of receipts that can be sent nowhere, counted up to 10,000."""
        options: CodecOptions[Document] = CodecOptions(tz_aware=True)
        self._database = database.with_options(codec_options=options, write_concern=DURABLE)
        self._notices, self._receipts = self._database[NOTICES], self._database[RECEIPTS]
        self._apps, self._waiting, self._clock = apps, waiting, clock

    def look(self, endpoints: Sequence[Document]) -> None:
        """Bring notices and receipts as far as they get now. ``endpoints`` are all that there are."""
        with translated():
            notices = list(self._notices.find({}, max_time_ms=_QUERY_MS).limit(BATCH))
        for notice in notices:
            self._expand(notice)
        of_app: dict[str, list[Document]] = {}
        for endpoint in sorted(endpoints, key=lambda each: (each["created"], each["_id"])):
            if (id := application_of(endpoint)) is not None:
                of_app.setdefault(id, []).append(endpoint)
        self._take_back(of_app)
        with translated():
            waiting = self._receipts.distinct("app", {"state": "waiting"})
        for id in waiting:
            self._give(id, of_app.get(id, []))
        with translated():
            left = self._receipts.count_documents({"state": "waiting"}, limit=10_000, maxTimeMS=_QUERY_MS)
        self._waiting(left)
        for id, own in of_app.items():
            self._remove_left(id, own)

    def _expand(self, notice: Document) -> None:
        apps = {id: self._apps.find(id) for id in notice["apps"]}
        made = [receipt(notice, id) for id, app in apps.items() if _concerns(notice, app)]

        def transaction(session: ClientSession) -> None:
            if not self._notices.delete_one({"_id": notice["_id"]}, session=session).deleted_count:
                return  # another process has
            ids = [each["_id"] for each in made]
            # A notice may be made again after a dump was restored, or on the same day.
            found = self._receipts.find({"_id": {"$in": ids}}, {"_id": 1}, session=session)
            there = {each["_id"] for each in found}
            if new := [each for each in made if each["_id"] not in there]:
                self._receipts.insert_many(new, session=session)

        transact(self._database, transaction)

    def _take_back(self, of_app: dict[str, list[Document]]) -> None:
        """Let receipts wait again whose endpoint was deleted or disabled, or that are hidden by now."""
        owners = {each["_id"]: id for id, own in of_app.items() for each in own if each["state"] == "enabled"}
        with translated():
            held = self._receipts.distinct("endpoint", {"state": "queued"})
        for endpoint in held:
            query: Document = {"state": "queued", "endpoint": endpoint}
            if (id := owners.get(endpoint)) is not None:
                app = self._apps.find(id)
                if app is None or not hides(app.masks, "consumer_id"):
                    continue
                query["consumer_id"] = {"$exists": True}
            with translated():
                found = list(self._receipts.find(query, max_time_ms=_QUERY_MS).limit(BATCH))
            for each in found:
                self._move(each, None)

    def _give(self, id: str, own: Sequence[Document]) -> None:
        """Give the receipts of an application that wait to an endpoint, or state why they wait."""
        app = self._apps.find(id)
        with translated():
            # All of an application are of one tenant, which is known when the application is not any more.
            first = self._receipts.find_one({"state": "waiting", "app": id}, {"tenant": 1})
        if first is None:
            return  # another process was first
        for named in (True, False):
            place = told_at(app, own, first["tenant"], named=named)
            query: Document = {"state": "waiting", "app": id, "consumer_id": {"$exists": named}}
            if place.endpoint is not None:
                with translated():
                    found = list(self._receipts.find(query, max_time_ms=_QUERY_MS).limit(BATCH))
                for each in found:
                    self._move(each, place.endpoint)
            elif place.ever:
                with translated():
                    self._receipts.update_many(
                        {**query, "reason": {"$ne": place.reason}}, {"$set": {"reason": place.reason}}
                    )
            else:
                now = self._clock()
                ended = {"state": "failed", "reason": place.reason, "settled": now, "expires": now + KEPT}
                with translated():
                    self._receipts.update_many(query, {"$set": ended})

    def _move(self, found: Document, endpoint: Document | None) -> None:
        """Give a receipt to an endpoint, or take it back (None): with its delivery."""
        now = self._clock()
        was: Document = {name: found[name] for name in ("_id", "state", "endpoint") if name in found}
        change: Document
        if endpoint is None:
            change = {"$set": {"state": "waiting", "reason": DISABLED}, "$unset": {"endpoint": "", "enqueued": ""}}
        else:
            queued = {"state": "queued", "endpoint": endpoint["_id"], "enqueued": now}
            change = {"$set": queued, "$unset": {"reason": ""}}

        def transaction(session: ClientSession) -> None:
            if not self._receipts.update_one(was, change, session=session).matched_count:
                return  # delivered meanwhile, or moved by another process
            deliveries = self._database[DELIVERIES]
            if "endpoint" in found:
                former = telling({"_id": found["endpoint"], "tenant": found["tenant"]}, found, now)
                deliveries.delete_one({"_id": former["_id"]}, session=session)
            if endpoint is not None:
                deliveries.insert_one(telling(endpoint, found, now), session=session)

        transact(self._database, transaction)

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


def told_at(app: App | None, own: Sequence[Document], tenant: str, *, named: bool) -> _Place:
    """Where an application of ``tenant`` is told what names a consumer (``named``), or does not. ``own`` are its
    endpoints, the oldest first. Those of other tenants, whose keys may be bound to any purpose, do not count."""
    if named and app is not None and hides(app.masks, "consumer_id"):
        return _Place(reason=HIDDEN)
    mine = [endpoint for endpoint in own if endpoint["tenant"] == tenant]
    for endpoint in mine:
        if endpoint["state"] == "enabled":
            return _Place(endpoint)
    if app is None:
        return _Place(reason=DELETED, ever=False)
    return _Place(reason=DISABLED if mine else NO_ENDPOINT)
