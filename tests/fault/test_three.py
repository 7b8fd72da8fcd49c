"""Three brokers and a replica set of three, under load: one is lost or cut off at a time, and work goes on."""

import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka.admin import ConfigResource, KafkaAdminClient
from pymongo.errors import PyMongoError

from shared.contracts.errors import Unavailable
from shared.contracts.topics import INPUTS, OUTPUTS
from shared.local.kafka import KafkaServer
from shared.local.mongo import MongoServer
from tests.fault.conftest import FaultServers, start_three
from tests.fault.load import market_items
from tests.fault.nodes import direct, freeze, leader, nodes_of, primary, thaw
from tests.fault.system import System

SEED = 71
#: Longer than a broker's session (3 s) and than MongoDB's election timeout here (2 s).
CUT_SECONDS = 5.0
#: Each check reads the whole log, beside servers that already share two cores.
CHECK_SECONDS = 6.0


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultServers]:
    with start_three(tmp_path_factory.mktemp("three")) as servers:
        yield servers


def weak_topic(three: FaultServers, name: str) -> None:
    """One of which a single broker may acknowledge a message."""
    with closing(KafkaAdminClient(bootstrap_servers=three.kafka.bootstrap.split(","))) as admin:
        admin.create_topics({name: {"num_partitions": 4, "replication_factor": 3}})


def in_sync(three: FaultServers, prefix: str) -> set[str]:
    """How many replicas have what is acknowledged, of Kith's topics."""
    topics = [f"{prefix}.{short}" for short in (*INPUTS, *OUTPUTS)]
    with closing(KafkaAdminClient(bootstrap_servers=three.kafka.bootstrap.split(","))) as admin:
        found = admin.describe_configs([ConfigResource("TOPIC", topic) for topic in topics], config_filter="all")
    return {found["topic"][topic]["min.insync.replicas"]["value"] for topic in topics}


# Not a fast one: in one of four runs on two busy cores kafka-python's workers stood still for two minutes, in the
# publishing of a claim, while requests to the broker that was cut off took 30 s each. Why is not known yet.
def test_one_of_three_is_lost_or_cut_off(three: FaultServers, kafka_client: str, tmp_path: Path) -> None:
    """Each time one that leads; work goes on while it is away. At last a primary dies with what nobody else has:
    that is taken back, and done again."""
    name = f"three-{uuid.uuid4().hex[:10]}"
    weak_topic(three, f"{name}.relations")
    with System(three.kafka, three.mongo, tmp_path, name, kafka_client=kafka_client) as system:
        assert in_sync(three, name) == {"2"}
        system.start_all()
        system.watch.every = CHECK_SECONDS
        load = system.load(market_items(100_000, SEED), rate=100)
        system.wait_stored(100)
        for victim in _leaders(three, system):
            victim.kill()
            system.wait_stored(100)
            victim.launch()
        for server in (three.mongo, three.kafka):
            server.wait_ready()
        for victim in _leaders(three, system):
            freeze(victim)
            time.sleep(CUT_SECONDS)
            system.wait_stored(100)
            thaw(victim)
        rolled_back = _primary_dies_ahead_of_all_others(three, system)
        load.cut()
        system.verify()
        assert rolled_back, "nothing was on the primary alone"


def _applied(node: MongoServer) -> tuple[int, int]:
    """The place in MongoDB's log up to which a member has it."""
    try:
        with direct(node) as client:
            stamp = client.admin.command("replSetGetStatus")["optimes"]["appliedOpTime"]["ts"]
    except PyMongoError as error:
        raise Unavailable(f"MongoDB: {error}") from error
    return stamp.time, stamp.inc


def _leaders(three: FaultServers, system: System) -> tuple[MongoServer, KafkaServer]:
    """The primary, and the broker that leads a partition of relations; an election may be under way."""
    found: list[tuple[MongoServer, KafkaServer]] = []

    def elected() -> bool:
        led = leader(three.kafka, f"{system.settings.topic_prefix}.relations")
        found.append((primary(three.mongo), led))
        return True

    system.wait("a primary and a leader", elected)
    return found[0]


def _primary_dies_ahead_of_all_others(three: FaultServers, system: System) -> bool:
    """Whether it had stored what the others had not."""
    ahead, _ = _leaders(three, system)
    others = [node for node in nodes_of(three.mongo) if node is not ahead]
    for node in others:
        with direct(node) as client:
            client.admin.command({"configureFailPoint": "stopReplProducer", "mode": "alwaysOn"})
    system.wait("what is on the primary alone", lambda: _applied(ahead) > max(map(_applied, others)))
    ahead.kill()
    for node in others:
        with direct(node) as client:
            client.admin.command({"configureFailPoint": "stopReplProducer", "mode": "off"})
    system.wait_stored(100)
    ahead.start()
    with direct(ahead) as client:
        return bool(client.admin.command("replSetGetRBID")["rbid"] > 1)
