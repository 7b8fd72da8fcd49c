"""Real servers that ask who comes: SASL/SCRAM with ACLs on Kafka, users with roles on MongoDB. Each service gets
the least that it needs, works with that, and can do no more."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError, TopicAuthorizationFailedError
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from services.cli.privileges import kafka_acls, mongo_roles
from shared.access.audit_mongo import MongoAuditLog
from shared.access.caller import SCOPES
from shared.access.keys import ApiKeys
from shared.access.keys_mongo import MongoKeys
from shared.access.verify import verify
from shared.local.kafka import KafkaServer
from shared.local.mongo import MongoServer
from shared.local.processes import free_ports
from shared.mongo_io import connect
from shared.protocols import Document
from shared.settings import Settings
from shared.topics import Topics
from shared.topics_admin import ensure_topics
from tests.measures_world import NOW

ROOT = Path(__file__).parents[2]
ADMIN = ("admin", "an administrator's p@ss:word")
SERVICES = ("ingest", "relations", "analytics", "privacy", "exports")
TOPICS = Topics("kith")
Login = tuple[str, str]


def login_of(service: str) -> Login:
    return f"kith-{service}", f"the password of {service}"


class Secured:
    """Both servers with a user for each service, and the services with these users."""

    def __init__(self, kafka: KafkaServer, mongo: MongoServer, folder: Path, stop: ExitStack) -> None:
        self.kafka, self.mongo, self._folder = kafka, mongo, folder
        self.addresses: dict[str, str] = {}
        self.settings = self.settings_of(ADMIN)
        ensure_topics(self.settings)
        self._allow()
        for service in SERVICES:
            self._start(service, stop)

    def settings_of(self, login: Login, mongo: Login | None = None, **more: Any) -> Settings:
        return Settings(
            kafka=self.kafka.bootstrap,
            kafka_security_protocol="SASL_PLAINTEXT",
            kafka_sasl_mechanism="SCRAM-SHA-512",
            kafka_username=login[0],
            kafka_password=login[1],
            mongo=self.mongo.uri_for(mongo or login),
            encryption="off",
            partitions=1,
            session_timeout_ms=6_000,
            **more,
        )

    def _allow(self) -> None:
        admin = KafkaAdminClient(**self.kafka.client(ADMIN))
        try:
            admin.alter_user_scram_credentials(
                [
                    UserScramCredentialUpsertion(*login_of(s)[:1], ScramMechanism.SCRAM_SHA_512, login_of(s)[1])
                    for s in SERVICES
                ]
            )
            admin.create_acls(
                [
                    ACL(
                        principal=f"User:{login_of(service)[0]}",
                        host="*",
                        operation=ACLOperation[operation],
                        permission_type=ACLPermissionType.ALLOW,
                        resource_pattern=ResourcePattern(ResourceType[acl.kind], acl.name),
                    )
                    for service, acls in kafka_acls(TOPICS, "kith").items()
                    for acl in acls
                    for operation in acl.operations
                ]
            )
        finally:
            admin.close()

    def _start(self, service: str, stop: ExitStack) -> None:
        [port] = free_ports(1)
        settings = self.settings_of(login_of(service), None, **{f"{service}_port": port})
        password = settings.kafka_password
        assert password is not None
        given = {
            f"KITH_{name.upper()}": str(getattr(settings, name))
            for name in settings.model_fields_set
            if name != "kafka_password"
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
        log = stop.enter_context((self._folder / f"{service}.log").open("wb"))
        process = stop.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", f"services.{service}"],
                stderr=log,
                cwd=ROOT,
                env={**clean, **given, "KITH_KAFKA_PASSWORD": password.get_secret_value()},
            )
        )
        stop.callback(process.kill)
        self.addresses[service] = f"http://127.0.0.1:{port}"

    def log(self, service: str) -> str:
        return (self._folder / f"{service}.log").read_text()

    def database_of(self, login: Login, stop: ExitStack) -> Any:
        return stop.enter_context(connect(self.mongo.uri_for(login)))[self.settings.database]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    kafka_port, controller_port, mongo_port = free_ports(3)
    kafka = KafkaServer(
        folder / "kafka", kafka_port, controller_port, folder / "kafka.log", heap="256m", login=ADMIN
    )
    with ExitStack() as stop:
        kafka.launch()
        stop.callback(kafka.stop)
        make_users(folder, mongo_port)
        keyfile = folder / "keyfile"
        keyfile.write_text("c2hhcmVkIGJ5IHRoZSBtZW1iZXJz")
        keyfile.chmod(0o600)
        secured = ("--auth", "--keyFile", str(keyfile))
        mongo = MongoServer(folder / "mongo", mongo_port, folder / "mongo.log", secured, 0.25, ADMIN)
        mongo.start()
        stop.callback(mongo.stop)
        kafka.wait_ready()
        yield Secured(kafka, mongo, folder, stop)


def make_users(folder: Path, port: int) -> None:
    """On a server that asks nobody yet: the administrator, and a user with a role for each service."""
    mongo = MongoServer(folder / "mongo", port, folder / "mongo-first.log", (), 0.25)
    mongo.start()
    try:
        with MongoClient[Document](mongo.uri) as client:
            client.admin.command("createUser", ADMIN[0], pwd=ADMIN[1], roles=["root"])
            for service, privileges in mongo_roles("kith").items():
                name, password = login_of(service)
                client["kith"].command("createRole", name, privileges=privileges, roles=[])
                roles = [{"role": name, "db": "kith"}]
                client.admin.command("createUser", name, pwd=password, roles=roles)
    finally:
        mongo.stop()


def wait_for(what: str, condition: Callable[[], object], logs: Callable[[], str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come: {logs()[-3000:]}"
        assert "not authorized" not in logs(), logs()[-3000:]
        time.sleep(0.1)


def test_the_services_work_with_the_least(secured: Secured) -> None:
    with ExitStack() as stop:
        database = secured.database_of(ADMIN, stop)
        _, key = ApiKeys(MongoKeys(database), lambda: NOW).create("default", "test", [*SCOPES])
        client = stop.enter_context(
            httpx.Client(headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30)
        )

        def status(service: str, path: str) -> int:
            try:
                return client.get(secured.addresses[service] + path).status_code
            except httpx.TransportError:
                return 0

        for service in SERVICES:
            ready = partial(status, service, "/health/ready")
            wait_for(service, lambda ready=ready: ready() == 200, partial(secured.log, service))  # type: ignore[misc]
        data = {"relation_id": "r1", "kind": "view", "consumer_id": "c1", "provider_id": "p1"}
        named = {"consumer_id": "c1", "personal": {"name": "Ann"}}
        events = [
            {"id": "e1", "type": "relation.recorded", "time": "2026-03-01T00:00:00Z", "data": data},
            {"id": "e2", "type": "consumer.upserted", "time": "2026-03-01T00:00:00Z", "data": named},
        ]
        answer = client.post(f"{secured.addresses['ingest']}/v1/events", json=events)
        assert (answer.status_code, answer.json()["accepted"]) == (202, 2), answer.text
        wait_for(
            "the relation",
            lambda: status("relations", "/v1/relationships/c1/p1") == 200,
            lambda: secured.log("relations"),
        )
        wait_for(
            "the consumer",
            lambda: status("relations", "/v1/consumers/c1") == 200,
            lambda: secured.log("relations"),
        )

        def counted() -> bool:
            found = client.get(f"{secured.addresses['analytics']}/v1/aggregates").json()
            return bool(found.get("items")) and found["items"][0]["count"] == 1

        wait_for("the aggregate", counted, lambda: secured.log("analytics"))
        found = verify(MongoAuditLog(database), {}, None)
        assert found.entries["default"] >= 1
        assert found.flaws == []
        wait_for("the topic", lambda: end(secured, TOPICS.name("audit")) >= 1, lambda: secured.log("relations"))
        for service in SERVICES:
            assert "not authorized" not in secured.log(service)
            assert "AuthorizationFailed" not in secured.log(service)


def end(secured: Secured, topic: str) -> int:
    reader = KafkaConsumer(**secured.kafka.client(ADMIN))
    try:
        return int(sum(reader.end_offsets([TopicPartition(topic, 0)]).values()))
    finally:
        reader.close()


FORBIDDEN: list[tuple[str, Callable[[Any], object]]] = [
    ("ingest", lambda d: d.consumers.find_one()),
    ("ingest", lambda d: d.positions.find_one()),
    ("ingest", lambda d: d.api_keys.insert_one({"_id": "mine"})),
    ("ingest", lambda d: d.audit.delete_many({})),
    ("relations", lambda d: d.audit.update_many({}, {"$set": {"who": "nobody"}})),
    ("relations", lambda d: d.audit.delete_many({})),
    ("relations", lambda d: d.audit.drop()),
    ("relations", lambda d: d.api_keys.update_many({}, {"$set": {"revoked": None}})),
    ("relations", lambda d: d.aggregates.find_one()),
    ("analytics", lambda d: d.consumers.find_one()),
    ("analytics", lambda d: d.relations.find_one()),
    ("analytics", lambda d: d.audit.delete_many({})),
    ("privacy", lambda d: d.consumers.delete_many({})),
    ("privacy", lambda d: d.audit.delete_many({})),
    ("exports", lambda d: d.relations.delete_many({})),
    ("exports", lambda d: d.audit.delete_many({})),
    ("analytics", lambda d: d.client["another"].things.find_one()),
]


@pytest.mark.parametrize(("service", "act"), FORBIDDEN)
def test_no_service_can_do_more_in_mongodb(secured: Secured, service: str, act: Callable[[Any], object]) -> None:
    with ExitStack() as stop, pytest.raises(OperationFailure) as caught:
        act(secured.database_of(login_of(service), stop))
    assert caught.value.code == 13, "Unauthorized"


def test_without_a_password_there_is_nothing(secured: Secured) -> None:
    with MongoClient[Document](secured.mongo.uri_for(None)) as client, pytest.raises(OperationFailure):
        client["kith"].api_keys.find_one()
    for login in (None, ("kith-ingest", "wrong")):
        with pytest.raises(KafkaError):
            KafkaAdminClient(**secured.kafka.client(login), bootstrap_timeout_ms=3_000).close()


@pytest.mark.parametrize(
    ("service", "topic"),
    [
        ("ingest", "relation-changes"),
        ("ingest", "dead-letters"),
        ("relations", "providers"),
        ("analytics", "relations"),
        ("analytics", "relation-changes"),
    ],
)
def test_no_service_can_write_where_it_has_no_business(secured: Secured, service: str, topic: str) -> None:
    publisher = KafkaProducer(**secured.kafka.client(login_of(service)), enable_idempotence=False)
    try:
        with pytest.raises(KafkaError, match=r"(?i)authoriz"):
            publisher.send(TOPICS.name(topic), b"x").get(timeout=20)
    finally:
        publisher.close(timeout=1)


@pytest.mark.parametrize(
    ("service", "topic"), [("ingest", "consumers"), ("analytics", "consumers"), ("exports", "relations")]
)
def test_no_service_can_read_where_it_has_no_business(secured: Secured, service: str, topic: str) -> None:
    publisher = KafkaProducer(**secured.kafka.client(ADMIN))
    publisher.send(TOPICS.name(topic), b"not for everyone").get(timeout=20)
    publisher.close()
    assert read(secured, ADMIN, topic)
    assert not read(secured, login_of(service), topic)


def read(secured: Secured, login: Login, topic: str) -> bool:
    """Whether a user gets anything of a topic."""
    reader = KafkaConsumer(**secured.kafka.client(login), auto_offset_reset="earliest")
    try:
        reader.assign([TopicPartition(TOPICS.name(topic), 0)])
        return bool(reader.poll(timeout_ms=5_000))
    except TopicAuthorizationFailedError:
        return False
    finally:
        reader.close()
