"""The embedded servers are the real ones: messages and transactions work, data outlives stop and kill."""

import time
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from pymongo import MongoClient

from shared.local.kafka import KafkaServer
from shared.local.mongo import MongoServer
from shared.local.processes import ProcessFailed, free_ports, is_free
from shared.local.servers import Servers
from tests.conftest import Addresses
from tests.support.waiting import PATIENCE_SECONDS

TOPIC = "greetings"


def create_topic(bootstrap: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(TOPIC, 1, 1)])
    admin.close()


def produce(bootstrap: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    producer.send(TOPIC, value).get(timeout=PATIENCE_SECONDS)
    producer.close()


def values(bootstrap: str) -> list[bytes]:
    partition = TopicPartition(TOPIC, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    found: list[bytes] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(found) < end:
        assert time.monotonic() < deadline, f"only {len(found)} of {end} messages came"
        found += [record.value for records in consumer.poll(1000).values() for record in records]
    consumer.close()
    return found


def add_in_transaction(uri: str, name: str) -> None:
    with (
        MongoClient[dict[str, Any]](uri) as client,
        client.start_session() as session,
        session.start_transaction(),
    ):
        client.test.names.insert_one({"_id": name}, session=session)
        client.test.log.insert_one({"added": name}, session=session)


def names(uri: str) -> list[str]:
    with MongoClient[dict[str, Any]](uri) as client:
        return [document["_id"] for document in client.test.names.find().sort("_id")]


def test_servers_side_by_side(tmp_path: Path) -> None:
    base = next(base for base in range(24_000, 32_000) if all(map(is_free, range(base, base + 3))))
    with Servers(tmp_path, base) as servers:
        assert servers.kafka.bootstrap == f"127.0.0.1:{base}"
        create_topic(servers.kafka.bootstrap)
        produce(servers.kafka.bootstrap, b"hello")
        assert values(servers.kafka.bootstrap) == [b"hello"]
        add_in_transaction(servers.mongo.uri, "ann")
        assert names(servers.mongo.uri) == ["ann"]
        processes = servers.processes
        assert all(process.running for process in processes)
    assert not any(process.running for process in processes)


def test_a_temporary_folder_is_removed() -> None:
    with Servers(only={"mongo"}) as servers:
        data = servers.mongo.data
        assert data.exists()
    assert not data.parent.exists()


def test_kafka_keeps_its_data_over_a_kill_and_on_other_ports(tmp_path: Path) -> None:
    port, controller_port, port_2, controller_port_2 = free_ports(4)
    server = KafkaServer(tmp_path / "kafka", port, controller_port, tmp_path / "kafka.log")
    server.start()
    create_topic(server.bootstrap)
    produce(server.bootstrap, b"first")
    server.kill()
    server = KafkaServer(tmp_path / "kafka", port_2, controller_port_2, tmp_path / "kafka.log")
    server.start()
    produce(server.bootstrap, b"second")
    assert values(server.bootstrap) == [b"first", b"second"]
    server.stop()


def test_kafka_with_a_property_it_refuses_says_why(tmp_path: Path) -> None:
    port, controller_port = free_ports(2)
    log = tmp_path / "kafka.log"
    server = KafkaServer(tmp_path / "kafka", port, controller_port, log, {"log.segment.bytes": "no"})
    with pytest.raises(ProcessFailed, match="Invalid value no"):
        server.start()
    server.stop()


def test_kafka_on_the_port_of_another(servers: Addresses, tmp_path: Path) -> None:
    port = int(servers.kafka.rpartition(":")[2])
    assert not is_free(port), "the tests' Kafka is on another machine"
    server = KafkaServer(tmp_path / "kafka", port, free_ports(1)[0], tmp_path / "kafka.log")
    with pytest.raises(ProcessFailed, match="Address already in use"):
        server.start()
    server.stop()


def test_mongo_keeps_its_data_over_a_kill_and_on_another_port(tmp_path: Path) -> None:
    port, port_2 = free_ports(2)
    server = MongoServer(tmp_path / "mongo", port, tmp_path / "mongo.log")
    server.start()
    add_in_transaction(server.uri, "ann")
    server.kill()
    server = MongoServer(tmp_path / "mongo", port_2, tmp_path / "mongo.log")
    server.start()
    add_in_transaction(server.uri, "ben")
    assert names(server.uri) == ["ann", "ben"]
    server.stop()


def test_mongo_with_further_arguments(tmp_path: Path) -> None:
    arguments = ("--setParameter", "enableTestCommands=1")
    server = MongoServer(tmp_path / "mongo", free_ports(1)[0], tmp_path / "mongo.log", arguments, 0.25)
    server.start()
    with MongoClient[dict[str, Any]](server.uri) as client:
        answer = client.admin.command("configureFailPoint", "failCommand", mode="off")
        assert answer["ok"] == 1
    server.stop()


def test_mongo_that_fails_says_why(tmp_path: Path) -> None:
    server = MongoServer(tmp_path / "mongo", free_ports(1)[0], tmp_path / "mongo.log", ("--no-such-flag",))
    with pytest.raises(ProcessFailed, match=r"MongoDB ended with status 2(.|\n)*no-such-flag"):
        server.start()
    server.stop()
