"""A primary is cut off from the other members, and clients still reach it and believe that it leads."""

import uuid
from pathlib import Path

import pymongo
import pytest
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from shared.local.clusters import MongoCluster
from shared.local.mongo import MongoServer
from tests.fault.conftest import start_three
from tests.fault.load import market_items
from tests.fault.nodes import direct, nodes_of
from tests.fault.nodes import primary as primary_of
from tests.fault.partition import cut_off, missing
from tests.fault.system import System
from tests.support.waiting import wait_for

SEED = 83


def leads(node: MongoServer) -> bool:
    with direct(node) as client:
        return bool(client.admin.command("hello")["isWritablePrimary"])


def test_the_old_primary_acknowledges_nothing_and_nothing_is_lost(kafka_client: str, tmp_path: Path) -> None:
    if (why := missing()) is not None:
        pytest.skip(why)
    name = f"cut-{uuid.uuid4().hex[:10]}"
    with (
        start_three(tmp_path / "three", numbered=True) as three,
        System(three.kafka, three.mongo, tmp_path, name, kafka_client=kafka_client) as system,
    ):
        assert isinstance(three.mongo, MongoCluster)
        system.start_all()
        load = system.load(market_items(100_000, SEED), rate=100)
        system.wait_stored(100)
        old = primary_of(three.mongo)
        others = [node for node in nodes_of(three.mongo) if node is not old]
        with cut_off(old, others), direct(old) as client:
            mine = client[name]["alone"]
            assert leads(old), "nobody would have believed it"
            # It takes what one member is enough for, and may acknowledge nothing that a majority must have.
            mine.with_options(write_concern=WriteConcern(1)).insert_one({"_id": "taken"})
            durable = mine.with_options(write_concern=WriteConcern("majority", wtimeout=1_000))
            with pytest.raises(PyMongoError):
                durable.insert_one({"_id": "durable"})
            system.wait("another primary", lambda: any(leads(node) for node in others))
            system.wait("the end of the old one", lambda: not leads(old))
            system.wait_stored(200)
        three.mongo.wait_ready()
        load.cut()
        system.verify()
        # What it had alone is gone from it, too.
        with direct(old) as client:
            read = client.get_database(name, read_preference=pymongo.ReadPreference.SECONDARY_PREFERRED)

            def rolled_back() -> bool:
                try:
                    return read["alone"].count_documents({}) == 0
                except PyMongoError:
                    return False  # While it does so, it answers nothing.

            wait_for("its rollback", rolled_back)
            assert client.admin.command("replSetGetRBID")["rbid"] > 1
