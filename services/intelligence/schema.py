"""The collections of the intelligence service: validators and indexes. Data."""

from typing import Any

from shared.contracts.bson_types import DATE, STRING, WHOLE
from shared.contracts.collections import Collections, CollectionSpec, object_schema
from shared.erasure.derived import GRAPH_NODES, OUTCOMES
from shared.versions.followers import FOLLOWERS
from shared.versions.followers import SPEC as FOLLOWERS_SPEC

MODELS, JOBS = "models", "graph_jobs"

_NUMBER: dict[str, Any] = {"bsonType": ["double", "int", "long"]}
_BOOL: dict[str, Any] = {"bsonType": "bool"}
_OBJECT: dict[str, Any] = {"bsonType": "object"}
#: Positions: a list, because origins contain dots, which are unsuitable in field names.
_POSITIONS: dict[str, Any] = {
    "bsonType": "array",
    "items": {
        "bsonType": "object",
        "required": ["origin", "number"],
        "properties": {"origin": STRING, "number": WHOLE},
        "additionalProperties": False,
    },
}

#: ``tenant:side:id``. Written by one process at a time, only where something has changed.
_NODES = object_schema(
    {
        "tenant": STRING,
        "side": {"enum": ["consumer", "provider"]},
        "id": STRING,
        "community": STRING,
        "pagerank": _NUMBER,
        "degree": {**WHOLE, "minimum": 1},
    }
)
#: One per tenant: what the last job has found, and who runs the next one until when.
_JOBS = object_schema(
    {"tenant": STRING},
    {
        "owner": STRING,
        "until": DATE,
        "at": DATE,
        "positions": _POSITIONS,
        "seconds": _NUMBER,
        "nodes": WHOLE,
        "edges": WHOLE,
        "modularity": _NUMBER,
        "communities": {"bsonType": "array", "items": _OBJECT},
    },
)
#: ``tenant:name:version``. ``live`` marks the one that answers.
_MODELS = object_schema(
    {
        "tenant": STRING,
        "name": STRING,
        "version": {**WHOLE, "minimum": 1},
        "live": _BOOL,
        "learned": DATE,
        "parameters": _OBJECT,
        "digest": STRING,
        "evaluation": _OBJECT,
    },
)
_ITEM: dict[str, Any] = {
    "bsonType": "object",
    "required": ["id", "rank", "score"],
    "properties": {
        "id": STRING,
        "rank": {**WHOLE, "minimum": 1},
        "score": _NUMBER,
        #: The time of the first relation of the pair within the window, if there is one.
        "followed": DATE,
    },
    "additionalProperties": False,
}
#: ``tenant:side:id:day:model``: a list that was shown. ``consumers`` are all who are in it, ``revision`` rises
#: with each change.
_OUTCOMES = object_schema(
    {
        "tenant": STRING,
        "side": {"enum": ["consumer", "provider"]},
        "id": STRING,
        "model": STRING,
        "at": DATE,
        "until": DATE,
        "expires": DATE,
        "as_of": {
            "bsonType": "object",
            "required": ["positions", "month", "beta", "half_life_months"],
            "properties": {
                "positions": _POSITIONS,
                "month": STRING,
                "beta": _NUMBER,
                "half_life_months": {"bsonType": ["double", "int", "long", "null"]},
            },
            "additionalProperties": False,
        },
        "consumers": {"bsonType": "array", "items": STRING},
        "items": {"bsonType": "array", "items": _ITEM},
        "revision": WHOLE,
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
