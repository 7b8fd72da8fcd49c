"""The collections of the intelligence service: validators and indexes. Data."""

from typing import Any

from shared.contracts.collections import Collections, CollectionSpec, object_schema
from shared.erasure.derived import GRAPH_NODES, OUTCOMES
from shared.versions.followers import FOLLOWERS
from shared.versions.followers import SPEC as FOLLOWERS_SPEC

MODELS, JOBS = "models", "graph_jobs"

_STRING: dict[str, Any] = {"bsonType": "string"}
_DATE: dict[str, Any] = {"bsonType": "date"}
_WHOLE: dict[str, Any] = {"bsonType": ["int", "long"]}
_NUMBER: dict[str, Any] = {"bsonType": ["double", "int", "long"]}
_BOOL: dict[str, Any] = {"bsonType": "bool"}
_OBJECT: dict[str, Any] = {"bsonType": "object"}
#: Positions: a list, because origins contain dots, which are unsuitable in field names.
_POSITIONS: dict[str, Any] = {
    "bsonType": "array",
    "items": {
        "bsonType": "object",
        "required": ["origin", "number"],
        "properties": {"origin": _STRING, "number": _WHOLE},
        "additionalProperties": False,
    },
}

#: ``tenant:side:id``. Written by one process at a time, only where something has changed.
_NODES = object_schema(
    {
        "tenant": _STRING,
        "side": {"enum": ["consumer", "provider"]},
        "id": _STRING,
        "community": _STRING,
        "pagerank": _NUMBER,
        "degree": {**_WHOLE, "minimum": 1},
    }
)
#: One per tenant: what the last job has found, and who runs the next one until when.
_JOBS = object_schema(
    {"tenant": _STRING},
    {
        "owner": _STRING,
        "until": _DATE,
        "at": _DATE,
        "positions": _POSITIONS,
        "seconds": _NUMBER,
        "nodes": _WHOLE,
        "edges": _WHOLE,
        "modularity": _NUMBER,
        "communities": {"bsonType": "array", "items": _OBJECT},
    },
)
#: ``tenant:name:version``. ``live`` marks the one that answers.
_MODELS = object_schema(
    {
        "tenant": _STRING,
        "name": _STRING,
        "version": {**_WHOLE, "minimum": 1},
        "live": _BOOL,
        "learned": _DATE,
        "parameters": _OBJECT,
        "digest": _STRING,
        "evaluation": _OBJECT,
    },
)
_ITEM: dict[str, Any] = {
    "bsonType": "object",
    "required": ["id", "rank", "score"],
    "properties": {
        "id": _STRING,
        "rank": {**_WHOLE, "minimum": 1},
        "score": _NUMBER,
        #: The time of the first relation of the pair within the window, if there is one.
        "followed": _DATE,
    },
    "additionalProperties": False,
}
#: ``tenant:side:id:day:model``: a list that was shown. ``consumers`` are all who are in it, ``revision`` rises
#: with each change.
_OUTCOMES = object_schema(
    {
        "tenant": _STRING,
        "side": {"enum": ["consumer", "provider"]},
        "id": _STRING,
        "model": _STRING,
        "at": _DATE,
        "until": _DATE,
        "expires": _DATE,
        "as_of": {
            "bsonType": "object",
            "required": ["positions", "month", "beta", "half_life_months"],
            "properties": {
                "positions": _POSITIONS,
                "month": _STRING,
                "beta": _NUMBER,
                "half_life_months": {"bsonType": ["double", "int", "long", "null"]},
            },
            "additionalProperties": False,
        },
        "consumers": {"bsonType": "array", "items": _STRING},
        "items": {"bsonType": "array", "items": _ITEM},
        "revision": _WHOLE,
    }
)
COLLECTIONS: Collections = {
    GRAPH_NODES: CollectionSpec(
        _NODES,
        indexes=(
            (("tenant", 1), ("side", 1), ("pagerank", -1), ("_id", 1)),
            (("tenant", 1), ("side", 1), ("degree", -1), ("_id", 1)),
            (("tenant", 1), ("community", 1), ("pagerank", -1), ("_id", 1)),
        ),
    ),
    JOBS: CollectionSpec(_JOBS),
    MODELS: CollectionSpec(_MODELS),
    OUTCOMES: CollectionSpec(
        _OUTCOMES, indexes=((("tenant", 1), ("consumers", 1)), (("tenant", 1), ("at", 1))), expires="expires"
    ),
    FOLLOWERS: FOLLOWERS_SPEC,
}
