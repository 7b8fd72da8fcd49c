"""The validators of the relations service's collections on a real MongoDB."""

import pytest
from pymongo.errors import WriteError

from shared.runtime.protocols import Document
from tests.support.builders import event, recorded
from tests.support.relations_driver import NOW, Mongo, MongoKith

MALFORMED: list[tuple[str, Document]] = [
    ("relations", {"$set": {"amount": 0.5}}),
    ("relations", {"$set": {"rating": "5"}}),
    ("relations", {"$set": {"time": "2026-01-01T00:00:00Z"}}),
    ("relations", {"$set": {"retracted": 1}}),
    ("relations", {"$set": {"version.time": NOW}}),
    ("relations", {"$set": {"version.more": 1}}),
    ("relations", {"$set": {"colour": "red"}}),
    ("relations", {"$set": {"traits": []}}),
    ("relations", {"$unset": {"version": 1}}),
    ("relations", {"$unset": {"consumer_id": 1}}),
    ("relationships", {"$set": {"count": 0}}),
    ("relationships", {"$set": {"count": 1.0}}),
    ("relationships", {"$set": {"score": 1}}),
    ("relationships", {"$set": {"score": None}}),
    ("relationships", {"$set": {"fingerprint": -1}}),
    ("relationships", {"$set": {"first": "2026-01-01"}}),
    ("relationships", {"$set": {"kinds.view.2026-01.count": 0}}),
    ("relationships", {"$set": {"kinds.view.2026-01.amount": {"EUR": 0.5}}}),
    ("relationships", {"$set": {"kinds.view.2026-01.more": 1}}),
    ("relationships", {"$set": {"kinds.view": 1}}),
    ("relationships", {"$unset": {"kinds": 1}}),
    ("consumers", {"$set": {"erased": "perhaps"}}),
    ("consumers", {"$set": {"personal": {"name": 1}}}),
    ("consumers", {"$set": {"consent": {"mail": "yes"}}}),
    ("consumers", {"$set": {"versions": {"traits": 1}}}),
    ("consumers", {"$set": {"versions": {"traits": {"time": 1, "source": "s"}}}}),
    ("consumers", {"$set": {"versions": [1]}}),
    ("consumers", {"$set": {"versions": [{"time": 1, "source": "s", "id": "e"}]}}),
    ("consumers", {"$set": {"versions": [{"time": 1, "source": "s", "id": "e", "fields": []}]}}),
    ("consumers", {"$set": {"versions": [{"time": 1, "source": "s", "id": "e", "fields": [1]}]}}),
    ("consumers", {"$set": {"versions.0.sequence": 7}}),
    ("consumers", {"$set": {"versions.0.more": 1}}),
    ("consumers", {"$set": {"versions": "x"}}),
    ("consumers", {"$unset": {"tenant": 1}}),
    ("consumers", {"$unset": {"versions": 1}}),
    ("providers", {"$set": {"closed": None}}),
    ("providers", {"$set": {"categories": "food"}}),
    ("providers", {"$set": {"name": 1}}),
    ("providers", {"$unset": {"versions": 1}}),
]


def test_validators_refuse_malformed_documents(mongo_database: Mongo) -> None:
    MongoKith(mongo_database).store(
        [
            recorded("e1", "2026-01-01T00:00:00Z"),
            event("consumer.upserted", "e2", NOW.isoformat(), {"consumer_id": "c1", "traits": {"n": 1}}),
            event("provider.upserted", "e3", NOW.isoformat(), {"provider_id": "p1"}),
        ]
    )
    for collection, change in MALFORMED:
        with pytest.raises(WriteError, match="Document failed validation"):
            mongo_database[collection].update_one({}, change)
    for collection in ("relations", "relationships", "consumers", "providers"):
        with pytest.raises(WriteError, match="Document failed validation"):
            mongo_database[collection].insert_one({"_id": "x"})


def test_profiles_of_an_earlier_version_are_still_valid(mongo_database: Mongo) -> None:
    """They are rewritten one by one: until then each part has one version."""
    MongoKith(mongo_database)
    version = {"time": 1, "source": "s", "id": "e"}
    consumer = {"tenant": "default", "consumer_id": "c1", "traits": {"n": None}}
    provider = {"tenant": "default", "provider_id": "p1", "name": "Café", "closed": False}
    for versions in ({}, {"traits": version}):
        mongo_database["consumers"].replace_one(
            {"_id": "default:c1"}, {**consumer, "versions": versions}, upsert=True
        )
    mongo_database["providers"].insert_one(
        {"_id": "x", **provider, "versions": {"name": version, "closed": version}}
    )
