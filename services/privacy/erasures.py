"""The requested erasures, and the progress of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from services.privacy.receipts import Receipts
from services.privacy.schema import REQUESTS
from shared.contracts.events import EPOCH, document_id
from shared.contracts.spelling import nfc, other_spellings
from shared.erasure.derived import filters
from shared.erasure.records import KEYS, Mode, Pseudonym, erasure_id, stronger_mode
from shared.mongo.errors import translated
from shared.mongo.store import beginning_with
from shared.runtime.protocols import Document
from shared.vault.keys import LIFE_SECONDS
from shared.versions.followers import all_followed
from shared.versions.generations import Registry
from shared.versions.progress import caught_up, change_marks

_MAJORITY = ReadConcern("majority")
#: Longest lifetime of a cache entry: of data keys in the vault; answers of the relations API expire earlier.
CACHE_SECONDS = LIFE_SECONDS + 1.0

STEPS: Mapping[str, str] = {
    "accepted": "the erasure is in Kafka, or was requested there",
    "profile": "nothing of the profile is stored any more",
    "key": "the consumer's key is destroyed: everything encrypted under it is unreadable everywhere",
    "ledger": "the ledger, which outranks every event, contains the consumer",
    "facts": "the consumer's relations are retracted (delete) or moved to the pseudonym (anonymise)",
    "aggregates": "analytics has counted the changes of the relations",
    "intelligence": "no process of intelligence holds the consumer in memory, and nothing it stored is left",
    "caches": "every cached answer about the consumer has expired",
}


@dataclass(frozen=True)
class Stores:
    """The sources of the progress: ``names`` returns the present full name of a collection of relations,
    ``ledger`` the mode of a consumer in the ledger."""

    database: Database[Document]
    names: Callable[[str], str]
    relations: Registry
    analytics: Registry
    ledger: Callable[[str, str], Mode | None]
    pseudonym: Pseudonym


class Erasures:
    """Every method raises Unavailable. ``clock`` is aware."""

    def __init__(self, stores: Stores, receipts: Receipts, clock: Callable[[], datetime]) -> None:
        self._stores, self._receipts, self._clock = stores, receipts, clock
        self._requests = stores.database.get_collection(
            REQUESTS, write_concern=WriteConcern("majority", wtimeout=10_000)
        )

    def ask(self, tenant: str, consumer_id: str, mode: Mode) -> Document:
        """Record the request of an erasure. A repeated request changes nothing: ``asked`` is the time of the
        first."""
        return self._noted(tenant, consumer_id, mode, self._clock())

    def state(self, tenant: str, id: str) -> Document | None:
        """The state of a tenant's erasure; None if there is none with this id."""
        database, names = self._stores.database, self._stores.names
        with translated():
            folded = database[names("erasures")].find_one({"_id": id})
            asked = list(self._requests.find({"erasure": id}))
        known = [*asked, *([folded] if folded else [])]
        if not known or known[0]["tenant"] != tenant:
            return None
        consumer_id = known[0]["consumer_id"]
        mode: Mode = known[0]["mode"]
        for each in known:
            mode = stronger_mode(mode, each["mode"])
        request = next((each for each in asked if each["mode"] == mode), None)
        if request is None:
            assert folded is not None
            first = EPOCH + timedelta(microseconds=folded["asked"][mode]["time"])
            request = self._noted(tenant, consumer_id, mode, first)
        return self._told(request, self._steps(request))

    def _steps(self, request: Document) -> dict[str, bool]:
        tenant, consumer_id, mode = request["tenant"], nfc(request["consumer_id"]), request["mode"]
        id, database = document_id(tenant, consumer_id), self._stores.database
        # What was stored before ids were normalised must be gone, too.
        ids = {"_id": {"$in": [id, *(document_id(tenant, each) for each in other_spellings(consumer_id))]}}
        with translated():
            profiles = list(database[self._stores.names("consumers")].find(ids, {"erased": 1}))
            keys = list(database[KEYS].find(ids, {"destroyed": 1}))
        steps = {
            "accepted": True,
            "profile": _has(profiles, id) and all(_reached(each.get("erased"), mode) for each in profiles),
            "key": _has(keys, id) and all(each.get("destroyed") for each in keys),
            "ledger": _reached(self._stores.ledger(tenant, consumer_id), mode),
            "facts": self._facts(tenant, consumer_id, mode),
        }
        steps["aggregates"] = all(steps.values()) and self._counted(request)
        steps["intelligence"] = all(steps.values()) and self._forgotten(request)
        if all(steps.values()) and "settled" not in request:
            request["settled"] = self._keep(request, "settled", self._clock())
        waited = self._clock() - request["settled"] if "settled" in request else timedelta(0)
        steps["caches"] = all(steps.values()) and waited >= timedelta(seconds=CACHE_SECONDS)
        return steps

    def _facts(self, tenant: str, consumer_id: str, mode: Mode) -> bool:
        # With majority read concern, like the marks, which are read next and must not be older.
        names, database = self._stores.names, self._stores.database.with_options(read_concern=_MAJORITY)
        with translated():
            marker = database[names("erased")].find_one({"_id": document_id(tenant, consumer_id)})
            if marker is None or not _reached(marker["mode"], mode):
                return False
            gone = [consumer_id, *other_spellings(consumer_id)]
            if mode == "delete":
                gone.append(self._stores.pseudonym(tenant, consumer_id))
            ids = [{"_id": beginning_with(f"{document_id(tenant, each)}:")} for each in gone]
            return database[names("relations")].find_one({"$or": ids}, {"_id": 1}) is None

    def _counted(self, request: Document) -> bool:
        """Whether analytics has counted all changes that were numbered when the facts had been erased."""
        if "marks" not in request:
            request["marks"] = self._keep(request, "marks", change_marks(self._stores.relations))
        return caught_up(self._stores.database, self._stores.analytics, request["marks"])

    def _forgotten(self, request: Document) -> bool:
        """Whether all processes of intelligence have followed the same changes; then what they stored of the
        consumer is deleted, because none of them can store it again."""
        database = self._stores.database
        if not all_followed(database, request["marks"]):
            return False
        tenant, consumer_id = request["tenant"], nfc(request["consumer_id"])
        gone = [consumer_id, *other_spellings(consumer_id)]
        if request["mode"] == "delete":
            gone.append(self._stores.pseudonym(tenant, consumer_id))
        with translated():
            for each in gone:
                for collection, wanted in filters(tenant, each):
                    database[collection].delete_many(wanted)
        return True

    def _told(self, request: Document, steps: Mapping[str, bool]) -> Document:
        done = all(steps.values())
        told: Document = {
            "erasure": request["erasure"],
            "consumer_id": request["consumer_id"],
            "mode": request["mode"],
            "asked": request["asked"],
            "done": done,
            "steps": [{"name": name, "done": reached, "means": STEPS[name]} for name, reached in steps.items()],
            "receipt": None,
        }
        if done:
            told["receipt"] = request.get("receipt") or self._keep(request, "receipt", self._receipt(request))
        return told

    def _receipt(self, request: Document) -> str:
        return self._receipts.sign(
            {
                "iss": "kith/privacy",
                "sub": request["erasure"],
                "iat": int(self._clock().timestamp()),
                "tenant": request["tenant"],
                "consumer_id": request["consumer_id"],
                "mode": request["mode"],
                "asked": request["asked"].isoformat(),
                "steps": list(STEPS),
            }
        )

    def _noted(self, tenant: str, consumer_id: str, mode: Mode, asked: datetime) -> Document:
        erasure = erasure_id(tenant, consumer_id)
        fields = {"erasure": erasure, "tenant": tenant, "consumer_id": consumer_id, "mode": mode}
        with translated():
            stored = self._requests.find_one_and_update(
                {"_id": f"{erasure}/{mode}"},
                # Truncated to milliseconds, as MongoDB does.
                {"$setOnInsert": {**fields, "asked": asked.replace(microsecond=asked.microsecond // 1000 * 1000)}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        assert stored is not None
        return stored

    def _keep(self, request: Document, field: str, value: Any) -> Any:
        """Store ``value``, unless another process was first. Returns the stored value."""
        with translated():
            self._requests.update_one({"_id": request["_id"], field: {"$exists": False}}, {"$set": {field: value}})
            stored = self._requests.find_one({"_id": request["_id"]}, {field: 1})
        assert stored is not None
        return stored[field]


def _has(documents: Sequence[Document], id: str) -> bool:
    return any(each["_id"] == id for each in documents)


def _reached(found: Mode | None, mode: Mode) -> bool:
    return found is not None and stronger_mode(found, mode) == found
