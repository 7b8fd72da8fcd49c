"""The queue in MongoDB, as a sender sees it. Methods raise Unavailable."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection as MongoCollection
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from services.webhooks.deliveries import DELIVERIES, ENDPOINTS, FEEDS, LANES, LOG, RANGES, receipts_lane
from services.webhooks.delivery.http_client import Answer
from services.webhooks.messages import signing
from services.webhooks.messages.credentials import seal_all
from services.webhooks.messages.notice import test_id
from services.webhooks.receipts.outcome import receipt_update
from services.webhooks.schema import KEPT_SECONDS, MOST_KEPT
from shared.access.apps.schema import RECEIPTS
from shared.contracts.events import EPOCH
from shared.mongo.concerns import durable_database
from shared.mongo.errors import only_duplicates, translated
from shared.mongo.limits import QUERY_MS
from shared.mongo.store import beginning_with, earlier
from shared.runtime.protocols import Document
from shared.vault.keys import Vault

#: The place of a delivery in its endpoint's order.
Place = tuple[int, str]
_ORDER = [("at", 1), ("_id", 1)]


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an attempt. ``due`` None: the delivery leaves the queue, or is kept as ``failed``."""

    delivery: Document
    entry: Document
    due: datetime | None = None
    failed: bool = False


@dataclass(slots=True)
class Changes:
    """What senders set and unset in an endpoint."""

    stated: dict[str, Any] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)


def place_of(delivery: Mapping[str, Any]) -> Place:
    return delivery["at"], delivery["_id"]


def entry_of(delivery: Document, answer: Answer, outcome: str, at: datetime) -> Document:
    """The entry in the log for an attempt with this ``answer``, which is empty where nothing was sent."""
    attempt = delivery["attempts"] + 1
    entry: Document = {
        # A receipt that was taken back and is given to the endpoint again begins with its first attempt again.
        "_id": f"{delivery['_id']}@{delivery['at']}#{attempt}",
        "endpoint": delivery["endpoint"],
        "tenant": delivery["tenant"],
        "delivery": delivery["_id"],
        "webhook_id": signing.message_id(delivery["change"]["id"]),
        "type": delivery["change"]["type"],
        "subject": delivery["subject"],
        "attempt": attempt,
        "at": at,
        "milliseconds": answer.milliseconds,
        "outcome": outcome,
    }
    if answer.status is not None:
        entry |= {"status": answer.status, "answer": answer.text}
    if answer.error is not None:
        entry["error"] = answer.error
    return entry


class Queue:
    """Deliveries, endpoints and the log of ``database``."""

    def __init__(self, database: Database[Document], vault: Vault | None = None) -> None:
        self._database, self._vault = durable_database(database), vault
        self._unsealed: set[str] = set()
        self._deliveries = self._database[DELIVERIES]
        self._endpoints = self._database[ENDPOINTS]

    def endpoints(self) -> list[Document]:
        """Every endpoint of every tenant."""
        with translated():
            return list(self._endpoints.find({}, max_time_ms=QUERY_MS))

    def waiting(
        self,
        endpoint: str,
        after: Place | None,
        limit: int,
        without: Collection[str] = (),
        *,
        only_told: bool = False,
    ) -> list[Document]:
        """Subject and place of the queued deliveries of an endpoint in order, after a place, without these
        subjects. ``only_told``: of receipts only."""
        query: Document = {"endpoint": endpoint, "state": "queued", **self._unheld(endpoint)}
        if only_told:
            query |= _of_receipts(endpoint)
        if without:
            query["subject"] = {"$nin": list(without)}
        if after is not None:
            at, id = after
            query["at"] = {"$gte": at}
            query["$or"] = [{"at": {"$gt": at}}, {"_id": {"$gt": id}}]
        with translated():
            found = self._deliveries.find(query, {"subject": 1, "at": 1}, max_time_ms=QUERY_MS).sort(_ORDER)
            return list(found.limit(limit))

    def firsts(self, endpoint: str, subjects: Collection[str]) -> list[Document]:
        """The first queued delivery of each of these subjects that has one."""
        match: Document = {"endpoint": endpoint, "subject": {"$in": list(subjects)}, "state": "queued"}
        match |= self._unheld(endpoint)
        order = {"subject": 1, "at": 1, "_id": 1}
        first = {"_id": "$subject", "first": {"$first": "$$ROOT"}}
        with translated():
            found = self._deliveries.aggregate([{"$match": match}, {"$sort": order}, {"$group": first}])
            return [each["first"] for each in found]

    def _unheld(self, endpoint: str) -> Document:
        """Live deliveries wait until the replay of their lane is enqueued: then ``at`` orders them all."""
        with translated():
            held = [each["lane"] for each in self._database[RANGES].find({"endpoint": endpoint}, {"lane": 1})]
        return {"$nor": [{"lane": {"$in": held}, "replay": {"$exists": False}}]} if held else {}

    def retrying(self, endpoint: str, *, only_told: bool = False) -> list[Document]:
        """The queued deliveries that have failed before: the first one of each waiting subject. ``only_told``: of
        receipts only."""
        query: Document = {"endpoint": endpoint, "state": "queued", "attempts": {"$gt": 0}}
        if only_told:
            query |= _of_receipts(endpoint)
        with translated():
            return list(self._deliveries.find(query, {"subject": 1, "due": 1}, max_time_ms=QUERY_MS))

    def length(self, endpoint: str, most: int, *, tried: bool = False) -> int:
        """The number of queued deliveries, counted up to ``most``: of those that were ``tried``, or of all."""
        query: Document = {"endpoint": endpoint, "state": "queued"}
        if tried:
            query["attempts"] = {"$gt": 0}
        with translated():
            return self._deliveries.count_documents(query, limit=most, maxTimeMS=QUERY_MS)

    def filled(self, endpoints: Collection[str]) -> set[str]:
        """The endpoints, of these, for which anything is queued, in one request."""
        query: Document = {"endpoint": {"$in": [*endpoints]}, "state": "queued"}
        with translated():
            return {*self._deliveries.distinct("endpoint", query, maxTimeMS=QUERY_MS)}

    def lengths(self, endpoints: Collection[str]) -> dict[str, int]:
        """The number of queued deliveries of each of these endpoints that has any, in one request."""
        match: Document = {"endpoint": {"$in": [*endpoints]}, "state": "queued"}
        group = {"_id": "$endpoint", "length": {"$sum": 1}}
        with translated():
            found = self._deliveries.aggregate([{"$match": match}, {"$group": group}], maxTimeMS=QUERY_MS)
            return {each["_id"]: each["length"] for each in found}

    def tests(self, endpoint: str, most: int, session: ClientSession | None = None) -> int:
        """The number of queued tests, counted up to ``most``."""
        query: Document = {"_id": beginning_with(test_id(endpoint, "")), "state": "queued"}
        with translated():
            return self._deliveries.count_documents(query, session, limit=most, maxTimeMS=QUERY_MS)

    def settle(self, settled: Sequence[Settled]) -> None:
        """Store what became of attempts. The log comes first: a crash in between repeats the attempt, and the log
        keeps what the first of both met with. Repeating this is harmless."""
        with translated():
            self._log(settled)
            # Before the delivery is gone: a crash in between repeats it, and no receipt stays open for ever.
            self._tell([each for each in settled if "receipt" in each.delivery])
            self._deliveries.bulk_write([_write_of(each) for each in settled], ordered=False)

    def _log(self, settled: Sequence[Settled]) -> None:
        try:
            self._database[LOG].bulk_write([InsertOne(each.entry) for each in settled], ordered=False)
        except BulkWriteError as error:
            if not only_duplicates(error):
                raise

    def _tell(self, settled: Sequence[Settled]) -> None:
        """Write what became of attempts into the receipts of their deliveries."""
        if settled:
            self._database[RECEIPTS].bulk_write([_receipt_write(each) for each in settled], ordered=False)

    def change(self, endpoint: str, changes: Changes) -> None:
        """Set what senders write of an endpoint."""
        update: Document = {}
        if changes.stated:
            update["$set"] = changes.stated
        if changes.removed:
            update["$unset"] = dict.fromkeys(changes.removed, "")
        if update:
            with translated():
                self._endpoints.update_one({"_id": endpoint}, update)

    def add(self, deliveries: Iterable[Document]) -> None:
        """Enqueue deliveries that no change causes. Those already enqueued are left alone."""
        with translated():
            try:
                self._deliveries.insert_many(list(deliveries), ordered=False)
            except BulkWriteError as error:
                if not only_duplicates(error):
                    raise

    def seal_headers(self) -> None:
        """Seal the headers of endpoints that a version before this one has stored."""
        seal_all(self._database, self._vault, self._unsealed)

    def _delete_beyond(self, collection: MongoCollection[Document], query: Document) -> None:
        """Delete what is older than the latest MOST_KEPT."""
        # Of an index alone.
        latest = collection.find(query, {"at": 1}, max_time_ms=QUERY_MS).sort([("at", -1), ("_id", -1)])
        for last in latest.skip(MOST_KEPT - 1).limit(1):
            # By id, too: any number of deliveries may have one time.
            collection.delete_many({**query, **earlier(last["at"], last["_id"])})

    def purge(self, now: datetime) -> None:
        """Delete what is older than it is kept, or more than is kept of an endpoint, and what is left of deleted
        endpoints. A fan-out that read an endpoint before its deletion enqueues after it, so this is repeated."""
        oldest = now - timedelta(seconds=KEPT_SECONDS)
        # What was given up was enqueued before. A day more, for clocks that differ.
        enqueued = (oldest + timedelta(days=1) - EPOCH) // timedelta(milliseconds=1)
        old = {"state": "failed", "at": {"$lt": enqueued}, "failed": {"$lt": oldest}}
        with translated():
            # By endpoint, for which there are indexes: one by time alone would cost each attempt.
            for endpoint in self._database[LOG].distinct("endpoint"):
                self._database[LOG].delete_many({"endpoint": endpoint, "at": {"$lt": oldest}})
                self._delete_beyond(self._database[LOG], {"endpoint": endpoint})
            for endpoint in self._deliveries.distinct("endpoint"):
                self._deliveries.delete_many({"endpoint": endpoint, **old})
                self._delete_beyond(self._deliveries, {"endpoint": endpoint, "state": "failed"})
            for name in (DELIVERIES, LANES, FEEDS, RANGES):
                # In this order: what an endpoint has that is created meanwhile must stay.
                held = self._database[name].distinct("endpoint")
                gone = {*held} - {*self._endpoints.distinct("_id")}
                if gone:
                    self._database[name].delete_many({"endpoint": {"$in": sorted(gone)}})


def _of_receipts(endpoint: str) -> Document:
    return {"lane": receipts_lane(endpoint)}


def _write_of(settled: Settled) -> DeleteOne | UpdateOne:
    delivery = settled.delivery
    # The attempt identifies what this sender has read: another one may have settled it since.
    match = {"_id": delivery["_id"], "attempts": delivery["attempts"]}
    if settled.due is not None:
        return UpdateOne(match, {"$set": {"due": settled.due}, "$inc": {"attempts": 1}})
    if settled.failed:
        changed = {"state": "failed", "failed": settled.entry["at"]}
        return UpdateOne(match, {"$set": changed, "$inc": {"attempts": 1}})
    return DeleteOne({"_id": delivery["_id"]})


def _receipt_write(settled: Settled) -> UpdateOne:
    """What an attempt changes in the receipt. One that was delivered stays so, even if a repetition fails."""
    entry = settled.entry
    match: Document = {"_id": settled.delivery["receipt"]}
    if entry["outcome"] != "delivered":
        match |= {"state": "queued", "endpoint": entry["endpoint"]}
    return UpdateOne(match, receipt_update(entry))
