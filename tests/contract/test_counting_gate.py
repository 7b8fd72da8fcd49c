"""Analytics' gate on a real MongoDB: in the sums that it shows of a restored database nobody erased counts."""

from collections.abc import Iterator, Sequence

import pytest
from fastapi import FastAPI

from services.analytics.api import create_app
from services.analytics.queries import AnalyticsQueries
from shared.contracts.errors import Unavailable
from shared.contracts.events import document_id
from shared.erasure.derived import GRAPH_NODES, forget_all
from shared.erasure.followed_gate import FollowedGate
from shared.erasure.gate import with_facts
from shared.erasure.records import LedgerEntry
from shared.http.gating import add_gate
from shared.runtime.protocols import Document
from shared.versions.mongo_registry import MongoRegistry
from shared.versions.progress import caught_up
from tests.support.analytics_driver import get
from tests.support.builders import OPEN, event, recorded
from tests.support.privacy_driver import Services
from tests.support.relations_driver import Mongo
from tests.support.waiting import wait_for

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"


def erasure(mode: str) -> Document:
    return {"consumer_id": "ann", "mode": mode}


@pytest.fixture
def services(mongo_database: Mongo) -> Services:
    world = Services(mongo_database)
    for consumer in ("ann", "bob"):
        world.store([event("consumer.upserted", f"crm-{consumer}", EARLY, {"consumer_id": consumer})])
        world.store([recorded(f"e-{consumer}", EARLY, f"r-{consumer}", consumer_id=consumer)])
    return world


class Opened:
    """The report API behind its gate. While ``entries`` is None, the ledger cannot be read now; while it is
    ``broken``, never."""

    def __init__(self, database: Mongo) -> None:
        self.entries: Sequence[LedgerEntry] | None = None
        self.broken = False
        relations, analytics = MongoRegistry(database, "relations"), MongoRegistry(database, "analytics")
        self.gate = FollowedGate(
            database,
            str,
            self._read,
            relations,
            lambda marks: caught_up(database, analytics, marks),
            "the changes of the latest erasures are not counted yet",
        )
        self.app: FastAPI = create_app(AnalyticsQueries(database), self.gate.problems, access=OPEN)
        add_gate(self.app, self.gate)
        self.gate.start()

    def _read(self) -> dict[str, LedgerEntry]:
        if self.broken:
            raise PermissionError
        if self.entries is None:
            raise Unavailable("Kafka: away")
        return {entry.document_id: entry for entry in self.entries}

    def refuses(self, because: str) -> None:
        """Wait until it does for this reason."""
        wait_for(because, lambda: any(because in problem for problem in self.gate.problems()))
        for path in ("/v1/aggregates", "/v1/top", "/health/ready"):
            answer = get(self.app, path)
            assert (answer.status_code, because in answer.text) == (503, True), answer.text
        assert get(self.app, "/health/live").status_code == 200

    def counts(self) -> dict[str, int]:
        """Relations by consumer, once it answers."""
        wait_for("the gate", lambda: not self.gate.problems())
        found = get(self.app, "/v1/aggregates", {"by": "consumer", "from": "2026-01-01", "to": "2026-02-01"})
        assert found.status_code == 200, found.text
        return {item["key"]: item["count"] for item in found.json()["items"]}


@pytest.fixture
def opened(mongo_database: Mongo) -> Iterator[Opened]:
    found = Opened(mongo_database)
    yield found
    found.gate.stop()


def dump(database: Mongo) -> dict[str, list[Document]]:
    return {name: list(database[name].find()) for name in database.list_collection_names()}


def restore(services: Services, dumped: dict[str, list[Document]]) -> None:
    for name in services.database.list_collection_names():
        services.database[name].delete_many({})
        if dumped.get(name):
            services.database[name].insert_many(dumped[name])
    services.start_again()


def stored(database: Mongo) -> int:
    """What is counted of ann, as it lies in the database."""
    return sum(found["count"] for found in database["aggregates"].find({"by": "consumer", "key": "ann"}))


@pytest.mark.parametrize("mode", ["delete", "anonymise"])
def test_nothing_is_answered_before_the_erased_count_no_more(
    services: Services, opened: Opened, mode: str
) -> None:
    before = dump(services.database)
    services.store([event("consumer.erased", "x", LATE, erasure(mode))])
    assert stored(services.database) == 0
    restore(services, before)
    assert stored(services.database) == 1

    opened.refuses("has not been read yet")
    opened.entries = services.entries()
    opened.refuses("1 erasures are not carried out")
    # Relations have read on, from where the dump was, to the erasure; analytics has not.
    services.relate()
    assert stored(services.database) == 1
    opened.refuses("not counted yet")
    services.count()
    counts = opened.counts()
    assert "ann" not in counts
    assert counts["bob"] == 1
    assert len(counts) == (1 if mode == "delete" else 2)


def test_a_dump_from_between_the_two_is_no_exception(services: Services, opened: Opened) -> None:
    """Relations have erased, and analytics has not counted it: all that is missing is to be waited for."""
    services.store([event("consumer.erased", "x", LATE, erasure("delete"))], counted=False)
    restore(services, dump(services.database))
    assert stored(services.database) == 1
    opened.entries = services.entries()
    opened.refuses("not counted yet")
    services.count()
    assert opened.counts() == {"bob": 1}


def test_what_was_derived_of_the_erased_meanwhile_is_deleted_before_it_opens(services: Services) -> None:
    before = dump(services.database)
    services.store([event("consumer.erased", "x", LATE, erasure("delete"))])
    restore(services, before)
    figures, behind = services.database[GRAPH_NODES], ["behind"]
    gate = FollowedGate(
        services.database,
        str,
        lambda: {entry.document_id: entry for entry in services.entries()},
        MongoRegistry(services.database, "relations"),
        lambda _: not behind,
        "behind",
        lambda entries: forget_all(services.database, entries),
    )
    assert "not carried out" in gate.look()[0]
    # The graph of the restored relationships still holds her.
    figures.insert_many([{"_id": document_id("default", "consumer", id)} for id in ("ann", "bob")])
    services.relate()
    assert gate.look() == ["behind"]
    behind.clear()
    assert gate.look() == []
    assert [each["_id"] for each in figures.find()] == [document_id("default", "consumer", "bob")]


def test_it_is_open_at_once_where_nobody_is_erased(opened: Opened, services: Services) -> None:
    opened.entries = []
    assert opened.counts() == {"ann": 1, "bob": 1}
    assert services.entries() == []


def test_it_is_open_at_once_where_all_is_counted(services: Services) -> None:
    services.store([event("consumer.erased", "x", LATE, erasure("delete"))])
    again = Opened(services.database)
    try:
        again.entries = services.entries()
        assert again.counts() == {"bob": 1}
    finally:
        again.gate.stop()


def test_it_stays_closed_when_trying_again_does_not_help(services: Services, opened: Opened) -> None:
    opened.broken = True
    opened.refuses("see the log")
    opened.broken, opened.entries = False, []
    assert opened.gate.problems()
    assert services.entries() == []


def test_what_waits_for_its_facts(services: Services) -> None:
    """The marker alone is not enough: of a consumer with many facts it is there before the last one is gone."""
    services.store([event("consumer.erased", "x", LATE, erasure("delete"))])
    [entry] = services.entries()
    other = entry.model_copy(update={"consumer_id": "nobody"})

    def left() -> list[str]:
        return [one.consumer_id for one in with_facts(services.database, str, [entry, other])]

    assert left() == ["nobody"]
    [fact] = services.database["relations"].find({"consumer_id": "bob"})
    services.database["relations"].insert_one({**fact, "_id": "default:ann:r9", "consumer_id": "ann"})
    assert sorted(left()) == ["ann", "nobody"]
    services.database["relations"].delete_one({"_id": "default:ann:r9"})
    services.database["erased"].update_one({"_id": "default:ann"}, {"$set": {"mode": "anonymise"}})
    assert sorted(left()) == ["ann", "nobody"]
