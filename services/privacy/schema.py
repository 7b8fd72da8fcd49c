"""The collections that the privacy service owns."""

from shared.contracts.bson_types import DATE, STRING
from shared.contracts.collections import Collections, CollectionSpec, object_schema

REQUESTS, SIGNING_KEYS = "erasure_requests", "signing_keys"


#: The known progress of an erasure, by erasure and mode. ``marks`` are the changes that analytics and
#: every sink must have, ``settled`` is the time when all that was so.
_REQUESTS = object_schema(
    {
        "erasure": STRING,
        "tenant": STRING,
        "consumer_id": STRING,
        "mode": {"enum": ["anonymise", "delete"]},
        "asked": DATE,
    },
    {"marks": {"bsonType": "array"}, "settled": DATE, "receipt": STRING},
)
#: The keys that sign receipts: the public half as a JWK, the private one sealed under a key of the vault
#: (``sealed``) or, without encryption, plain.
_SIGNING_KEYS = object_schema(
    {
        "public": {"bsonType": "object"},
        "private": {"bsonType": "binData"},
        "sealed": {"bsonType": "bool"},
        "created": DATE,
    }
)

COLLECTIONS: Collections = {
    # The second is of the list of a tenant's erasures, which reads no other tenant's.
    REQUESTS: CollectionSpec(_REQUESTS, indexes=((("erasure", 1),), (("tenant", 1), ("consumer_id", 1)))),
    SIGNING_KEYS: CollectionSpec(_SIGNING_KEYS),
}
