"""A running system for a module: three service processes on the session's servers, with data of their own."""

import uuid
from collections.abc import Iterator

import pytest
from pymongo.database import Database

from services.cli.up import Stack
from shared.mongo_io import connect
from shared.protocols import Document
from shared.settings import Settings
from shared.topics import Topics
from tests.conftest import Addresses
from tests.e2e.support import running

#: Short slices make many places where a crash can strike.
SLICE_EVENTS = 100


@pytest.fixture(scope="module")
def stack(servers: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    name = f"e2e-{uuid.uuid4().hex[:12]}"
    settings = Settings(
        kafka=servers.kafka,
        mongo=servers.mongo,
        topic_prefix=name,
        group=name,
        database=name,
        partitions=2,
        slice_events=SLICE_EVENTS,
        session_timeout_ms=6_000,
        ingest_port=0,
        relations_port=0,
        analytics_port=0,
        privacy_port=0,
        exports_port=0,
    )
    with running(settings, tmp_path_factory.mktemp("stack")) as stack:
        yield stack
    with connect(servers.mongo) as client:
        client.drop_database(name)


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[Database[Document]]:
    assert stack.settings.mongo is not None
    with connect(stack.settings.mongo) as client:
        yield client[stack.settings.database]


@pytest.fixture(scope="module")
def topics(stack: Stack) -> Topics:
    return Topics(stack.settings.topic_prefix)
