"""Databases in the session's MongoDB that are a test's or a module's own."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pymongo.database import Database

from shared.mongo.store import connect
from shared.runtime.protocols import Document

if TYPE_CHECKING:
    from tests.conftest import Addresses


def fresh_name() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@contextmanager
def fresh_databases(servers: "Addresses") -> Iterator[Callable[[], Database[Document]]]:
    """As many as are asked for, by one client. They are dropped at the end, whatever has happened."""
    with connect(servers.mongo) as client:
        names: list[str] = []

        def made() -> Database[Document]:
            names.append(fresh_name())
            return client[names[-1]]

        try:
            yield made
        finally:
            for name in names:
                client.drop_database(name)


@contextmanager
def fresh_database(servers: "Addresses") -> Iterator[Database[Document]]:
    with fresh_databases(servers) as made:
        yield made()
