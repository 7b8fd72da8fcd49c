"""`kith explain` on real servers: how it reads the log and the documents."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kafka import KafkaProducer
from pymongo.database import Database

from services.explain.find import Asked, Needles, Subject
from services.explain.log import LogScan
from services.explain.store import ExplainStore
from shared.contracts.topics import Topics
from shared.kafka.python_client.reader import connection
from shared.runtime.protocols import Document, Message, Partition
from shared.settings import Settings
from shared.versions.generations import Generations
from shared.versions.mongo_registry import MongoRegistry
from tests.support.builders import TOPICS, event, recorded
from tests.support.relations_driver import MongoKith

START = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def topic(real_settings: Settings) -> str:
    """A topic with a message a minute in partition 0 (0 to 9), and one in partition 1."""
    name = Topics(real_settings.topic_prefix).name("relations")
    producer = KafkaProducer(**connection(real_settings), metrics_enabled=False)
    try:
        for minute in range(10):
            stamp = int((START + timedelta(minutes=minute)).timestamp() * 1000)
            producer.send(name, b"value %d" % minute, None, [("h", b"x")], 0, stamp)
        producer.send(name, b"value 9", None, [], 1, int(START.timestamp() * 1000))
        producer.flush(30)
    finally:
        producer.close()
    return name


@pytest.fixture
def scan(real_settings: Settings) -> Iterator[LogScan]:
    with LogScan(real_settings) as scan:
        yield scan


def found(scan: LogScan, topic: str, text: str, **bounds: Any) -> list[tuple[int, int]]:
    records = scan.read(scan.bounds([topic], **bounds), Needles([text]).may_be_in)
    return [(record.partition.number, record.offset) for record in records]


def test_a_scan_finds_what_it_looks_for_in_all_partitions(scan: LogScan, topic: str) -> None:
    assert found(scan, topic, "value 9") == [(0, 9), (1, 0)]
    assert scan.messages == 11
    # And again, for partitions are paused at their end.
    assert found(scan, topic, "value") == [*((0, n) for n in range(10)), (1, 0)]
    [record] = scan.read({Partition(topic, 0): (4, 5)}, lambda _: True)
    assert record.value == b"value 4"
    assert record.headers == (("h", b"x"),)
    assert record.timestamp == int((START + timedelta(minutes=4)).timestamp() * 1000)


def test_a_scan_is_bounded_by_the_times_of_arrival(scan: LogScan, topic: str) -> None:
    since, until = START + timedelta(minutes=3), START + timedelta(minutes=5)
    assert found(scan, topic, "value", since=since, until=until) == [(0, 3), (0, 4)]
    assert found(scan, topic, "value", since=since) == [(0, n) for n in range(3, 10)]
    assert found(scan, topic, "value", until=until) == [*((0, n) for n in range(5)), (1, 0)]
    assert found(scan, topic, "value", since=START + timedelta(days=1)) == []
    assert found(scan, topic, "value", until=START) == []


def test_a_scan_tells_how_far_it_is(real_settings: Settings, topic: str) -> None:
    told: list[tuple[int, int]] = []
    with LogScan(real_settings, lambda done, whole: told.append((done, whole))) as scan:
        found(scan, topic, "nothing")
    assert told[-1] == (11, 11)


@pytest.fixture
def kith(mongo_database: Database[Document]) -> MongoKith:
    kith = MongoKith(mongo_database)
    kith.store(
        [
            recorded("fact", "2026-11-01T10:00:00Z"),
            event(
                "consumer.upserted", "profile", "2026-11-01T10:00:00Z", {"consumer_id": "c2", "traits": {"n": 1}}
            ),
            event("provider.closed", "closed", "2026-11-01T10:00:00Z", {"provider_id": "p2"}, tenant="acme"),
        ]
    )
    return kith


def test_stored_documents_name_their_events(kith: MongoKith, mongo_database: Database[Document]) -> None:
    assert kith
    store = ExplainStore(mongo_database, TOPICS)
    assert store.subjects(Asked("fact")) == {"relations": {Subject("default", "consumer_id", "c1")}}
    assert store.subjects(Asked("profile")) == {"consumers": {Subject("default", "consumer_id", "c2")}}
    assert store.subjects(Asked("closed")) == {"providers": {Subject("acme", "provider_id", "p2")}}
    assert store.subjects(Asked("closed", tenant="default")) == {}
    assert store.subjects(Asked("fact", source="other")) == {}
    assert store.subjects(Asked("nothing")) == {}


def test_profiles_of_an_earlier_version_name_their_events(
    kith: MongoKith, mongo_database: Database[Document]
) -> None:
    assert kith
    version = {"time": 1, "source": "shop", "id": "earlier"}
    mongo_database["consumers"].update_one({}, {"$set": {"versions": {"traits": version}}})
    mongo_database["providers"].update_one({}, {"$set": {"versions": {"closed": version}}})
    assert ExplainStore(mongo_database, TOPICS).subjects(Asked("earlier")) == {
        "consumers": {Subject("default", "consumer_id", "c2")},
        "providers": {Subject("acme", "provider_id", "p2")},
    }


def test_positions_and_documents_are_of_one_moment(kith: MongoKith, mongo_database: Database[Document]) -> None:
    stored = ExplainStore(mongo_database, TOPICS).stored({"relations": ["default:c1:r1", "default:c1:none"]})
    assert list(stored.documents["relations"]) == ["default:c1:r1"]
    assert stored.documents["relations"]["default:c1:r1"]["version"]["id"] == "fact"
    ends = {p: kith.memory.log.end(p) for p in kith.memory.inputs if kith.memory.log.end(p)}
    assert stored.positions == ends


def test_dead_letters_are_found_by_the_id_of_their_event(
    kith: MongoKith, mongo_database: Database[Document]
) -> None:
    bad = json.dumps({"id": "bad", "source": "shop", "data": {"consumer_id": "c1"}}).encode()
    sent = kith.memory.log.append(Message("kith.relations", b"default:c1", bad, headers=(("a", b"b"),)))
    kith.store([])
    store = ExplainStore(mongo_database, TOPICS)
    assert store.letters_of(Asked("bad")) == [sent]
    id = f"{sent.partition}/{sent.offset}"
    letters = store.letters([id, "kith.relations/9/9"])
    assert list(letters) == [id]
    assert "value" not in letters[id]


def test_the_version_that_is_live_is_looked_at(kith: MongoKith, mongo_database: Database[Document]) -> None:
    ends = {p: kith.memory.log.end(p) for p in kith.memory.inputs if kith.memory.log.end(p)}
    mongo_database["relations"].rename("relations@2")
    for position in list(mongo_database["positions"].find()):
        mongo_database["positions"].delete_one({"_id": position["_id"]})
        mongo_database["positions"].insert_one({**position, "_id": position["_id"].replace("@1/", "@2/")})
    store = ExplainStore(mongo_database, TOPICS)
    assert store.subjects(Asked("fact")) == {}
    assert store.stored({}).positions == {}
    assert MongoRegistry(mongo_database, "relations").replace(Generations(), Generations(live=2, last=2))
    assert store.subjects(Asked("fact")) == {"relations": {Subject("default", "consumer_id", "c1")}}
    stored = store.stored({"relations": ["default:c1:r1"]})
    assert (list(stored.documents["relations"]), stored.positions) == (["default:c1:r1"], ends)
