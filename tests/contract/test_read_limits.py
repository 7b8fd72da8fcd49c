"""Every read has a time limit that MongoDB enforces, and a read that nobody waits for is ended there."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from shared.contracts.errors import TooSlow
from shared.mongo.errors import translated
from shared.mongo.store import connect
from shared.runtime.interruption import Interrupted, Interruption
from tests.conftest import Addresses
from tests.support.waiting import wait_for

#: Adds up numbers for milliseconds at each document, for seconds in all. It has no JavaScript, as no read of Kith
#: has: a script that the limit interrupts may fail as interrupted rather than as too slow.
SLOW = {"$expr": {"$eq": ["none", {"$sum": {"$range": [0, {"$add": [200_000, "$n"]}]}}]}}

Stored = Database[dict[str, Any]]
READS: dict[str, Callable[[Stored], object]] = {
    "find": lambda database: list(database.things.find(SLOW)),
    "find_one": lambda database: database.things.find_one(SLOW),
    "of other options": lambda database: list(
        database.with_options(read_concern=ReadConcern("majority"))
        .get_collection("things")
        .with_options(read_concern=ReadConcern("local"))
        .find(SLOW)
    ),
    "aggregate": lambda database: list(database.things.aggregate([{"$match": SLOW}])),
    "count": lambda database: database.things.count_documents(SLOW),
    "distinct": lambda database: database.things.distinct("n", SLOW),
    "command": lambda database: list(database.cursor_command({"find": "things", "filter": SLOW})),
}


@pytest.fixture
def full(mongo_database: Stored) -> Stored:
    mongo_database.things.insert_many([{"n": n} for n in range(600)])
    return mongo_database


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_mongodb_ends_a_read_at_its_limit(
    servers: Addresses, full: Stored, read: Callable[[Stored], object]
) -> None:
    with connect(servers.mongo, 0.05) as client, pytest.raises(TooSlow), translated():
        read(client[full.name])


@pytest.mark.parametrize("name", ["find", "aggregate", "command"])
def test_a_read_whose_caller_has_gone_is_ended_on_the_server(full: Stored, name: str) -> None:
    work = Interruption(f"of-a-test-{name}")
    failed: list[BaseException] = []

    def run() -> None:
        with work.active():
            for read in (READS[name], READS["find_one"]):
                try:
                    read(full)
                except (PyMongoError, Interrupted) as error:
                    failed.append(error)

    def running() -> list[Any]:
        there: list[dict[str, Any]] = [{"$currentOp": {}}, {"$match": {"command.comment": work.tag}}]
        return list(full.client.admin.aggregate(there))

    thread = threading.Thread(target=run)
    thread.start()
    wait_for("the read on the server", running)
    work.interrupt()
    thread.join()
    wait_for("its end on the server", lambda: not running())
    killed, unsent = failed
    assert isinstance(killed, PyMongoError)
    assert isinstance(unsent, Interrupted)


@pytest.mark.parametrize("aggregated", [False, True])
def test_a_stream_ends_between_two_of_its_parts(full: Stored, aggregated: bool) -> None:
    work, things = Interruption("of-a-test-stream"), full.things
    with work.active():
        rows = things.aggregate([], batchSize=10) if aggregated else things.find({}, batch_size=10)
        with rows:
            next(rows)
            work.interrupt()
            with pytest.raises(Interrupted):
                list(rows)
