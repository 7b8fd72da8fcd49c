"""The same servers, and RabbitMQ, as containers, by testcontainers: for machines with a Docker engine."""

import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from docker.errors import DockerException  # type: ignore[import-untyped]
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure
from testcontainers.core.container import DockerContainer

from shared.contracts.errors import ConfigurationError
from shared.local.mongo import REPLICA_SET, settle_replica_set
from shared.local.ports import require_free
from shared.local.processes import Process, replace_taken
from shared.local.rabbitmq import OWNER, login_problem
from shared.local.servers import BOTH, server_ports

KAFKA_IMAGE = "apache/kafka:4.3.0"
MONGO_IMAGE = "mongo:8.0"
RABBITMQ_IMAGE = "rabbitmq:4.1"
START_SECONDS = 120.0


@dataclass(frozen=True)
class KafkaAddress:
    bootstrap: str


@dataclass(frozen=True)
class MongoAddress:
    uri: str = field(repr=False)


class Containers:
    """Context manager with the ``kafka`` and ``mongo`` of ``Servers``; the data goes with the containers.

    The engine has to be this machine's: both servers tell their clients to come to 127.0.0.1.
    """

    def __init__(self, port_base: int | None = None, only: Collection[str] = BOTH) -> None:
        self._port_base = port_base
        self._only = only
        self._exit = ExitStack()
        self.kafka: KafkaAddress
        self.mongo: MongoAddress

    def __enter__(self) -> Self:
        base = self._port_base
        if base is not None:
            require_free(server_ports(base, self._only))
        kafka_port, mongo_port = replace_taken([0, 0] if base is None else [base, base + 2])
        self.kafka = KafkaAddress(f"127.0.0.1:{kafka_port}")
        self.mongo = MongoAddress(f"mongodb://127.0.0.1:{mongo_port}/?replicaSet={REPLICA_SET}")
        with ExitStack() as undo:
            try:
                if "mongo" in self._only:
                    undo.enter_context(_mongo(mongo_port))
                if "kafka" in self._only:
                    undo.enter_context(_kafka(kafka_port))
            except DockerException as error:
                raise ConfigurationError(f"Docker cannot start the servers: {error}") from error
            if "mongo" in self._only:
                _wait_for_mongo(mongo_port)
            if "kafka" in self._only:
                _wait_for_kafka(self.kafka.bootstrap)
            self._exit = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.__exit__(kind, error, traceback)

    @property
    def processes(self) -> list[Process]:
        """None of its own: the engine's processes are not this one's children."""
        return []


@contextmanager
def rabbitmq() -> Iterator[str]:
    """The address of a RabbitMQ, whose data goes with its container. Raises ConfigurationError."""
    port, password = replace_taken([0])[0], secrets.token_urlsafe()
    uri = f"amqp://{OWNER}:{password}@127.0.0.1:{port}/"
    container = _published(RABBITMQ_IMAGE, 5672, port)
    container = container.with_env("RABBITMQ_DEFAULT_USER", OWNER).with_env("RABBITMQ_DEFAULT_PASS", password)
    with ExitStack() as undo:
        try:
            undo.enter_context(container)
        except DockerException as error:
            raise ConfigurationError(f"Docker cannot start RabbitMQ: {error}") from error
        deadline = time.monotonic() + START_SECONDS
        while (missing := login_problem(uri)) is not None:
            if time.monotonic() > deadline:
                raise ConfigurationError(f"the container {RABBITMQ_IMAGE} is not ready: {missing}")
            time.sleep(0.2)
        yield uri


def _kafka(port: int) -> DockerContainer:
    # testcontainers' KafkaContainer starts by a script that only Confluent's images have. The image takes all
    # of its settings from the environment or none, so the usual ones are here too.
    container = _published(KAFKA_IMAGE, 9092, port)
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@localhost:9093",
        "controller.listener.names": "CONTROLLER",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
    }
    for key, value in settings.items():
        container = container.with_env("KAFKA_" + key.replace(".", "_").upper(), value)
    return container


def _mongo(port: int) -> DockerContainer:
    # On the published port inside too: a replica set's member needs one address that is right on both sides.
    container = _published(MONGO_IMAGE, port, port)
    return container.with_command(
        f"mongod --replSet {REPLICA_SET} --port {port} --setParameter transactionLifetimeLimitSeconds=15"
    )


def _published(image: str, inside: int, port: int) -> DockerContainer:
    container = DockerContainer(image)
    # Only on this machine: neither server asks for a password. Docker's library takes an address with the
    # port, but testcontainers' with_bind_ports does not, and would publish it to the whole network.
    container.ports[f"{inside}/tcp"] = ("127.0.0.1", port)  # type: ignore[assignment]
    return container


def _wait_for_kafka(bootstrap: str) -> None:
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=int(START_SECONDS * 1000))
    except KafkaError as error:
        raise ConfigurationError(f"the container {KAFKA_IMAGE} does not answer on {bootstrap}") from error
    admin.close()


def _wait_for_mongo(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    host = f"127.0.0.1:{port}"
    with MongoClient[dict[str, Any]](
        f"mongodb://{host}/?directConnection=true", serverSelectionTimeoutMS=500
    ) as client:
        while True:
            try:
                settle_replica_set(client, host)
                if client.admin.command("hello")["isWritablePrimary"]:
                    return
                missing = "it is not primary"
            except (ConnectionFailure, OperationFailure) as error:
                missing = str(error)
            if time.monotonic() > deadline:
                raise ConfigurationError(f"the container {MONGO_IMAGE} is not ready on {host}: {missing}")
            time.sleep(0.1)
