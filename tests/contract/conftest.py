"""What several contract tests share."""

from collections.abc import Iterator

import pytest

from shared.mongo.store import connect
from tests.conftest import Addresses
from tests.support.measures_world import World


@pytest.fixture(scope="session")
def world(servers: Addresses) -> Iterator[World]:
    """A market and both APIs over what the services have stored of it. Nobody writes into it."""
    with connect(servers.mongo) as client:
        database = client["test-measures"]
        client.drop_database(database.name)
        yield World(database)
        client.drop_database(database.name)
