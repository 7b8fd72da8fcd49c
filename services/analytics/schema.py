"""The collections that analytics writes: JSON Schema validators and indexes, as data. Pure."""

from typing import Any

from services.analytics.projection import AGGREGATES, PRESENCE
from shared.contracts.bson_types import STRING, WHOLE
from shared.contracts.collections import Collections, CollectionSpec, object_schema
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.dead_letters import SPEC

_DAY = {"bsonType": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
_BY_CURRENCY = {
    "bsonType": "object",
    "patternProperties": {"^[A-Z]{3}$": WHOLE},
    "additionalProperties": False,
}
_SUMS: dict[str, Any] = {
    "amount": _BY_CURRENCY,
    "amount_count": _BY_CURRENCY,
    "rating_count": WHOLE,
    "rating_sum": WHOLE,
}
_HOUR = {
    "bsonType": "object",
    "required": ["count"],
    "properties": {"count": WHOLE, **_SUMS},
    "additionalProperties": False,
}

COLLECTIONS: Collections = {
    AGGREGATES: CollectionSpec(
        validator=object_schema(
            required={
                "tenant": STRING,
                "by": {"enum": ["total", "kind", "provider", "consumer", "provider_kind"]},
                "key": STRING,
                "day": _DAY,
                "partition": WHOLE,
                "count": WHOLE,
                "hours": {
                    "bsonType": "object",
                    "patternProperties": {"^([01][0-9]|2[0-3])$": _HOUR},
                    "additionalProperties": False,
                },
            },
            optional={**_SUMS, "consumers": WHOLE},
        ),
        # A key's days are a range of _id; this index serves all keys of a range of days. It contains the numbers,
        # so rankings and visits read only the index, at a third of the cost of reading the documents. For mongod
        # it makes replacing a document a sixth dearer, and inserting one no dearer.
        indexes=(
            (
                ("tenant", 1),
                ("by", 1),
                ("day", 1),
                ("key", 1),
                ("count", 1),
                ("rating_count", 1),
                ("rating_sum", 1),
            ),
        ),
        complete_since=3,
    ),
    # They are read by tenant and day, with which their ids begin: no other index is worth its writes.
    PRESENCE: CollectionSpec(
        validator=object_schema(
            required={"tenant": STRING, "day": _DAY, "consumer_id": STRING, "count": WHOLE},
            optional={"provider_id": STRING},
        ),
        guard="count",
    ),
    DEAD_LETTERS: SPEC,
}
