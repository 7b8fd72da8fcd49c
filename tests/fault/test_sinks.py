"""Sinks with tables: killed at every step, overtaken while they sleep, their database killed and back. In the end
each row is what its document in MongoDB says, and there is no other row."""

import os
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from services.postgres.projection import TABLES
from shared.cassandra.address import parse
from shared.cassandra.store import CassandraTables
from shared.local import cassandra, postgres
from shared.local.cassandra import CassandraServer
from tests.fault.load import market_items
from tests.fault.points import SINK_STEPS
from tests.fault.system import System, memory_mb
from tests.support.cassandra_driver import expected_rows as in_cassandra
from tests.support.cassandra_driver import stored
from tests.support.postgres import expected_rows, read_rows

EVENTS, SEED = 250, 83
#: What a worker may take more (MB) while its target is away, whatever waits in Kafka.
ROOM_MB = 40.0

#: By table.
Rows = Mapping[str, Collection[Any]]


class Sink(Protocol):
    """A sink and the server that its rows are in. ``steps`` are those at which it can be killed."""

    name: str
    server: Any
    settings: Mapping[str, str]
    steps: Sequence[str]

    def rows(self) -> Rows: ...

    def expected(self, system: System) -> Rows:
        """Of every document in MongoDB, whether a change has named it or not."""


class Postgres:
    name = "postgres"
    steps: Sequence[str] = SINK_STEPS

    def __init__(self, server: Any) -> None:
        self.server = server
        self.settings: Mapping[str, str] = {"postgres": server.dsn, "postgres_port": "0"}

    def rows(self) -> Rows:
        return {name: read_rows(self.server.dsn, "kith", name) for name in TABLES}

    def expected(self, system: System) -> Rows:
        return expected_rows(system.database)


class Cassandra:
    name = "cassandra"
    steps: Sequence[str] = [step for step in SINK_STEPS if step != "within-rows"]

    def __init__(self, server: CassandraServer, tables: CassandraTables) -> None:
        self.server, self._tables = server, tables
        self.settings: Mapping[str, str] = {"cassandra": server.address, "cassandra_port": "0"}

    def rows(self) -> Rows:
        return stored(self._tables)

    def expected(self, system: System) -> Rows:
        return in_cassandra(system.database)


@pytest.fixture(params=[pytest.param("postgres", marks=pytest.mark.fast), "cassandra"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    folder, log = tmp_path / "server" / "data", tmp_path / "log" / "server.log"
    if request.param == "postgres":
        with postgres.server(folder, log) as server:
            yield Postgres(server)
        return
    with cassandra.server(folder, log) as node:
        tables = CassandraTables(parse(node.address))
        yield Cassandra(node, tables)
        tables.close()


def test_rows_are_the_documents_after_kills_a_zombie_and_an_outage(system: System, sink: Sink) -> None:
    system.start_all(relations=1, analytics=1)
    loads = [system.load(market_items(EVENTS, SEED))]
    system.wait_killed(*[system.start(sink.name, fault=f"{step}:kill:1", **sink.settings) for step in sink.steps])
    # One sleeps with a slice in its hands, and writes it after another worker has gone on.
    zombie = system.start(sink.name, fault="before-rows:stop:1", **sink.settings)
    system.wait_struck(zombie)
    worker = system.start(sink.name, **sink.settings)
    system.wait_dispossessed(zombie)
    stored = system.stored(sink.name)
    loads.append(system.load(market_items(EVENTS, SEED + 1)))
    system.wait_stored(EVENTS // 4, sink.name, since=stored)
    os.kill(zombie.pid or 0, signal.SIGCONT)
    system.wait("what the zombie writes late", lambda: "before-rows is past" in zombie.log.read_text())

    sink.server.kill()
    before = {each.name: memory_mb(each) for each in (worker, zombie)}
    loads.append(system.load(market_items(5 * EVENTS, SEED + 2), rate=2_000))
    for load in loads:
        load.finish()
    sent = sum(len(load.sent) for load in loads)
    system.wait("relations to have stored everything", lambda: system.stored() >= sent)
    after = {each.name: memory_mb(each) for each in (worker, zombie)}
    assert all(after[name] < before[name] + ROOM_MB for name in before), (before, after)
    sink.server.start()

    system.wait("every row to be as its document", lambda: sink.rows() == sink.expected(system))
    assert all(sink.rows().values()), "every table has rows"
    system.wait_drained()
    assert sink.rows() == sink.expected(system)
    assert system.database["dead_letters"].count_documents({}) == 0
