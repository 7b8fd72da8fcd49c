"""The embedded servers are the real ones: messages and transactions work, data outlives stop and kill."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from shared.contracts.errors import ConfigurationError
from shared.local.kafka import KafkaServer
from shared.local.kafka_security import client as client_of
from shared.local.mongo import MongoServer
from shared.local.processes import Process, ProcessFailed, free_ports, is_free
from shared.local.rabbitmq import find_rabbitmq
from shared.local.rabbitmq import server as rabbitmq
from shared.local.servers import Servers
from tests.conftest import Addresses
from tests.support.rabbitmq import missing
from tests.support.waiting import PATIENCE_SECONDS, Deadline

TOPIC = "greetings"


def create_topic(bootstrap: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(TOPIC, 1, 1)])
    admin.close()


def produce(bootstrap: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    producer.send(TOPIC, value).get(timeout=PATIENCE_SECONDS)
    producer.close()


def values(bootstrap: str, **options: str) -> list[bytes]:
    partition = TopicPartition(TOPIC, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", **options)
    consumer.assign([partition])
    end = consumer.end_offsets([partition])[partition]
    found: list[bytes] = []
    deadline = Deadline()
    while len(found) < end:
        deadline.check(f"only {len(found)} of {end} messages came")
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
        return [document["_id"] for document in client.test.names.find(max_time_ms=5_000).sort("_id")]


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


def anonymous(kafka: str, mongo: int) -> list[str]:
    """What a user without the password can do."""
    able = []
    direct = f"mongodb://127.0.0.1:{mongo}/?directConnection=true"
    with MongoClient[dict[str, Any]](direct) as client:
        for what, act in (
            ("read", lambda: client.test.names.find_one(max_time_ms=5_000)),
            ("write", lambda: client.test.names.insert_one({})),
            ("make a user", lambda: client.admin.command("createUser", "eve", pwd="eve", roles=["root"])),
        ):
            try:
                act()
                able.append(what)
            except OperationFailure:
                pass
    for name in (None, ("kith", "kith"), ("admin", "")):
        try:
            KafkaAdminClient(
                bootstrap_servers=kafka, bootstrap_timeout_ms=1000, **client_of("PLAIN", name)
            ).close()
            able.append(f"come to Kafka as {name}")
        except KafkaError:
            pass
    return able


def reached_from(processes: Iterable[Process]) -> set[str]:
    """The addresses on which processes, and their children, listen."""
    found = [psutil.Process(process.pid) for process in processes]
    return {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in [*found, *(child for each in found for child in each.children(recursive=True))]
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def test_rabbitmq_is_for_this_machine_and_its_cookie_is_no_guess(tmp_path: Path) -> None:
    try:
        find_rabbitmq()
    except ConfigurationError as error:
        missing(error)
    data, cookies = tmp_path / "data", []
    for _ in range(2):
        with rabbitmq(data, tmp_path / "log" / "rabbitmq.log") as server:
            # Other nodes' port, too: whoever has the cookie may run anything there.
            assert reached_from(server.processes) <= {"127.0.0.1", "::1"}
            cookies.append((data / ".erlang.cookie").read_text())
            assert (data / ".erlang.cookie").stat().st_mode & 0o077 == 0
    # Erlang's own are 20 capital letters.
    assert len(set(cookies)) == 2
    assert min(map(len, cookies)) > 40


def test_secured_servers_open_data_from_before_and_let_nobody_else_in(tmp_path: Path) -> None:
    ports = free_ports(4)
    kafka = KafkaServer(tmp_path / "kafka", ports[0], ports[1], tmp_path / "kafka.log")
    mongo = MongoServer(tmp_path / "mongo", ports[2], tmp_path / "mongo.log")
    for server in (kafka, mongo):
        server.launch()
    for server in (kafka, mongo):
        server.wait_ready()
    create_topic(kafka.bootstrap)
    produce(kafka.bootstrap, b"from before")
    add_in_transaction(mongo.uri, "ann")
    for server in (kafka, mongo):
        server.stop()
    passwords = set()
    # Each start makes its own password; the second one, of MongoDB alone, after a kill and on another port.
    with Servers(tmp_path, only={"mongo"}, secured=True) as servers:
        assert servers.mongo.login is not None
        passwords.add(servers.mongo.login[1])
        add_in_transaction(servers.mongo.uri, "ben")
        servers.mongo.kill()
    with Servers(tmp_path, secured=True) as servers:
        login = servers.kafka.login
        assert login is not None
        assert servers.mongo.login is not None
        passwords |= {login[1], servers.mongo.login[1]}
        add_in_transaction(servers.mongo.uri, "cem")
        assert "ann" in names(servers.mongo.uri)
        options = client_of("PLAIN", login)
        assert b"from before" in values(servers.kafka.bootstrap, **options)
        assert anonymous(servers.kafka.bootstrap, servers.mongo.port) == []
        assert reached_from(servers.processes) <= {"127.0.0.1"}
        # The controller's listener asks, too.
        controller = f"127.0.0.1:{servers.kafka.controller_port}"
        with pytest.raises(KafkaError):
            KafkaAdminClient(bootstrap_controllers=controller, bootstrap_timeout_ms=1000)
        lines = [Path(f"/proc/{process.pid}/cmdline").read_bytes().decode() for process in servers.processes]
        assert not any(password in line for password in passwords for line in lines)
        private = [path for path in tmp_path.rglob("*") if path.stat().st_mode & 0o077]
        assert not [path for path in private if (tmp_path / "mongo") not in path.parents], private
    assert len(passwords) == 3
    # And again without: the data is not bound to a password.
    mongo = MongoServer(tmp_path / "mongo", ports[3], tmp_path / "mongo.log")
    mongo.start()
    assert names(mongo.uri) == ["ann", "ben", "cem"]
    mongo.stop()


def test_a_temporary_folder_is_removed() -> None:
    with Servers(only={"mongo"}) as servers:
        data = servers.mongo.data
        assert data.exists()
    assert not data.parent.exists()


def test_kafka_keeps_its_data_over_a_kill_and_on_other_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of any name, whatever the locale."""
    monkeypatch.setenv("LC_ALL", "C")
    data = tmp_path / "Daten, für #1 = 東京"
    port, controller_port, port_2, controller_port_2 = free_ports(4)
    server = KafkaServer(data, port, controller_port, tmp_path / "kafka.log")
    server.start()
    create_topic(server.bootstrap)
    produce(server.bootstrap, b"first")
    server.kill()
    server = KafkaServer(data, port_2, controller_port_2, tmp_path / "kafka.log")
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
