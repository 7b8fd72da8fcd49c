"""The collections of webhooks: JSON Schema validators and indexes, as data. Pure.

Fan-out writes deliveries and lanes. A feed writes deliveries, feeds and ranges. Senders write deliveries, leases,
the log, and of endpoints what follows from attempts (state, failures); the API writes the rest of them.
"""

from typing import Any

from services.webhooks.deliveries import DELIVERIES, ENDPOINTS, FEEDS, LANES, LEASES, LOG, RANGES
from shared.access.apps.schema import TELLING
from shared.contracts.collections import Collections, CollectionSpec, object_schema
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.dead_letters import SPEC

_STRING = {"bsonType": "string"}
_WHOLE = {"bsonType": ["int", "long"]}
_TIME = {"bsonType": "date"}
_BOOL = {"bsonType": "bool"}
_TEXTS = {"bsonType": "array", "items": _STRING}
_OBJECT = {"bsonType": "object"}

#: Seconds that entries of the log, and deliveries that were given up, are kept.
KEPT_SECONDS = 30 * 24 * 3600

_ENDPOINT = object_schema(
    required={
        "tenant": _STRING,
        "url": _STRING,
        "types": _TEXTS,
        "secrets": {"bsonType": "array", "items": _OBJECT},
        "state": {"enum": ["enabled", "disabled"]},
        "masks": _TEXTS,
        "created": _TIME,
        "created_by": _STRING,
        "revision": _WHOLE,
    },
    optional={
        "description": _STRING,
        "kinds": _TEXTS,
        "providers": _TEXTS,
        "categories": _TEXTS,
        "filter": _STRING,
        "template": _STRING,
        # Of both, services.webhooks.messages.credentials.
        "headers": _OBJECT,
        "sealed_headers": _OBJECT,
        "purpose": _STRING,
        # It belongs to the credentials that are bound to its purpose.
        "bound": _BOOL,
        "reason": _STRING,
        "full": _BOOL,
        "notice": _BOOL,
        "failing_since": _TIME,
        "failures": _WHOLE,
        "succeeded": _TIME,
    },
)
_DELIVERY = object_schema(
    required={
        "endpoint": _STRING,
        "tenant": _STRING,
        "lane": _STRING,
        "subject": _STRING,
        "at": _WHOLE,
        "change": _OBJECT,
        "attempts": _WHOLE,
        "due": _TIME,
        "state": {"enum": ["queued", "failed"]},
    },
    optional={
        "origin": _STRING,
        "number": _WHOLE,
        "consumer_id": _STRING,
        "replay": _STRING,
        "failed": _TIME,
        # What it tells an application of (shared.access.apps.compliance).
        "receipt": _STRING,
    },
)
_LANE = object_schema(
    required={"endpoint": _STRING, "since": _WHOLE, "at": _WHOLE}, optional={"start": _WHOLE, "end": _WHOLE}
)
_PROGRESS: dict[str, Any] = {"endpoint": _STRING, "start": _WHOLE, "next": _WHOLE, "at": _WHOLE}
_LOG = object_schema(
    required={
        "endpoint": _STRING,
        "tenant": _STRING,
        "delivery": _STRING,
        "webhook_id": _STRING,
        "type": _STRING,
        "attempt": _WHOLE,
        "at": _TIME,
        "milliseconds": _WHOLE,
        "outcome": {"enum": ["delivered", "failed", "given_up", "dropped"]},
    },
    optional={"status": _WHOLE, "answer": _STRING, "error": _STRING, "subject": _STRING},
)

#: What fan-out reads and writes.
COLLECTIONS: Collections = {
    # Guarded by its revision only where the API replaces it; senders set single fields.
    ENDPOINTS: CollectionSpec(validator=_ENDPOINT),
    DELIVERIES: CollectionSpec(
        validator=_DELIVERY,
        indexes=(
            # The scan of an endpoint's queue, and the chain of one subject.
            (("endpoint", 1), ("state", 1), ("at", 1), ("_id", 1)),
            (("endpoint", 1), ("subject", 1), ("at", 1), ("_id", 1)),
        ),
    ),
    # Only the fan-out of its partition writes a lane.
    LANES: CollectionSpec(validator=_LANE, indexes=((("endpoint", 1),),)),
    FEEDS: CollectionSpec(validator=object_schema(required=_PROGRESS), indexes=((("endpoint", 1),),)),
    DEAD_LETTERS: SPEC,
    **TELLING,
}
#: What the other parts use beside it.
BESIDE: Collections = {
    RANGES: CollectionSpec(
        validator=object_schema(
            required={**_PROGRESS, "lane": _STRING, "topic": _STRING, "partition": _WHOLE, "end": _WHOLE},
            # Only changes of these origins, with a higher number.
            optional={"after": {"bsonType": "array", "items": _OBJECT}},
        ),
        indexes=((("endpoint", 1),),),
    ),
    LEASES: CollectionSpec(validator=object_schema(required={"owner": _STRING, "epoch": _WHOLE, "until": _TIME})),
    LOG: CollectionSpec(
        validator=_LOG, indexes=((("endpoint", 1), ("at", -1), ("_id", -1)), (("delivery", 1), ("at", -1)))
    ),
}
