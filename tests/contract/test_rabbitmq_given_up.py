"""With KITH_RABBITMQ_OUT=off the bridge forgets how far changes have gone out, or erasures would wait for ever."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.errors import ConnectionFailure

from services.rabbitmq.given_up import LOOK_SECONDS, LOOKS, GivenUp
from shared.contracts.errors import Unavailable
from shared.observability.heartbeat import Heartbeat
from shared.sinks.waiting import Sinks
from shared.versions.progress import Mark
from tests.support.relations_driver import Mongo

MARKS: list[Mark] = [{"origin": "relations@1/kith.relations/0", "number": 7}]
POSITIONS = ["rabbitmq@1/kith.relation-changes/0", "rabbitmq@1/kith.consumer-changes/2", "postgres@1/kith.x/0"]


def test_no_erasure_waits_for_changes_that_never_go_out(mongo_database: Mongo) -> None:
    positions = mongo_database["positions"]
    # Before positions had a time.
    positions.insert_many([{"_id": id, "epoch": 1, "next": 3} for id in POSITIONS])
    assert Sinks(mongo_database).lacking(MARKS) == ["rabbitmq", "postgres"]
    give_up = GivenUp(mongo_database)
    for _ in range(LOOKS - 1):
        give_up()
    assert (LOOKS - 1) * LOOK_SECONDS == 600, "as docs/how-to/rabbitmq.md says"
    assert positions.count_documents({}) == 3
    give_up()
    assert [each["_id"] for each in positions.find()] == ["postgres@1/kith.x/0"]
    assert Sinks(mongo_database).lacking(MARKS) == ["postgres"]


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


def test_a_bridge_that_still_sends_them_keeps_its_positions(mongo_database: Mongo) -> None:
    positions = mongo_database["positions"]
    positions.insert_one({"_id": POSITIONS[0], "epoch": 1, "next": 3, "moved": ago(days=1)})
    Heartbeat(mongo_database, "rabbitmq", "one/1", dict).beat()
    give_up = GivenUp(mongo_database, 2)
    for _ in range(3):
        give_up()
    assert positions.count_documents({}) == 1
    # It ended without a word.
    mongo_database["workers"].update_one({}, {"$set": {"at": ago(minutes=1)}})
    give_up()
    assert positions.count_documents({}) == 1
    give_up()
    assert positions.count_documents({}) == 0


class Electing:
    """MongoDB while it has no primary."""

    def __getitem__(self, _: str) -> Any:
        raise ConnectionFailure("no primary")


def test_what_is_silent_with_mongodb_keeps_its_positions(mongo_database: Mongo) -> None:
    """While MongoDB elects, nobody's heart beats. The silence begins anew when it has not answered."""
    positions = mongo_database["positions"]
    positions.insert_one({"_id": POSITIONS[0], "epoch": 1, "next": 3})
    Heartbeat(mongo_database, "rabbitmq", "one/1", dict).beat()
    mongo_database["workers"].update_one({}, {"$set": {"at": ago(seconds=20)}})
    give_up = GivenUp(mongo_database, 3)
    for _ in range(3):
        give_up()
        give_up()
        give_up._database = Electing()  # type: ignore[assignment]
        with pytest.raises(Unavailable):
            give_up()
        give_up._database = mongo_database
    assert positions.count_documents({}) == 1
    # It beats again.
    give_up()
    give_up()
    Heartbeat(mongo_database, "rabbitmq", "one/1", dict).beat()
    give_up()
    mongo_database["workers"].delete_many({})
    give_up()
    assert positions.count_documents({}) == 1


def test_a_position_that_has_moved_lately_is_kept_without_a_heartbeat(mongo_database: Mongo) -> None:
    positions = mongo_database["positions"]
    positions.insert_one({"_id": POSITIONS[0], "epoch": 1, "next": 3, "moved": ago(minutes=9)})
    give_up = GivenUp(mongo_database, 1)
    give_up()
    assert positions.count_documents({}) == 1
    positions.update_one({}, {"$set": {"moved": ago(minutes=11)}})
    give_up()
    assert positions.count_documents({}) == 0


def test_it_forgets_once_so_that_a_bridge_that_comes_later_keeps_its_own(mongo_database: Mongo) -> None:
    give_up = GivenUp(mongo_database, 1)
    give_up()
    mongo_database["positions"].insert_one({"_id": POSITIONS[0], "epoch": 1, "next": 3})
    give_up()
    assert mongo_database["positions"].count_documents({}) == 1
