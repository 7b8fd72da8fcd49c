"""Counts the stored ids that are not in NFC: those of before ids were normalised, until a rebuild."""

import logging
import threading
from collections.abc import Callable, Mapping

import pymongo
from prometheus_client import CollectorRegistry
from pymongo.database import Database
from pymongo.errors import PyMongoError

from services.relations.metrics import spelling_metric
from shared.contracts.errors import Unavailable
from shared.contracts.findings import FINDINGS, SPELLING
from shared.contracts.spelling import nfc
from shared.runtime.protocols import Document

log = logging.getLogger(__name__)

#: By collection, the field that contains all ids of a document's key. The key of an erasure is a hash.
FIELDS: Mapping[str, str] = {
    "consumers": "_id",
    "providers": "_id",
    "relations": "_id",
    "relationships": "_id",
    "erased": "_id",
    "erasures": "consumer_id",
}

#: Documents of a step. All of their ids fit into one document of MongoDB, also the longest.
STEP = 4_000
#: Between two steps. One reads an index for some 10 ms, so that counting takes a twentieth of one core of mongod.
_PAUSE_SECONDS = 0.2
#: A count is as good as new for a day. A step that is not followed by another within a minute is repeated.
_FRESH_SECONDS, _STEP_SECONDS = 86_400, 60
_LOOK_SECONDS = 30.0
_TIMEOUT_SECONDS = 10.0


class StoredSpellings:
    """A Background that counts in steps, on its own thread, and stores the count in the document
    ``spelling/<collection>`` of ``findings``, with the place that it has reached. One process counts at a time;
    another resumes at that place. Each collection of the live version is counted once a day."""

    def __init__(
        self,
        database: Database[Document],
        names: Callable[[str], str],
        registry: CollectorRegistry,
    ) -> None:
        """``names`` returns the present full name of a collection of relations."""
        self._database, self._names = database, names
        self._findings = database[FINDINGS]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="spellings", daemon=True)
        self._metric = spelling_metric(registry)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(_TIMEOUT_SECONDS)

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                with pymongo.timeout(_TIMEOUT_SECONDS):
                    more = self.step()
            except (PyMongoError, Unavailable) as error:
                log.debug("spellings of ids not counted: %s", error)
                more = False
            self._stop.wait(_PAUSE_SECONDS if more else _LOOK_SECONDS)

    def step(self) -> bool:
        """Count some documents of one collection. Returns whether one was due. Raises PyMongoError and
        Unavailable."""
        due = False
        for collection, field in FIELDS.items():
            name = self._names(collection)
            if not due and (place := self._due(name)) is not None:
                self._count(name, field, place)
                due = True
            found = self._findings.find_one({"_id": f"{SPELLING}/{name}"}, {"count": 1}) or {}
            self._metric.labels(collection).set(found.get("count", 0))
        return due

    def _due(self, name: str) -> Document | None:
        """The finding of a collection whose next step this process may take; None if there is none."""
        id = f"{SPELLING}/{name}"
        # An upsert takes no $expr in its filter, so the document is there first.
        self._findings.update_one({"_id": id}, {"$setOnInsert": {"count": 0}}, upsert=True)
        return self._findings.find_one_and_update(
            {"_id": id, "$expr": {"$not": [{"$gt": ["$due", "$$NOW"]}]}},
            [{"$set": {"due": {"$add": ["$$NOW", _STEP_SECONDS * 1_000]}}}],
            return_document=pymongo.ReturnDocument.AFTER,
        )

    def _count(self, name: str, field: str, place: Document) -> None:
        after, before = place.get("after"), place.get("so_far", 0)
        beyond: list[Document] = [] if after is None else [{"$match": {"_id": {"$gt": after}}}]
        # Only ids that are not ASCII leave the server. Of an index of _id alone where that is the field.
        odd = {
            "$cond": [{"$regexMatch": {"input": f"${field}", "regex": r"[^\x00-\x7F]"}}, f"${field}", "$$REMOVE"]
        }
        steps = [
            *beyond,
            {"$sort": {"_id": 1}},
            {"$limit": STEP},
            {"$group": {"_id": None, "last": {"$max": "$_id"}, "read": {"$sum": 1}, "odd": {"$push": odd}}},
        ]
        [found] = [*self._database[name].aggregate(steps)] or [{"read": 0, "odd": [], "last": None}]
        count = before + sum(nfc(id) != id for id in found["odd"])
        change: list[Document]
        if found["read"] < STEP:
            due = {"$add": ["$$NOW", _FRESH_SECONDS * 1_000]}
            change = [
                {"$set": {"last": "$$NOW", "count": count, "due": due}},
                {"$unset": ["after", "so_far"]},
            ]
            if count:
                log.warning(
                    "stored ids are not in NFC; kith rebuild relations mends them",
                    extra={"collection": name, "documents": count},
                )
        else:
            # Until the end, the count of the last time stands, unless there are more by now.
            known = {"$max": ["$count", count]}
            place_now = {"after": {"$literal": found["last"]}, "so_far": count}
            change = [{"$set": {"last": "$$NOW", "count": known, "due": "$$NOW", **place_now}}]
        self._findings.update_one({"_id": place["_id"]}, change)
