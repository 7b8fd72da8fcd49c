"""The vault's collections: validators and indexes. Data."""

from shared.contracts.bson_types import DATE, STRING, WHOLE
from shared.contracts.collections import Collections, CollectionSpec, object_schema

DATA_KEYS, WRAPPING_KEYS = "data_keys", "wrapping_keys"
#: Notes of what is to be published to the topic of wrapped keys. They are removed within seconds.
UNPUBLISHED_KEYS = "unpublished_keys"

_WHOLE = {**WHOLE, "minimum": 1}
_BYTES = {"bsonType": "binData"}

COLLECTIONS: Collections = {
    DATA_KEYS: CollectionSpec(
        # Either a key, or the mark of a destroyed one.
        object_schema(
            {},
            {
                "wrapped": _BYTES,
                "wrapping": _WHOLE,
                "created": DATE,
                "destroyed": {"enum": [True]},
                "at": DATE,
            },
        ),
        indexes=((("wrapping", 1), ("_id", 1)),),
        guard="wrapped",
    ),
    WRAPPING_KEYS: CollectionSpec(
        {
            **object_schema({"wrapped": _BYTES, "master": STRING}, {"created": DATE}),
            "properties": {
                "_id": _WHOLE,
                "wrapped": _BYTES,
                "master": STRING,
                "created": DATE,
            },
        }
    ),
}
