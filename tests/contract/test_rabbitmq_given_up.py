"""With KITH_RABBITMQ_OUT=off the bridge forgets how far changes have gone out, or erasures would wait for ever."""

from datetime import UTC, datetime, timedelta

from services.rabbitmq.given_up import GivenUp
from shared.observability.heartbeat import Heartbeat
from shared.sinks.waiting import Sinks
from shared.versions.progress import Mark
from tests.support.relations_driver import Mongo

MARKS: list[Mark] = [{"origin": "relations@1/kith.relations/0", "number": 7}]
POSITIONS = ["rabbitmq@1/kith.relation-changes/0", "rabbitmq@1/kith.consumer-changes/2", "postgres@1/kith.x/0"]


def test_no_erasure_waits_for_changes_that_never_go_out(mongo_database: Mongo) -> None:
    positions = mongo_database["positions"]
    positions.insert_many([{"_id": id, "epoch": 1, "next": 3} for id in POSITIONS])
    assert Sinks(mongo_database).lacking(MARKS) == ["rabbitmq", "postgres"]
    GivenUp(mongo_database)()
    assert [each["_id"] for each in positions.find()] == ["postgres@1/kith.x/0"]
    assert Sinks(mongo_database).lacking(MARKS) == ["postgres"]


def test_a_bridge_that_still_sends_them_keeps_its_positions(mongo_database: Mongo) -> None:
    positions = mongo_database["positions"]
    positions.insert_one({"_id": POSITIONS[0], "epoch": 1, "next": 3})
    Heartbeat(mongo_database, "rabbitmq", "one/1", dict).beat()
    give_up = GivenUp(mongo_database)
    give_up()
    assert positions.count_documents({}) == 1
    # It ended without a word.
    mongo_database["workers"].update_one({}, {"$set": {"at": datetime.now(UTC) - timedelta(minutes=1)}})
    give_up()
    assert positions.count_documents({}) == 0


def test_it_forgets_once_so_that_a_bridge_that_comes_later_keeps_its_own(mongo_database: Mongo) -> None:
    give_up = GivenUp(mongo_database)
    give_up()
    mongo_database["positions"].insert_one({"_id": POSITIONS[0], "epoch": 1, "next": 3})
    give_up()
    assert mongo_database["positions"].count_documents({}) == 1
