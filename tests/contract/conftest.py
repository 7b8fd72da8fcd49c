"""What several contract tests share.

``KITH_CONTRACT_PART=1/2`` runs half of the files, and ``2/2`` the others: the tests of a file share servers.
"""

from collections.abc import Hashable, Iterator

import pytest
from pymongo import monitoring

from tests.conftest import Addresses
from tests.support.databases import fresh_database
from tests.support.measures_world import World
from tests.support.parts import keep_part


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    keep_part("KITH_CONTRACT_PART", config, items, _together)


def _together(item: pytest.Item) -> Hashable:
    """The tests of a file share servers, and all that need Cassandra are one part's: its start takes half a minute
    of a processor."""
    return "cassandra" if item.path.name.startswith("test_cassandra_") else item.path


@pytest.fixture(scope="session")
def world(servers: Addresses) -> Iterator[World]:
    """A market and both APIs over what the services have stored of it. Nobody writes into it."""
    with fresh_database(servers) as database:
        yield World(database)


class UnlimitedReads(monitoring.CommandListener):
    """Notes every read of this process that lets MongoDB work for as long as it takes."""

    READS = frozenset({"find", "aggregate", "count", "distinct"})

    def __init__(self) -> None:
        self.found: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in self.READS and not event.command.get("maxTimeMS"):
            self.found.append(f"{event.command_name} of {event.command[event.command_name]}")

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to note."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to note."""


_unlimited = UnlimitedReads()
# For every client that is made from now on: those of the services that the tests run in this process, too.
monitoring.register(_unlimited)


@pytest.fixture(autouse=True)
def every_read_has_a_limit() -> Iterator[None]:
    """Fails the test during which MongoDB was read without a time limit."""
    _unlimited.found.clear()
    yield
    assert not _unlimited.found, f"read without maxTimeMS: {sorted(set(_unlimited.found))}"
