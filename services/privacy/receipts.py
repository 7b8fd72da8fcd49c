"""Signed receipts: a JWS (RFC 7515) by a key that is created once, and the public keys that verify them."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from services.privacy.schema import SIGNING_KEYS
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.runtime.protocols import Document
from shared.vault.keys import Vault

ALGORITHM = "ES256"
#: The pseudo tenant whose key seals the signing key: no tenant can have this name.
_OWNER = "*"
_CONTEXT = b"kith signing key"


class Receipts:
    """Signs with the key of one database, which is created with the first receipt and sealed with ``vault``. Every
    method raises Unavailable."""

    def __init__(self, database: Database[Document], vault: Vault | None, clock: Callable[[], datetime]) -> None:
        self._keys = database.get_collection(SIGNING_KEYS, write_concern=DURABLE)
        self._vault, self._clock = vault, clock
        self._signer: tuple[str, ECKey] | None = None

    def sign(self, claims: Mapping[str, Any]) -> str:
        """The claims as a compact JWS."""
        kid, key = self._signer or self._load()
        header = {"alg": ALGORITHM, "kid": kid, "typ": "kith-receipt+jws"}
        return jws.serialize_compact(header, json.dumps(claims).encode(), key, algorithms=[ALGORITHM])

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JSON Web Key Set; none before the first receipt."""
        with translated():
            found = list(self._keys.find().sort("_id", 1))
        return {"keys": [{**each["public"], "kid": each["_id"], "alg": ALGORITHM, "use": "sig"} for each in found]}

    def _load(self) -> tuple[str, ECKey]:
        with translated():
            stored = self._keys.find_one() or self._make()
        private = bytes(stored["private"])
        if stored["sealed"]:
            assert self._vault is not None, "the signing key is sealed, and KITH_ENCRYPTION is off"
            private = self._vault.tenant_key(_OWNER).open(private, _CONTEXT)
        self._signer = (stored["_id"], ECKey.import_key(json.loads(private)))
        return self._signer

    def _make(self) -> Document:
        key = ECKey.generate_key("P-256")
        private = json.dumps(key.as_dict(private=True)).encode()
        if self._vault is not None:
            private = self._vault.tenant_key(_OWNER).seal(private, _CONTEXT)
        document: Document = {
            # A fixed id, so that only one of several processes creates it.
            "_id": "receipts-1",
            "public": key.as_dict(private=False),
            "private": private,
            "sealed": self._vault is not None,
            "created": self._clock(),
        }
        try:
            self._keys.insert_one(document)
        except DuplicateKeyError:
            document = self._keys.find_one({"_id": document["_id"]}) or document
        return document
