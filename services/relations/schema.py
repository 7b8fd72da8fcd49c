"""The collections of the relations service: validators, indexes, guards. Data."""

from services.relations.fact_erasure import ERASED
from services.relations.profile_erasure import ERASURES
from services.relations.wide import CELLS
from shared.contracts.bson_types import DATE, STRING, WHOLE
from shared.contracts.collections import Collections, CollectionSpec, object_schema
from shared.contracts.fact_fields import VALIDATORS
from shared.erasure.records import KEYS, KEYS_SPEC
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.dead_letters import SPEC

_VERSION = {"time": WHOLE, "sequence": STRING, "source": STRING, "id": STRING}
VERSION = {
    "bsonType": "object",
    "required": ["time", "source", "id"],
    "properties": _VERSION,
    "additionalProperties": False,
}
#: The version of a fact, with the digest of its event.
FACT_VERSION = {**VERSION, "properties": {**_VERSION, "digest": STRING}}
#: The versions of a profile: for each event that counts, the fields that it stated (services.relations.registers).
_STATED = {
    "bsonType": "object",
    "required": ["time", "source", "id", "fields"],
    "properties": {**_VERSION, "fields": {"bsonType": "array", "minItems": 1, "items": STRING}},
    "additionalProperties": False,
}
# An object, by part, in a profile stored before fields had their own versions, until it is written again.
VERSIONS = {"bsonType": ["array", "object"], "items": _STATED, "additionalProperties": VERSION}
AMOUNTS = {"bsonType": "object", "additionalProperties": WHOLE}
MONTH = {
    "bsonType": "object",
    "required": ["count"],
    "properties": {
        "count": {**WHOLE, "minimum": 1},
        "amount": AMOUNTS,
        "amount_count": {"bsonType": "object", "additionalProperties": {**WHOLE, "minimum": 0}},
        "rating_count": {**WHOLE, "minimum": 1},
        "rating_sum": WHOLE,
    },
    "additionalProperties": False,
}
KINDS = {"bsonType": "object", "additionalProperties": {"bsonType": "object", "additionalProperties": MONTH}}
OBJECT = {"bsonType": "object"}

_PROFILE = object_schema(
    {"tenant": STRING, "consumer_id": STRING},
    {
        # Absent in an erased profile: it is the guard, and must differ from that of a profile without statements.
        "versions": VERSIONS,
        "personal": {"bsonType": "object", "additionalProperties": STRING},
        "location": OBJECT,
        "traits": OBJECT,
        "consent": {"bsonType": "object", "additionalProperties": {"bsonType": "bool"}},
        "erased": {"enum": ["anonymise", "delete"]},
        # The blind index of e-mail address and phone number (services.relations.sealing).
        "blind": {"bsonType": "object", "additionalProperties": STRING},
    },
)
_CONSUMERS = {**_PROFILE, "anyOf": [{"required": ["versions"]}, {"required": ["erased"]}]}
_PROVIDERS = object_schema(
    {"tenant": STRING, "provider_id": STRING, "closed": {"bsonType": "bool"}, "versions": VERSIONS},
    {
        "name": STRING,
        "categories": {"bsonType": "array", "items": STRING},
        "location": OBJECT,
        "traits": OBJECT,
    },
)
_FACT = object_schema(
    {
        "tenant": STRING,
        "relation_id": STRING,
        "consumer_id": STRING,
        "retracted": {"bsonType": "bool"},
        "version": FACT_VERSION,
    },
    VALIDATORS,
)
_PAIR = object_schema(
    {
        "tenant": STRING,
        "consumer_id": STRING,
        "provider_id": STRING,
        "count": {**WHOLE, "minimum": 1},
        "first": DATE,
        "last": DATE,
        "score": {"bsonType": "double"},
        "fingerprint": {**WHOLE, "minimum": 0},
    },
    {
        "between": {"bsonType": "array", "items": DATE},
        "kinds": KINDS,
        "cells": {**WHOLE, "minimum": 1},
        "sums": MONTH,
        "mass": {
            "bsonType": "object",
            "required": ["number", "exponent", "settings"],
            "properties": {"number": STRING, "exponent": WHOLE, "settings": STRING},
            "additionalProperties": False,
        },
    },
)
# One document with all cells, or the head of a wide pair.
_RELATIONSHIPS = {**_PAIR, "anyOf": [{"required": ["kinds"]}, {"required": ["cells", "sums", "mass"]}]}
_CELLS = object_schema(
    {
        "tenant": STRING,
        "consumer_id": STRING,
        "provider_id": STRING,
        "kind": STRING,
        "year": STRING,
        "months": {"bsonType": "object", "additionalProperties": MONTH},
    }
)

MODE = {"enum": ["anonymise", "delete"]}
#: Markers of erased consumers, in the partition of their facts.
_ERASED = object_schema({"tenant": STRING, "consumer_id": STRING, "mode": MODE})
#: Erasures by their id: for each mode, the event that requested it first.
_ERASURES = object_schema(
    {
        "tenant": STRING,
        "consumer_id": STRING,
        "mode": MODE,
        "asked": {"bsonType": "object", "additionalProperties": VERSION},
    }
)

COLLECTIONS: Collections = {
    "consumers": CollectionSpec(
        _CONSUMERS, indexes=((("blind.email", 1),), (("blind.phone", 1),)), guard="versions"
    ),
    "providers": CollectionSpec(_PROVIDERS, guard="versions"),
    "relations": CollectionSpec(
        _FACT,
        indexes=(
            (("tenant", 1), ("consumer_id", 1), ("time", -1), ("_id", -1)),
            (("tenant", 1), ("provider_id", 1), ("time", -1), ("_id", -1)),
        ),
        guard="version",
        unique=True,
        partial={"retracted": False},
    ),
    "relationships": CollectionSpec(
        _RELATIONSHIPS,
        indexes=(
            (("tenant", 1), ("consumer_id", 1), ("score", -1), ("_id", 1)),
            (("tenant", 1), ("provider_id", 1), ("score", -1), ("_id", 1)),
        ),
        guard="fingerprint",
        unique=True,
        complete_since=3,
    ),
    # Their head's guard protects them: no transaction changes cells without it.
    CELLS: CollectionSpec(_CELLS, indexes=((("tenant", 1), ("kind", 1)),)),
    ERASED: CollectionSpec(_ERASED, guard="mode"),
    # The index is of the list of a tenant's erasures, which the privacy service gives.
    ERASURES: CollectionSpec(_ERASURES, indexes=((("tenant", 1), ("consumer_id", 1)),), guard="asked"),
    KEYS: KEYS_SPEC,
    DEAD_LETTERS: SPEC,
}
