"""The collections of webhooks: JSON Schema validators and indexes, as data. Pure.

Fan-out writes deliveries and lanes. A feed writes deliveries, feeds and ranges. Senders write deliveries, leases,
the log, and of endpoints what follows from attempts (state, failures); the API writes the rest of them.
"""

from typing import Any

from services.webhooks.deliveries import DELIVERIES, ENDPOINTS, FEEDS, LANES, LEASES, LOG, RANGES
from shared.access.apps.schema import TELLING
from shared.contracts.bson_types import DATE, STRING, WHOLE
from shared.contracts.collections import Collections, CollectionSpec, object_schema
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.dead_letters import SPEC

_BOOL = {"bsonType": "bool"}
_TEXTS = {"bsonType": "array", "items": STRING}
_OBJECT = {"bsonType": "object"}

#: Seconds that entries of the log, and deliveries that were given up, are kept.
KEPT_SECONDS = 30 * 24 * 3600
#: Of each endpoint, as many at most, the latest: a tenant that replays everything again and again fills no disk.
MOST_KEPT = 100_000

_ENDPOINT = object_schema(
    required={
        "tenant": STRING,
        "url": STRING,
        "types": _TEXTS,
        "secrets": {"bsonType": "array", "items": _OBJECT},
        "state": {"enum": ["enabled", "disabled"]},
        "masks": _TEXTS,
        "created": DATE,
        "created_by": STRING,
        "revision": WHOLE,
    },
    optional={
        "description": STRING,
        "kinds": _TEXTS,
        "providers": _TEXTS,
        "categories": _TEXTS,
        "filter": STRING,
        "template": STRING,
        # Of both, services.webhooks.messages.credentials.
        "headers": _OBJECT,
        "sealed_headers": _OBJECT,
        "purpose": STRING,
        # It belongs to the credentials that are bound to its purpose.
        "bound": _BOOL,
        "reason": STRING,
        "full": _BOOL,
        "notice": _BOOL,
        "failing_since": DATE,
        "failures": WHOLE,
        # Times of failures since then, one an hour.
        "failed": {"bsonType": "array", "items": DATE},
        "succeeded": DATE,
    },
)
_DELIVERY = object_schema(
    required={
        "endpoint": STRING,
        "tenant": STRING,
        "lane": STRING,
        "subject": STRING,
        "at": WHOLE,
        "change": _OBJECT,
        "attempts": WHOLE,
        "due": DATE,
        "state": {"enum": ["queued", "failed"]},
    },
    optional={
        "origin": STRING,
        "number": WHOLE,
        "consumer_id": STRING,
        "replay": STRING,
        "failed": DATE,
        # What it tells an application of (shared.access.apps.compliance).
        "receipt": STRING,
    },
)
_LANE = object_schema(
    required={"endpoint": STRING, "since": WHOLE, "at": WHOLE}, optional={"start": WHOLE, "end": WHOLE}
)
_PROGRESS: dict[str, Any] = {"endpoint": STRING, "start": WHOLE, "next": WHOLE, "at": WHOLE}
_LOG = object_schema(
    required={
        "endpoint": STRING,
        "tenant": STRING,
        "delivery": STRING,
        "webhook_id": STRING,
        "type": STRING,
        "attempt": WHOLE,
        "at": DATE,
        "milliseconds": WHOLE,
        "outcome": {"enum": ["delivered", "failed", "given_up", "dropped"]},
    },
    optional={"status": WHOLE, "answer": STRING, "error": STRING, "subject": STRING},
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
            required={**_PROGRESS, "lane": STRING, "topic": STRING, "partition": WHOLE, "end": WHOLE},
            # Only changes of these origins, with a higher number.
            optional={"after": {"bsonType": "array", "items": _OBJECT}},
        ),
        indexes=((("endpoint", 1),),),
    ),
    LEASES: CollectionSpec(validator=object_schema(required={"owner": STRING, "epoch": WHOLE, "until": DATE})),
    LOG: CollectionSpec(
        validator=_LOG, indexes=((("endpoint", 1), ("at", -1), ("_id", -1)), (("delivery", 1), ("at", -1)))
    ),
}
