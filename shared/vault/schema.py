"""The vault's collections: validators and indexes. Data."""

from shared.contracts.collections import Collections, CollectionSpec, object_schema

DATA_KEYS, WRAPPING_KEYS = "data_keys", "wrapping_keys"
#: Notes of what is to be published to the topic of wrapped keys. They are removed within seconds.
UNPUBLISHED_KEYS = "unpublished_keys"

_WHOLE = {"bsonType": ["int", "long"], "minimum": 1}
_BYTES = {"bsonType": "binData"}
_DATE = {"bsonType": "date"}

COLLECTIONS: Collections = {
    DATA_KEYS: CollectionSpec(
        # Either a key, or the mark of a destroyed one.
        object_schema(
            {},
            {
                "wrapped": _BYTES,
                "wrapping": _WHOLE,
                "created": _DATE,
                "destroyed": {"enum": [True]},
                "at": _DATE,
            },
        ),
        indexes=((("wrapping", 1), ("_id", 1)),),
        guard="wrapped",
    ),
    WRAPPING_KEYS: CollectionSpec(
        {
            **object_schema({"wrapped": _BYTES, "master": {"bsonType": "string"}}, {"created": _DATE}),
            "properties": {
                "_id": _WHOLE,
                "wrapped": _BYTES,
                "master": {"bsonType": "string"},
                "created": _DATE,
            },
        }
    ),
}
