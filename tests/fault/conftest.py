"""Servers for the fault tests alone, which may kill them, and the choice of tests.

Every test of a system comes once for each Kafka client (``KITH_KAFKA_CLIENT`` names one of them). By default only
those marked ``fast`` run, with the first client, and with the other one, too, where they are marked ``both``; the
rest is deselected, and the report says how many. All of them: ``KITH_FAULTS=all``, or any ``-m`` expression, or a
test named on the command line. ``KITH_FAULT_PART=1/3`` runs a third of them: three processes side by
side, each with servers of its own. ``KITH_FAULT_TABLE=docs/why/faults.md`` has the results written into that file.
"""

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.bench.document import put
from shared.local.clusters import KafkaCluster, MongoCluster
from shared.local.kafka import KafkaServer
from shared.local.mongo import MongoServer
from shared.local.processes import replace_taken
from tests.fault.nodes import Kafka, Mongo, Node, direct, nodes_of, thaw
from tests.fault.partition import number
from tests.fault.system import System
from tests.fault.table import fault_table
from tests.support.parts import keep_part

HERE = Path(__file__).parent

# Servers come and go here, and the client tells of it at length.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


CLIENTS = ("kafka-python", "librdkafka")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fast: a fault test that also runs in `make test`")
    config.addinivalue_line("markers", "both: one that does so with both Kafka clients")
    # kafka-python leaves a socket to the garbage collector when a broker goes away in the wrong moment.
    config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kafka_client" in metafunc.fixturenames:
        chosen = _chosen()
        metafunc.parametrize("kafka_client", [chosen] if chosen else CLIENTS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _leave_out_slow(config, items)
    keep_part("KITH_FAULT_PART", config, items, lambda item: item.nodeid)


def _leave_out_slow(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("KITH_FAULTS") == "all" or config.option.markexpr:
        return
    if any("::" in argument and "fault" in argument for argument in config.args):
        return
    slow = [item for item in items if HERE in item.path.parents and not _fast(item)]
    config.stash[_LEFT_OUT] = len(slow)
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def _fast(item: pytest.Item) -> bool:
    if item.get_closest_marker("fast") is None:
        return False
    client = item.callspec.params.get("kafka_client") if hasattr(item, "callspec") else None
    return client in (None, CLIENTS[0]) or item.get_closest_marker("both") is not None or bool(_chosen())


def _chosen() -> str | None:
    return os.environ.get("KITH_KAFKA_CLIENT")


_LEFT_OUT = pytest.StashKey[int]()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if left_out := config.stash.get(_LEFT_OUT, 0):
        terminalreporter.write_line(f"{left_out} slow fault tests were left out; KITH_FAULTS=all runs them")
    if file := os.environ.get("KITH_FAULT_TABLE"):
        path = config.rootpath / file
        reports = [each for outcome in ("passed", "failed") for each in terminalreporter.stats.get(outcome, ())]
        text = path.read_text()
        path.write_text(put(text, "faults", fault_table(reports, text)))


@dataclass
class FaultServers:
    kafka: Kafka
    mongo: Mongo

    def heal(self) -> None:
        """Whatever the last test has done to them: they run, and nothing in them fails on purpose."""
        nodes: list[Node] = [*nodes_of(self.mongo), *nodes_of(self.kafka)]
        for node in nodes:
            if node.process.running:
                thaw(node)
            else:
                node.launch()
        for server in (self.mongo, self.kafka):
            server.wait_ready()
        for member in nodes_of(self.mongo):
            with direct(member) as client:
                client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})


_TEST_COMMANDS = ("--setParameter", "enableTestCommands=1")
_SHORT_SESSIONS = {"group.min.session.timeout.ms": "1000"}


@contextmanager
def start_servers(folder: Path) -> Iterator[FaultServers]:
    ports = replace_taken([0, 0, 0])
    kafka = KafkaServer(folder / "kafka", ports[0], ports[1], folder / "kafka.log", _SHORT_SESSIONS, heap="384m")
    mongo = MongoServer(folder / "mongo", ports[2], folder / "mongo.log", _TEST_COMMANDS, cache_gb=0.25)
    with _running(FaultServers(kafka, mongo)) as servers:
        yield servers


@contextmanager
def start_three(folder: Path, numbered: bool = False) -> Iterator[FaultServers]:
    """Three of each. Members are missed after two to three seconds instead of ten, so that a test is short; but
    ``numbered`` as tests.fault.partition needs them, they have MongoDB's own ten."""
    elections = {"electionTimeoutMillis": 10_000 if numbered else 2_000, "heartbeatIntervalMillis": 500}
    kafka = KafkaCluster(folder / "kafka", folder / "kafka.log", _SHORT_SESSIONS)
    mongo = MongoCluster(folder / "mongo", folder / "mongo.log", _TEST_COMMANDS, settings=elections)
    if numbered:
        number(mongo)
    with _running(FaultServers(kafka, mongo)) as servers:
        yield servers


@contextmanager
def _running(servers: FaultServers) -> Iterator[FaultServers]:
    with ExitStack() as undo:
        for server in (servers.kafka, servers.mongo):
            # Nobody uses the data again, and brokers that stop one after the other wait for those that are gone.
            undo.callback(server.kill)
            server.launch()
        # MongoDB first: its replica set is founded meanwhile.
        for server in (servers.mongo, servers.kafka):
            server.wait_ready()
        yield servers


@pytest.fixture(scope="session")
def _fault_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultServers]:
    with start_servers(tmp_path_factory.mktemp("fault-servers")) as servers:
        yield servers


@pytest.fixture
def fault_servers(_fault_servers: FaultServers) -> FaultServers:
    _fault_servers.heal()
    return _fault_servers


Start = Callable[..., System]


@pytest.fixture
def start_system(fault_servers: FaultServers, kafka_client: str, tmp_path: Path) -> Iterator[Start]:
    """Makes a system with topics and a database of its own; keyword arguments are settings."""
    with ExitStack() as undo:

        def start(**settings: Any) -> System:
            name = f"fault-{uuid.uuid4().hex[:10]}"
            given = {"kafka_client": kafka_client, **settings}
            system = System(fault_servers.kafka, fault_servers.mongo, tmp_path, name, **given)
            undo.enter_context(system)
            # Before the system ends: it needs them to clean up.
            undo.callback(fault_servers.heal)
            return system

        yield start


@pytest.fixture
def system(start_system: Start) -> System:
    return start_system()
