"""The collections that the privacy service owns."""

from typing import Any

from shared.contracts.collections import Collections, CollectionSpec, object_schema

REQUESTS, SIGNING_KEYS = "erasure_requests", "signing_keys"

_STRING: dict[str, Any] = {"bsonType": "string"}
_DATE: dict[str, Any] = {"bsonType": "date"}

#: The known progress of an erasure, by erasure and mode. ``marks`` are the changes that analytics and
#: every sink must have, ``settled`` is the time when all that was so.
_REQUESTS = object_schema(
    {
        "erasure": _STRING,
        "tenant": _STRING,
        "consumer_id": _STRING,
        "mode": {"enum": ["anonymise", "delete"]},
        "asked": _DATE,
    },
    {"marks": {"bsonType": "array"}, "settled": _DATE, "receipt": _STRING},
)
#: The keys that sign receipts: the public half as a JWK, the private one sealed under a key of the vault
#: (``sealed``) or, without encryption, plain.
_SIGNING_KEYS = object_schema(
    {
        "public": {"bsonType": "object"},
        "private": {"bsonType": "binData"},
        "sealed": {"bsonType": "bool"},
        "created": _DATE,
    }
)

COLLECTIONS: Collections = {
    REQUESTS: CollectionSpec(_REQUESTS, indexes=((("erasure", 1),),)),
    SIGNING_KEYS: CollectionSpec(_SIGNING_KEYS),
}
