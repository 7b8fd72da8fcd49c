"""The audit in MongoDB: the append-only collection ``audit``."""

from collections.abc import Iterator, Sequence
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from shared.access.chain import FIRST, Entry, is_keyed
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import only_duplicates, translated
from shared.mongo.limits import STREAM_MS
from shared.runtime.protocols import Document

COLLECTION = "audit"


class MongoAuditLog:
    """An AuditLog. The ``_id`` consists of tenant and sequence, so its unique index prevents two writers from
    taking the same place. Reads use read concern majority: an entry that is built upon is never rolled back."""

    def __init__(self, database: Database[Document]) -> None:
        self._entries: Collection[Document] = database.get_collection(
            COLLECTION,
            write_concern=DURABLE,
            read_concern=ReadConcern("majority"),
        )

    def head(self, tenant: str) -> tuple[int, str]:
        with translated():
            last = self._entries.find_one({"_id": _of(tenant)}, sort=[("_id", -1)])
        return (0, FIRST) if last is None else (last["sequence"], last["hash"])

    def needs_key(self, tenant: str) -> bool:
        """Whether the last entry of a tenant was made with a key: one without it would be a flaw for good."""
        with translated():
            last = self._entries.find_one({"_id": _of(tenant)}, {"algorithm": 1}, sort=[("_id", -1)])
        return last is not None and is_keyed(last)

    def append(self, entries: Sequence[Entry]) -> int:
        documents = [{"_id": entry_id(entry["tenant"], entry["sequence"]), **entry} for entry in entries]
        try:
            with translated():
                return len(self._insert(documents))
        except _Taken as taken:
            return taken.added

    def tenants(self) -> list[str]:
        with translated():
            return sorted(self._entries.distinct("tenant"))

    def entries(self, tenant: str) -> Iterator[Entry]:
        with translated():
            for found in self._entries.find({"_id": _of(tenant)}, max_time_ms=STREAM_MS).sort("_id", 1):
                yield {name: value for name, value in found.items() if name != "_id"}

    def _insert(self, documents: list[Document]) -> list[Any]:
        try:
            return list(self._entries.insert_many(documents, ordered=True).inserted_ids)
        except BulkWriteError as error:
            # Entries may be built upon only once a majority has the ones before.
            if only_duplicates(error):
                raise _Taken(error.details["nInserted"]) from None
            raise


class _Taken(Exception):
    def __init__(self, added: int) -> None:
        super().__init__()
        self.added = added


def entry_id(tenant: str, sequence: int) -> str:
    """The ``_id`` of an entry. It sorts the entries of a tenant by their sequence."""
    return f"{tenant}:{sequence:016d}"


def _of(tenant: str) -> dict[str, str]:
    # A tenant's name contains no colon, and the digits come before the semicolon.
    return {"$gte": f"{tenant}:", "$lt": f"{tenant};"}
