"""`kith status` on real servers."""

from contextlib import ExitStack, closing
from datetime import timedelta
from functools import partial
from unittest.mock import patch

import pytest
from kafka import KafkaProducer
from pymongo.database import Database

from services.demo.lag import LagReader
from services.ingest.congestion import TenantRate, WorkersBehind
from shared.contracts.revision import REVISION
from shared.kafka.python_client.reader import connection
from shared.mongo.store import connect
from shared.observability.abandoned import AbandonedPartitions
from shared.observability.heartbeat import WORKERS, Heartbeat
from shared.observability.status import Latency
from shared.runtime.protocols import Document
from shared.settings import Settings
from shared.versions.generations import Generations
from shared.versions.mongo_registry import MongoRegistry
from tests.support.status import read_status
from tests.support.waiting import wait_for


@pytest.fixture
def heartbeat(mongo_database: Database[Document]) -> Heartbeat:
    return Heartbeat(mongo_database, "relations", "host/1", lambda: {0: 3, 24: 1})


def test_a_sign_of_life_says_who_and_how_long(heartbeat: Heartbeat, mongo_database: Database[Document]) -> None:
    heartbeat.beat()
    heartbeat.beat()
    [found] = mongo_database[WORKERS].find()
    del found["at"]
    latency = [{"size": 0, "count": 3}, {"size": 24, "count": 1}]
    own = {"_id": "relations/host/1", "service": "relations", "owner": "host/1", "schema": REVISION, "behind": 0}
    assert found == {**own, "latency": latency}


def test_a_worker_says_how_far_it_is_behind_until_it_is_not(mongo_database: Database[Document]) -> None:
    behind = [0.0, 1.2344, 0.0, 0.0]
    heartbeat = Heartbeat(mongo_database, "relations", "host/1", dict, behind=lambda: behind.pop(0))
    heartbeat.beat()
    said = []
    with patch.object(heartbeat._workers, "update_one", wraps=heartbeat._workers.update_one) as update:
        while behind:
            heartbeat.say_behind()
            said.append(mongo_database[WORKERS].find_one({}, {"_id": 0, "behind": 1}))
        assert said == [{"behind": 1.234}, {"behind": 0.0}, {"behind": 0.0}]
        assert update.call_count == 2, "a worker that is not behind need not say so again and again"


def test_the_door_knows_the_worker_that_is_most_behind(mongo_database: Database[Document]) -> None:
    workers = WorkersBehind(mongo_database, TenantRate(0.15))
    assert workers.look() == 0.0
    for service, seconds in (("relations", 1.5), ("analytics", 2.5), ("postgres", 9.0)):
        Heartbeat(mongo_database, service, "host/1", dict, behind=lambda seconds=seconds: seconds).beat()  # type: ignore[misc]
    assert workers.look() == 2.5
    # Of a version that does not say so, and of one that has ended without a word.
    mongo_database[WORKERS].update_one({"_id": "analytics/host/1"}, {"$unset": {"behind": ""}})
    assert workers.look() == 1.5
    [found] = mongo_database[WORKERS].find({"service": "relations"})
    mongo_database[WORKERS].update_one(
        {"_id": found["_id"]}, {"$set": {"at": found["at"] - timedelta(seconds=11)}}
    )
    assert workers.look() == 0.0


def test_those_long_gone_are_forgotten(heartbeat: Heartbeat, mongo_database: Database[Document]) -> None:
    heartbeat.beat()
    [own] = mongo_database[WORKERS].find()
    for hours in (23, 25):
        mongo_database[WORKERS].insert_one({**own, "_id": str(hours), "at": own["at"] - timedelta(hours=hours)})
    heartbeat.beat()
    assert {found["_id"] for found in mongo_database[WORKERS].find()} == {"relations/host/1", "23"}


def test_the_sign_goes_with_the_worker(heartbeat: Heartbeat, mongo_database: Database[Document]) -> None:
    heartbeat.start()
    wait_for("the sign", lambda: mongo_database[WORKERS].count_documents({}))
    heartbeat.stop()
    assert mongo_database[WORKERS].count_documents({}) == 0


def test_the_end_does_not_wait_for_a_database_that_is_away() -> None:
    with connect("mongodb://127.0.0.1:1/?replicaSet=none") as client:
        heartbeat = Heartbeat(client["none"], "relations", "host/1", dict)
        heartbeat.start()
        heartbeat.stop()


def test_a_partition_whose_worker_has_ended_is_missed(mongo_database: Database[Document]) -> None:
    now = 0.0
    abandoned = AbandonedPartitions(mongo_database, "relations", ["kith.relations"], lambda: 2, 30.0, lambda: now)
    owners = {
        "relations@2/kith.relations/0": "host/1",
        "relations@2/kith.relations/1": "host/2",
        # Of a version that is not live, of another service, and of a topic that is not read any more.
        "relations@1/kith.relations/2": "host/2",
        "relations@20/kith.relations/2": "host/2",
        "analytics@2/kith.relations/2": "host/2",
        "relations@2/old.relations/2": "host/2",
    }
    mongo_database["positions"].insert_many({"_id": id, "owner": owner} for id, owner in owners.items())
    Heartbeat(mongo_database, "relations", "host/1", dict, abandoned.look).beat()
    # Another service's sign of life says nothing about this one's.
    Heartbeat(mongo_database, "analytics", "host/2", dict).beat()
    abandoned.look()
    assert abandoned.problems() == []
    now = 31.0
    abandoned.look()
    assert abandoned.problems() == ["no worker has read kith.relations/1 for 31 s, since its last one ended"]
    mongo_database[WORKERS].update_one(
        {"service": "relations"}, [{"$set": {"at": {"$subtract": ["$at", 60_000]}}}]
    )
    abandoned.look()
    now = 62.0
    assert len(abandoned.problems()) == 2
    Heartbeat(mongo_database, "relations", "host/2", dict).beat()
    Heartbeat(mongo_database, "relations", "host/1", dict).beat()
    abandoned.look()
    assert abandoned.problems() == []


def test_closed_dead_letters_are_not_open(real_settings: Settings) -> None:
    assert real_settings.mongo is not None
    with connect(real_settings.mongo) as client:
        database = client[real_settings.database]
        Heartbeat(database, "analytics", "host/2", lambda: {0: 1}).beat()
        now = database[WORKERS].find_one({}, {"at": 1})
        assert now is not None
        database["dead_letters"].insert_many(
            [
                {"reason": "invalid"},
                {"reason": "invalid"},
                {"reason": "not_json"},
                {"reason": "not_json", "replayed_at": now["at"]},
                {"reason": "empty", "discarded_at": now["at"]},
            ]
        )
        status = read_status(real_settings, database)
    assert status.dead_letters == {"invalid": 2, "not_json": 1}
    assert status.closed_letters == 2
    assert status.latency["analytics"] == Latency(1.0, 1.0, 1)
    assert [(w.service, w.owner, w.alive) for w in status.workers if w.alive] == [("analytics", "host/2", True)]


def test_it_looks_at_the_version_that_is_live(real_settings: Settings) -> None:
    assert real_settings.mongo is not None
    topic = f"{real_settings.topic_prefix}.relations"
    with connect(real_settings.mongo) as client:
        database = client[real_settings.database]
        for version, owner in ((1, "old"), (2, "new")):
            database["positions"].insert_one({"_id": f"relations@{version}/{topic}/0", "next": 0, "owner": owner})
            name = "relations" if version == 1 else f"relations@{version}"
            database[name].insert_many([{} for _ in range(version)])
        before = read_status(real_settings, database)
        assert MongoRegistry(database, "relations").replace(Generations(), Generations(live=2, last=2))
        after = read_status(real_settings, database)
    owners = [{p.owner for p in s.partitions if p.topic == topic and p.partition == 0} for s in (before, after)]
    assert owners == [{"old"}, {"new"}]
    assert (before.documents["relations"], after.documents["relations"]) == (1, 2)


def _has_lag(settings: Settings, database: Database[Document], expected: int) -> bool:
    return read_status(settings, database).lag["relations"] == expected


def test_markers_of_transactions_are_no_lag_in_status_or_the_demo(real_settings: Settings) -> None:
    assert real_settings.mongo is not None
    topic = f"{real_settings.topic_prefix}.relations"
    with closing(KafkaProducer(**connection(real_settings), transactional_id=topic)) as producer:
        producer.init_transactions()
        for end in (producer.commit_transaction, producer.abort_transaction):
            producer.begin_transaction()
            producer.send(topic, b"one", partition=0)
            producer.flush()  # what is aborted before it was sent leaves nothing
            end()
    with connect(real_settings.mongo) as client, ExitStack() as held:
        database = client[real_settings.database]
        gauge = held.enter_context(closing(LagReader(real_settings, database)))
        for position, expected in ((None, 4), (0, 4), (1, 0)):
            if position is not None:
                database["positions"].replace_one(
                    {"_id": f"relations@1/{topic}/0"}, {"next": position, "owner": "one"}, upsert=True
                )
            # The markers are written after the producer has been answered.
            wait_for(f"a lag of {expected}", partial(_has_lag, real_settings, database, expected))
            assert gauge.lag().of("relations") == expected


def test_ids_not_in_nfc_are_those_of_the_live_version(real_settings: Settings) -> None:
    assert real_settings.mongo is not None
    with connect(real_settings.mongo) as client:
        database = client[real_settings.database]
        database["findings"].insert_many(
            [
                {"_id": "spelling/relations", "count": 3},
                {"_id": "spelling/consumers", "count": 0},
                {"_id": "spelling/relations@2", "count": 5},
                {"_id": "plaintext/kith.consumers", "count": 7},
            ]
        )
        found = read_status(real_settings, database)
        assert (found.not_in_nfc, found.plaintext) == ({"relations": 3}, {"kith.consumers": 7})
        registry = MongoRegistry(database, "relations")
        registry.replace(registry.read(), Generations(live=2, last=2))
        assert read_status(real_settings, database).not_in_nfc == {"relations": 5}
