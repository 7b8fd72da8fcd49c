"""Key pairs in MongoDB, and in memory for tests."""

from dataclasses import replace
from datetime import datetime

from pymongo.collection import Collection
from pymongo.database import Database

from services.apps.signing import PrivateKey
from shared.access.apps.memory import MemoryPublicKeys
from shared.access.apps.mongo import MongoPublicKeys, durable, public_key
from shared.access.apps.schema import PRIVATE_KEYS, PUBLIC_KEYS
from shared.access.apps.store import PublicKey
from shared.contracts.errors import Stale, Unavailable
from shared.mongo.errors import translated
from shared.runtime.protocols import Document


class MongoKeyPairs:
    """KeyPairs in ``app_keys``, which every service reads, and ``app_private_keys``."""

    def __init__(self, database: Database[Document]) -> None:
        self._published = MongoPublicKeys(database)
        self._public, self._private = durable(database, PUBLIC_KEYS), durable(database, PRIVATE_KEYS)

    def public(self) -> list[PublicKey]:
        return self._published.all()

    def private(self, kid: str) -> PrivateKey | None:
        with translated():
            found = self._private.find_one({"_id": kid})
        return None if found is None else PrivateKey(public_key(found), bytes(found["private"]), found["sealed"])

    def add(self, key: PrivateKey) -> PrivateKey:
        # First the private part, so that no key is published that nobody can sign with. Its owner, or the process
        # that has found it, publishes it.
        document = {**_document(key.public), "private": key.private, "sealed": key.sealed}
        stored: PrivateKey | None = key
        if not _insert(self._private, document):
            stored = self.private(key.public.kid)
        if stored is None:
            raise Unavailable("a key that another process has just made cannot be read yet")
        _insert(self._public, _document(stored.public))
        return stored

    def end(self, kid: str, until: datetime) -> None:
        with translated():
            self._public.update_one({"_id": kid}, {"$min": {"until": until}})

    def remove(self, kid: str) -> None:
        with translated():
            self._public.delete_one({"_id": kid})
            self._private.delete_one({"_id": kid})


class MemoryKeyPairs:
    """KeyPairs, and the PublicKeyStore of their verifiers as ``published``."""

    def __init__(self) -> None:
        self.published = MemoryPublicKeys()
        self._private: dict[str, PrivateKey] = {}

    def public(self) -> list[PublicKey]:
        return self.published.all()

    def private(self, kid: str) -> PrivateKey | None:
        return self._private.get(kid)

    def add(self, key: PrivateKey) -> PrivateKey:
        stored = self._private.setdefault(key.public.kid, key)
        self.published.keys.setdefault(key.public.kid, stored.public)
        return stored

    def end(self, kid: str, until: datetime) -> None:
        key = self.published.keys.get(kid)
        if key is not None:
            self.published.keys[kid] = replace(key, until=min(until, key.until or until))

    def remove(self, kid: str) -> None:
        self.published.keys.pop(kid, None)
        self._private.pop(kid, None)


def _document(key: PublicKey) -> Document:
    return {"_id": key.kid, "issuer": key.issuer, "jwk": dict(key.jwk), "created": key.created}


def _insert(collection: Collection[Document], document: Document) -> bool:
    try:
        with translated():
            collection.insert_one(document)
    except Stale:
        return False
    return True
