"""API keys in MongoDB: the collection ``api_keys``, one document per key."""

from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from shared.access.keys import ApiKey
from shared.contracts.errors import Stale
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

COLLECTION = "api_keys"
_LATER = frozenset({"purpose", "events_a_day", "endpoints"})


class MongoKeys:
    """A KeyStore. Writes use write concern majority, so a revoked key stays revoked after a failover."""

    def __init__(self, database: Database[Document]) -> None:
        self._keys: Collection[Document] = database.get_collection(
            COLLECTION,
            write_concern=DURABLE,
            read_concern=ReadConcern("majority"),
        )

    def insert(self, key: ApiKey) -> bool:
        try:
            with translated():
                self._keys.insert_one(_document(key))
        except Stale:
            return False
        return True

    def find(self, prefix: str) -> ApiKey | None:
        with translated():
            found = self._keys.find_one({"_id": prefix})
        return None if found is None else _key(found)

    def all(self) -> list[ApiKey]:
        with translated():
            return [_key(found) for found in self._keys.find().sort([("created", 1), ("_id", 1)])]

    def replace(self, before: ApiKey, after: ApiKey) -> bool:
        with translated():
            return self._keys.replace_one(_fields(before), _document(after)).matched_count == 1


def _document(key: ApiKey) -> Document:
    # A service of an earlier version knows no key with further fields. So it refuses those that have them, as it
    # must, for it would not hold to a purpose, and takes all others.
    return {name: value for name, value in _fields(key).items() if name not in _LATER or value is not None}


def _fields(key: ApiKey) -> Document:
    """All fields. In a filter, None is also a field that is not there."""
    return {
        "_id": key.prefix,
        "tenant": key.tenant,
        "name": key.name,
        "scopes": list(key.scopes),
        "masks": list(key.masks),
        "hash": key.hash,
        "created": key.created,
        "limit": key.limit,
        "until": key.until,
        "revoked": key.revoked,
        "successor": key.successor,
        "purpose": key.purpose,
        "events_a_day": key.events_a_day,
        "endpoints": key.endpoints,
    }


def _key(document: Document) -> ApiKey:
    fields: dict[str, Any] = {name: value for name, value in document.items() if name != "_id"}
    fields |= {"scopes": tuple(fields["scopes"]), "masks": tuple(fields["masks"])}
    return ApiKey(prefix=document["_id"], **fields)
