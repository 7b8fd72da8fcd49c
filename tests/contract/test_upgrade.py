"""An old worker and a new one beside each other, on a real MongoDB."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pymongo.database import Database

from services.relations.schema import COLLECTIONS
from shared.contracts.collections import CollectionSpec, object_schema
from shared.contracts.revision import FIRST, REVISION
from shared.mongo import store
from shared.mongo.store import is_incomplete, prepare, server_time
from shared.mongo.writes import PLAIN
from shared.observability.heartbeat import SILENT_SECONDS, WORKERS, Heartbeat
from shared.observability.worker_revisions import WorkerRevisions
from shared.runtime.protocols import Document


def test_the_lowest_revision_is_that_of_the_oldest_running_worker(mongo_database: Database[Document]) -> None:
    revisions = WorkerRevisions(mongo_database)
    assert revisions.lowest == FIRST, "nothing is known before the first look"
    revisions.look()
    assert revisions.lowest == REVISION, "no worker runs"

    new = Heartbeat(mongo_database, "relations", "host/2", dict)
    new.beat()
    revisions.look()
    assert revisions.lowest == REVISION

    # As the version before the revisions wrote it.
    now = server_time(mongo_database)
    old = {"_id": "relations/host/1", "service": "relations", "owner": "host/1", "latency": [], "at": now}
    mongo_database[WORKERS].insert_one(old)
    revisions.look()
    assert revisions.lowest == FIRST

    # It has stopped without a word, or another service's worker is the old one.
    mongo_database[WORKERS].update_one(
        {"_id": old["_id"]}, {"$set": {"at": now - timedelta(seconds=SILENT_SECONDS + 1)}}
    )
    mongo_database[WORKERS].insert_one({**old, "_id": "analytics/host/3", "service": "analytics"})
    revisions.look()
    assert revisions.lowest == REVISION


def validator_of(database: Database[Document], name: str) -> Document:
    [found] = database.list_collections(filter={"name": name})
    validator: Document = found["options"]["validator"]["$jsonSchema"]
    return validator


def test_an_old_worker_leaves_the_validators_of_a_newer_version(
    mongo_database: Database[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may start again at any time of an upgrade; the new worker's documents must still be accepted."""
    old = {"things": CollectionSpec(object_schema({"name": {"bsonType": "string"}}))}
    new = {
        "things": CollectionSpec(
            object_schema({"name": {"bsonType": "string"}}, {"colour": {"bsonType": "string"}})
        )
    }
    prepare(mongo_database, old)
    monkeypatch.setattr(store, "REVISION", REVISION + 1)
    prepare(mongo_database, new)
    monkeypatch.undo()
    prepare(mongo_database, old)
    mongo_database["things"].insert_one({"_id": "a", "name": "x", "colour": "red"})
    assert "colour" in validator_of(mongo_database, "things")["properties"]


def test_validators_from_before_revisions_are_replaced(mongo_database: Database[Document]) -> None:
    mongo_database.create_collection("consumers", validator={"$jsonSchema": {"required": ["nothing"]}})
    prepare(mongo_database, {"consumers": COLLECTIONS["consumers"]})
    assert validator_of(mongo_database, "consumers")["title"] == f"kith revision {REVISION}"


def test_documents_of_before_something_was_stored_stay_marked_until_they_are_rebuilt(
    mongo_database: Database[Document], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    of = {name: replace(PLAIN, validator=object_schema({})) for name in ("full", "empty")}
    later = {name: replace(spec, complete_since=REVISION) for name, spec in of.items()}
    monkeypatch.setattr(store, "REVISION", REVISION - 1)
    prepare(mongo_database, of)
    monkeypatch.undo()
    mongo_database["full"].insert_one({"_id": "a"})
    for _ in range(2):
        prepare(mongo_database, {**later, "full@2": later["full"]})
        marked = {each["name"] for each in mongo_database.list_collections() if is_incomplete(each["options"])}
        assert marked == {"full"}
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "full: holds documents of an earlier version of Kith, which are complete only after kith rebuild"
    ]
