"""The collections of applications: JSON Schema validators and indexes. Pure.

``apps`` and ``app_keys`` are read by every service that accepts access tokens. The private keys are in a
collection of their own, which only the apps service may read. ``TELLING`` are those of what applications are told
(``shared.access.apps.compliance``), which the webhooks service keeps.
"""

from typing import Any

from shared.access.apps.compliance import STATES, TOPICS
from shared.contracts.bson_types import DATE, STRING, WHOLE
from shared.contracts.collections import Collections, CollectionSpec, object_schema

APPS, PUBLIC_KEYS, PRIVATE_KEYS, TENANTS = "apps", "app_keys", "app_private_keys", "app_tenants"
NOTICES, RECEIPTS, REGISTER = "app_notices", "app_receipts", "app_consumers"

_TEXTS: dict[str, Any] = {"bsonType": "array", "items": STRING}
_OBJECTS: dict[str, Any] = {"bsonType": "array", "items": {"bsonType": "object"}}
_HASH: dict[str, Any] = {"bsonType": "string", "pattern": "^[0-9a-f]{64}$"}

_APP = object_schema(
    required={
        "tenant": STRING,
        "name": STRING,
        "state": {"enum": ["pending", "approved", "suspended"]},
        "requested": _TEXTS,
        "scopes": _TEXTS,
        "masks": _TEXTS,
        "limits": {"bsonType": "object"},
        "registration": _HASH,
        "secrets": _OBJECTS,
        "revoked": _OBJECTS,
        "contacts": _TEXTS,
        "auth_method": STRING,
        "created": DATE,
        "created_by": STRING,
        "revision": WHOLE,
    },
    optional={
        "uri": STRING,
        "logo_uri": STRING,
        "policy_uri": STRING,
        "tos_uri": STRING,
        "software_id": STRING,
        "software_version": STRING,
        "reason": STRING,
    },
)
_PUBLIC = {"jwk": {"bsonType": "object"}, "issuer": STRING, "created": DATE}

COLLECTIONS: Collections = {
    APPS: CollectionSpec(_APP, indexes=((("tenant", 1), ("created", 1)),)),
    # Whoever registers an application of a tenant counts here, so that no two do at the same moment.
    TENANTS: CollectionSpec(object_schema({"turns": WHOLE})),
    PUBLIC_KEYS: CollectionSpec(object_schema(_PUBLIC, {"until": DATE})),
    # ``sealed``: the private key is encrypted with a key of the vault.
    PRIVATE_KEYS: CollectionSpec(
        object_schema({**_PUBLIC, "private": {"bsonType": "binData"}, "sealed": {"bsonType": "bool"}})
    ),
}

_TOPIC = {"enum": list(TOPICS)}
_NOTICE = object_schema(
    {"tenant": STRING, "topic": _TOPIC, "apps": _TEXTS, "at": DATE},
    {"consumer_id": STRING},
)
_RECEIPT = object_schema(
    required={
        "app": STRING,
        "tenant": STRING,
        "topic": _TOPIC,
        "at": DATE,
        "state": {"enum": list(STATES)},
        "attempts": WHOLE,
    },
    optional={
        "consumer_id": STRING,
        "reason": STRING,
        "endpoint": STRING,
        "enqueued": DATE,
        "settled": DATE,
        "expires": DATE,
    },
)
#: A notice is deleted once it has its receipts; a receipt expires a while after it was settled. The register is
#: written by the partition of the consumer's changes.
TELLING: Collections = {
    # Whether there is one that concerns a deleted application: each second, while it has endpoints.
    NOTICES: CollectionSpec(_NOTICE, indexes=((("apps", 1),),)),
    RECEIPTS: CollectionSpec(
        _RECEIPT,
        indexes=(
            (("tenant", 1), ("app", 1), ("at", -1), ("_id", -1)),
            # Who waits, and whose reason is another one now; what is sent where: each second.
            (("state", 1), ("app", 1), ("reason", 1)),
            (("state", 1), ("endpoint", 1)),
        ),
        expires="expires",
    ),
    REGISTER: CollectionSpec(object_schema({"apps": _TEXTS}), guard="apps"),
}
