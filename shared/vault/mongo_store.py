"""The KeyStore on MongoDB: the collections ``data_keys`` and ``wrapping_keys``."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

import pymongo
from pymongo import UpdateOne
from pymongo.collection import Collection as MongoCollection
from pymongo.database import Database
from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from shared.contracts.errors import Unavailable
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import only_duplicates, translated
from shared.runtime.protocols import Document
from shared.vault.protocols import DESTROYED, Destroyed, Wrapped, Wrapping
from shared.vault.schema import DATA_KEYS, WRAPPING_KEYS

#: Ids per query, which must fit into 16 MB.
_BATCH = 10_000
#: A server that neither answers nor closes the connection counts as unavailable.
_TIMEOUT_SECONDS = 10.0
# Losing a key loses everything it has encrypted. So no key is used that a failover could roll back.
_MAJORITY = ReadConcern("majority")


class MongoKeyStore:
    """The keys of one database."""

    def __init__(self, database: Database[Document]) -> None:
        def collection(name: str) -> "MongoCollection[Document]":
            return database.get_collection(
                name, read_concern=_MAJORITY, write_concern=DURABLE, read_preference=ReadPreference.PRIMARY
            )

        self._keys, self._wrappings = collection(DATA_KEYS), collection(WRAPPING_KEYS)

    def find(self, ids: Collection[str]) -> dict[str, Wrapped | Destroyed]:
        found: dict[str, Wrapped | Destroyed] = {}
        remaining = iter(ids)
        while batch := list(islice(remaining, _BATCH)):
            with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
                for document in self._keys.find({"_id": {"$in": batch}}, {"created": 0, "at": 0}):
                    found[document["_id"]] = _key(document)
        return found

    def insert(self, keys: Mapping[str, Wrapped]) -> set[str]:
        now = datetime.now(UTC)
        documents = (
            {"_id": id, "wrapped": key.wrapped, "wrapping": key.wrapping, "created": now}
            for id, key in keys.items()
        )
        taken: set[str] = set()
        while batch := list(islice(documents, _BATCH)):
            with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
                try:
                    self._keys.insert_many(batch, ordered=False)
                except BulkWriteError as error:
                    if error.details.get("writeConcernErrors"):
                        raise Unavailable("MongoDB: the keys are not on a majority of the servers yet") from error
                    if not only_duplicates(error):
                        raise
                    taken |= {batch[problem["index"]]["_id"] for problem in error.details["writeErrors"]}
        return taken

    def destroy(self, id: str) -> None:
        mark = {"_id": id, "destroyed": True, "at": datetime.now(UTC)}
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            for again in (True, False):
                try:
                    self._keys.replace_one({"_id": id, "destroyed": {"$ne": True}}, mark, upsert=True)
                    return
                except DuplicateKeyError:
                    # Either it is destroyed already, or a key was inserted between the two steps of the upsert.
                    # The second attempt then replaces that.
                    if not again:
                        return

    def not_under(self, number: int, after: str, limit: int) -> list[tuple[str, Wrapped]]:
        wanted = {"_id": {"$gt": after}, "wrapping": {"$gt": 0, "$ne": number}}
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            found = self._keys.find(wanted, {"created": 0}).sort("_id", 1).limit(limit).hint("_id_")
            return [(each["_id"], Wrapped(bytes(each["wrapped"]), each["wrapping"])) for each in found]

    def rewrap(self, changes: Sequence[tuple[str, Wrapped, Wrapped]]) -> int:
        if not changes:
            return 0
        writes = [
            UpdateOne(
                {"_id": id, "wrapped": old.wrapped, "wrapping": old.wrapping},
                {"$set": {"wrapped": new.wrapped, "wrapping": new.wrapping}},
            )
            for id, old, new in changes
        ]
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            return self._keys.bulk_write(writes, ordered=False).matched_count

    def count_under(self, number: int) -> int:
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            return self._keys.count_documents({"wrapping": number})

    def wrappings(self) -> list[Wrapping]:
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            found = list(self._wrappings.find().sort("_id", 1))
        return [Wrapping(each["_id"], bytes(each["wrapped"]), each["master"]) for each in found]

    def add_wrapping(self, wrapping: Wrapping) -> bool:
        number, wrapped, master = wrapping
        fields = {"_id": number, "wrapped": wrapped, "master": master, "created": datetime.now(UTC)}
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            try:
                self._wrappings.insert_one(fields)
            except DuplicateKeyError:
                return False
        return True

    def replace_wrapping(self, old: Wrapping, new: Wrapping) -> bool:
        wanted = {"_id": old.number, "wrapped": old.wrapped, "master": old.master}
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            found = self._wrappings.update_one(wanted, {"$set": {"wrapped": new.wrapped, "master": new.master}})
        return found.matched_count == 1


def _key(document: Document) -> Wrapped | Destroyed:
    if document.get("destroyed"):
        return DESTROYED
    return Wrapped(bytes(document["wrapped"]), document["wrapping"])
