"""Real servers for the whole session: given ones, containers, or the embedded ones. Never a skip."""

import gc
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pymongo.database import Database

from shared.cassandra.address import Address, parse
from shared.contracts.errors import ConfigurationError
from shared.contracts.services import SERVICES
from shared.kafka.topics_admin import ensure_topics
from shared.local.cassandra import CassandraServer
from shared.local.processes import free_ports
from shared.local.servers import Servers
from shared.mongo.store import connect
from shared.settings import Settings
from tests.support import java
from tests.support.databases import fresh_database, fresh_name

# A shared machine stalls now and then; neither is a slow example a failure, nor are slow draws.
hypothesis_settings.register_profile("kith", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# What CI says is about the change: the same code gets the same draws, on every machine. New ones are for everyone
# else, and a test that they make fail fails for who can look at it.
hypothesis_settings.register_profile("fixed", parent=hypothesis_settings.get_profile("kith"), derandomize=True)
hypothesis_settings.load_profile(os.environ.get("KITH_TEST_DRAWS", "kith"))

# What is imported and collected stays until the end. To look through it for garbage again and again was a fifth of
# the time of this process.
gc.set_threshold(20_000, 20, 20)

# No command of a test finds, or is found by, a stack that somebody has started on this machine.
os.environ.pop("KITH_CONTEXT", None)
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="kith-test-state-")

java.set_options()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Addresses:
    kafka: str
    mongo: str


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Kafka and MongoDB: the given ones (KITH_KAFKA, KITH_MONGO), else containers with
    KITH_TEST_SERVERS=docker, else the embedded ones."""
    kafka, mongo = os.environ.get("KITH_KAFKA"), os.environ.get("KITH_MONGO")
    if kafka and mongo:
        yield Addresses(kafka, mongo)
    elif os.environ.get("KITH_TEST_SERVERS") == "docker":
        from shared.local.containers import Containers

        with Containers() as containers:
            yield Addresses(containers.kafka.bootstrap, containers.mongo.uri)
    else:
        folder = Path(tmp_path_factory.mktemp("servers"))
        with ExitStack() as stop:
            with java.laid_ready(folder):
                embedded = stop.enter_context(Servers(folder))
            yield Addresses(embedded.kafka.bootstrap, embedded.mongo.uri)


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database in Postgres: that of KITH_POSTGRES, else of a server that is started here."""
    if given := os.environ.get("KITH_POSTGRES"):
        yield given
        return
    from shared.local.postgres import server

    folder = Path(tmp_path_factory.mktemp("postgres"))
    with server(folder / "data", folder / "log" / "postgres.log") as started:
        yield started.dsn


@pytest.fixture(scope="session")
def cassandra_address(request: pytest.FixtureRequest) -> Address:
    """A cluster: the given one (KITH_CASSANDRA), else a node that the session starts."""
    if given := os.environ.get("KITH_CASSANDRA"):
        return parse(given)
    return parse(request.getfixturevalue("cassandra_node").address)


@pytest.fixture(scope="session")
def cassandra_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraServer]:
    """A node that the session starts. Where its jars cannot be had, the test is skipped, except with
    KITH_TEST_CASSANDRA=required, as CI has it."""
    folder = Path(tmp_path_factory.mktemp("cassandra"))
    port, storage_port = free_ports(2)
    server = CassandraServer(folder / "data", port, storage_port, folder / "cassandra.log", secured=True)
    try:
        server.launch()
    except (ConfigurationError, ImportError) as error:
        if os.environ.get("KITH_TEST_CASSANDRA") == "required":
            raise
        pytest.skip(f"there is no Cassandra: {error}")
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture
def mongo_database(servers: Addresses) -> Iterator[Database[dict[str, Any]]]:
    """A database of its own, dropped at the end."""
    with fresh_database(servers) as database:
        yield database


@contextmanager
def own_settings(servers: Addresses, **more: Any) -> Iterator[Settings]:
    """Settings with a topic prefix, a group and a database of their own, two partitions, and for each service any
    free port. ``more`` is added to them. The database is dropped at the end; topics are not made."""
    name = fresh_name()
    ports = {f"{service}_port": 0 for service in SERVICES}
    own = {"topic_prefix": name, "group": name, "database": name, "partitions": 2, "session_timeout_ms": 6_000}
    try:
        yield Settings(**{"kafka": servers.kafka, "mongo": servers.mongo, **ports, **own, **more})
    finally:
        with connect(servers.mongo) as client:
            client.drop_database(name)


@pytest.fixture
def real_settings(servers: Addresses) -> Iterator[Settings]:
    """Settings of their own, with the topics created. Nothing is encrypted, for tests of other things."""
    with own_settings(servers, encryption="off") as settings:
        ensure_topics(settings)
        yield settings
