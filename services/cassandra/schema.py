"""What the sink stores in MongoDB: the counter of its numbers, beside positions and dead letters. Data."""

from shared.contracts.collections import Collections, CollectionSpec, object_schema
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.dead_letters import SPEC

NUMBERS = "sink_numbers"

COLLECTIONS: Collections = {DEAD_LETTERS: SPEC}
#: Of all versions: a number is never given twice.
BESIDE: Collections = {NUMBERS: CollectionSpec(object_schema({"last": {"bsonType": ["int", "long"]}}))}
