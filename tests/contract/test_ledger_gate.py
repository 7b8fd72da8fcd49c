"""The gate on a real MongoDB: a database that is older than an erasure answers nothing until it is carried out."""

import time
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from services.relations.api import create_app
from services.relations.cache import QueryCache
from services.relations.queries import Queries
from shared.contracts.errors import Unavailable
from shared.erasure.gate import ErasureGate, destroy
from shared.erasure.records import KEYS, LedgerEntry
from shared.http.gating import add_gate
from tests.support.analytics_driver import get
from tests.support.builders import OPEN, STRENGTH, TOPICS, event, recorded
from tests.support.privacy_driver import Services
from tests.support.relations_driver import NOW, Mongo
from tests.support.waiting import Deadline

ERASE = event("consumer.erased", "x", "2026-03-01T00:00:00Z", {"consumer_id": "ann", "mode": "delete"})


@pytest.fixture
def services(mongo_database: Mongo) -> Services:
    world = Services(mongo_database)
    personal = {"consumer_id": "ann", "personal": {"name": "Ann"}}
    world.store([event("consumer.upserted", "crm", "2026-01-01T00:00:00Z", personal)])
    world.store([recorded("r", "2026-01-01T00:00:00Z", consumer_id="ann")])
    return world


class Opened:
    """The relations API behind a gate. While ``known`` is false, the ledger cannot be read."""

    def __init__(self, services: Services, entries: list[LedgerEntry], *, acting: bool = True) -> None:
        self.known = False
        self._entries = {entry.document_id: entry for entry in entries}
        database = services.database
        publisher = (lambda: services.memory.publisher) if acting else None
        self.gate = ErasureGate(database, str, self._read, publisher, TOPICS)
        queries = Queries(database, STRENGTH, QueryCache("off", 1))
        self.app: FastAPI = create_app(queries, STRENGTH, self.gate.problems, lambda: NOW, access=OPEN)
        add_gate(self.app, self.gate)
        self.gate.start()

    def _read(self) -> dict[str, LedgerEntry]:
        if not self.known:
            raise Unavailable("Kafka: away")
        return self._entries

    def status(self) -> int:
        return get(self.app, "/v1/relations", {"consumer_id": "ann"}).status_code

    def wait(self, condition: str) -> None:
        deadline = Deadline()
        while not any(condition in problem for problem in self.gate.problems() or ["open"]):
            deadline.check(f"{self.gate.problems()}, not {condition}")
            time.sleep(0.02)


@pytest.fixture
def entries(services: Services) -> list[LedgerEntry]:
    """What the ledger has of an erasure, after which the database is as it was before."""
    names = [name for name in services.database.list_collection_names() if name != "positions"]
    before = {name: list(services.database[name].find()) for name in names}
    services.store([ERASE])
    found = services.entries()
    for name in services.database.list_collection_names():
        if name != "positions":
            services.database[name].delete_many({})
            if before.get(name):
                services.database[name].insert_many(before[name])
    assert not services.database[KEYS].count_documents({})
    return found


@pytest.fixture
def opened(services: Services, entries: list[LedgerEntry]) -> Iterator[Opened]:
    found = Opened(services, entries)
    yield found
    found.gate.stop()


def test_nothing_is_answered_before_an_older_database_has_caught_up(services: Services, opened: Opened) -> None:
    assert opened.status() == 503
    assert get(opened.app, "/health/live").status_code == 200
    assert get(opened.app, "/health/ready").status_code == 503
    opened.known = True
    opened.wait("1 erasures")
    opened.gate.check()  # whoever folds may begin: the key is destroyed
    assert services.database[KEYS].find_one({"_id": "default:ann"}, {"_id": 0, "at": 0}) == {"destroyed": True}
    assert opened.status() == 503
    # The gate has asked for the erasure once more; the fold carries it out, as it did the first time.
    services.relate()
    opened.wait("open")
    assert opened.status() == 200
    assert get(opened.app, "/v1/relations", {"consumer_id": "ann"}).json()["items"] == []
    assert get(opened.app, "/v1/consumers/ann").json() == {"consumer_id": "ann", "erased": "delete"}


def test_a_database_that_knows_all_erasures_is_open_at_once(services: Services) -> None:
    services.store([ERASE])
    sent = len(services.memory.values("consumers"))
    found = Opened(services, services.entries())
    try:
        found.known = True
        found.wait("open")
        assert found.status() == 200
        assert len(services.memory.values("consumers")) == sent
    finally:
        found.gate.stop()


def test_keys_that_are_there_again_are_destroyed_again(mongo_database: Mongo) -> None:
    mongo_database[KEYS].insert_many(
        [{"_id": "a", "wrapped": b"x", "wrapping": 1}, {"_id": "b", "destroyed": True}]
    )
    assert destroy(mongo_database, ["a", "b", "c"]) == 2
    assert [sorted(each) for each in mongo_database[KEYS].find({}, {"at": 0}).sort("_id", 1)] == [
        ["_id", "destroyed"]
    ] * 3
    assert destroy(mongo_database, ["a", "b", "c"]) == 0


def test_a_service_that_only_reads_waits_for_another_to_catch_up(
    services: Services, entries: list[LedgerEntry], opened: Opened
) -> None:
    reader = Opened(services, entries, acting=False)
    try:
        services.database[KEYS].insert_one({"_id": "default:ann", "wrapped": b"", "wrapping": 1})
        reader.known = True
        reader.wait("has not been read")
        assert reader.status() == 503
        assert services.database[KEYS].count_documents({"destroyed": True}) == 0
        opened.known = True
        reader.wait("1 erasures")
        assert reader.status() == 503
        services.relate()
        reader.wait("open")
        assert reader.status() == 200
    finally:
        reader.gate.stop()


def test_a_dump_from_between_profile_and_facts_is_caught(services: Services) -> None:
    """The profile is erased, and the facts are still there: what the one partition has done says nothing of the
    other."""
    services.store([ERASE])
    [fact] = [{"_id": "default:ann:r9", "tenant": "default", "consumer_id": "ann", "relation_id": "r9"}]
    version = {"time": 0, "source": "shop", "id": "e"}
    services.database["relations"].insert_one({**fact, "retracted": True, "version": version})
    services.database["erased"].delete_many({})
    found = Opened(services, services.entries())
    try:
        found.known = True
        found.wait("1 erasures")
        assert found.status() == 503
        services.relate()
        found.wait("open")
        assert services.database["relations"].count_documents({"consumer_id": "ann"}) == 0
    finally:
        found.gate.stop()
