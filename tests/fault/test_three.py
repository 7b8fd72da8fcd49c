"""Three brokers and a replica set of three, under load: one is lost or cut off at a time, and work goes on."""

import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
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


# Not a fast one: it takes three to four minutes on two busy cores.
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
        ahead = _primary_dies_ahead_of_all_others(three, system)
        system.wait("the end of what it had alone", lambda: _rolled_back(ahead))
        load.cut()
        system.verify()


def _applied(node: MongoServer) -> tuple[int, int]:
    """The place in MongoDB's log up to which a member has it."""
    with _unavailable(), direct(node) as client:
        stamp = client.admin.command("replSetGetStatus")["optimes"]["appliedOpTime"]["ts"]
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


def _primary_dies_ahead_of_all_others(three: FaultServers, system: System) -> MongoServer:
    """With what it alone has stored. Meanwhile others lead, and it has started again."""
    ahead: list[MongoServer] = []

    def is_ahead() -> bool:
        """An election may come between: whoever leads now is the only one that the others do not follow."""
        now = primary(three.mongo)
        if ahead != [now]:
            ahead[:] = [now]
            for node in nodes_of(three.mongo):
                _follows(node, node is now)
        return _applied(now) > max(_applied(node) for node in nodes_of(three.mongo) if node is not now)

    system.wait("what is on the primary alone", is_ahead)
    [dying] = ahead
    dying.kill()
    for node in nodes_of(three.mongo):
        if node is not dying:
            _follows(node, True)
    system.wait_stored(100)
    dying.start()
    return dying


def _follows(node: MongoServer, follows: bool) -> None:
    """Whether a member takes over what the primary has. Raises Unavailable."""
    with _unavailable(), direct(node) as client:
        mode = "off" if follows else "alwaysOn"
        client.admin.command({"configureFailPoint": "stopReplProducer", "mode": mode})


def _rolled_back(node: MongoServer) -> bool:
    """Whether a member has taken back what no other had. Raises Unavailable, as while it does so."""
    with _unavailable(), direct(node) as client:
        return bool(client.admin.command("replSetGetRBID")["rbid"] > 1)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        raise Unavailable(f"MongoDB: {error}") from error
