"""A running system for a module: three service processes on the session's servers, with data of their own."""

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database

from services.cli.up import Stack
from shared.contracts.topics import Topics
from shared.mongo.store import connect
from shared.runtime.protocols import Document
from tests.conftest import Addresses, own_settings
from tests.support.end_to_end import running

#: Short slices make many places where a crash can strike.
SLICE_EVENTS = 100
#: All lists of recommendations are recorded, and what follows them counts for ten seconds.
OUTCOMES: dict[str, Any] = {"outcomes_share": 1.0, "outcomes_days": 10 / 86_400}


@pytest.fixture(scope="module")
def stack(servers: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with (
        own_settings(servers, slice_events=SLICE_EVENTS, **OUTCOMES) as settings,
        running(settings, folder) as stack,
    ):
        yield stack


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[Database[Document]]:
    assert stack.settings.mongo is not None
    with connect(stack.settings.mongo) as client:
        yield client[stack.settings.database]


@pytest.fixture(scope="module")
def topics(stack: Stack) -> Topics:
    return Topics(stack.settings.topic_prefix)
