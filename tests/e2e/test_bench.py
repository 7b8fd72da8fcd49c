"""Every act of the benchmark, tiny, on real servers, and the rows of its report.

The acts share Kafka and MongoDB; what else one needs (Cassandra, Postgres, RabbitMQ) it starts itself.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pymongo import MongoClient
from rich.console import Console

from services.bench import capacity
from services.bench.__main__ import ACTS, Bench, parser
from services.bench.attacks import ATTACKS
from services.bench.door import DOORS
from services.bench.latency import READERS
from services.bench.neighbours import PROBES
from services.bench.rabbitmq import PEERS, PREFETCH
from services.bench.servers import BenchServers, running
from services.bench.webhooks import CASES
from shared.contracts.errors import ConfigurationError
from shared.local.rabbitmq import find_rabbitmq
from shared.mongo.store import connect
from shared.runtime.protocols import Document
from tests.support.rabbitmq import missing
from tests.support.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
Row = dict[str, Any]


def environment() -> dict[str, str]:
    """What the acts and their processes get: no setting of the caller's."""
    kept = ("KITH_CACHE_FOLDER", "KITH_TEST_CASSANDRA", "KITH_TEST_RABBITMQ")
    return {name: value for name, value in os.environ.items() if not name.startswith("KITH_") or name in kept}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BenchServers, MongoClient[Document]]]:
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - environment().keys():
            patch.delenv(name)
        # What is stored in one piece cannot be watched while it is stored.
        patch.setenv("KITH_SLICE_EVENTS", "200")
        with (
            running(tmp_path_factory.mktemp("bench"), cache_gb=0.25) as servers,
            connect(servers.mongo.uri) as client,
        ):
            yield servers, client


# What each act has to report


def compared(rows: list[Row]) -> None:
    assert [row for row in rows if row["row"] == "left out"] == []
    runs = {(row["contender"], row["scenario"]): row for row in rows if row["row"] == "run"}
    assert set(runs) == {("bulk", "first"), ("kith-librdkafka", "first"), ("kith-librdkafka", "amended")}
    for run in runs.values():
        assert run["events"] == 6000
        assert run["rate"] > 100
        assert run["client_us"] + run["mongod_us"] > 0
        assert run["memory_mb"] > 10
    # Both stored the same facts; that they are all there, the benchmark itself has checked.
    assert runs["bulk", "first"]["stored"] == runs["kith-librdkafka", "first"]["stored"] < 6000


def latencies(rows: list[Row]) -> None:
    assert [row["shown by"] for row in rows] == [reader.service for reader in READERS]
    for row in rows:
        assert row["probes"] == 2
        assert 0 < row["p50_ms"] <= row["p99_ms"]


def doors(rows: list[Row]) -> None:
    measured = [row for row in rows if row["row"] == "door"]
    assert [row["door"] for row in measured] == [*DOORS, "raw"]
    assert all(row["rate"] > 0 for row in measured)
    assert len([row for row in rows if row["row"] == "ratio"]) == 2


def grown(rows: list[Row]) -> None:
    assert [row["facts"] for row in rows if row["row"] == "growth"] == [5_000]
    assert [row["hot"] for row in rows if row["row"] == "hot"] == ["none"]
    assert all(row["rate"] > 0 for row in rows if row["row"] == "growth")


def neighbours(rows: list[Row]) -> None:
    attacked = {ATTACKS[name].title: ATTACKS[name].service for name in ("bodies", "downloads")}
    wanted = [(title, probe.title) for title, of in attacked.items() for probe in PROBES if probe.service == of]
    assert [(row["first tenant"], row["second"]) for row in rows] == wanted
    for row in rows:
        # Nobody was told that what they asked for does not exist, nor that it is wrong.
        told = {each.partition(":")[0] for each in row["its answers"].split(", ") if each}
        assert told <= {"200", "202", "429", "closed"}
        assert row["idle_p50"] > 0
        assert row["beside_p50"] > 0


def rows_written(rows: list[Row]) -> None:
    assert [row["what"] for row in rows] == ["the driver alone", "the sink"]
    assert all(row["rows"] == 200 and row["rows_s"] > 0 for row in rows)


def rows_and_lists(rows: list[Row]) -> None:
    written = [row for row in rows if row["row"] == "cassandra rows"]
    assert [row["rows"] for row in written] == [600] * 3
    lists = [(row["list of a"], row["from"]) for row in rows if row["row"] == "cassandra lists"]
    assert lists == [(side, name) for side in ("provider", "consumer") for name in ("mongo", "cassandra")]


def messages(rows: list[Row]) -> None:
    taken = [row for row in rows if row["row"] == "rabbitmq"]
    assert [row["contender"] for row in taken] == [*PEERS, "Kith, kafka-python"]
    assert all(row["rate"] > 0 for row in taken)
    assert len([row for row in rows if row["row"] == "ratio"]) == len(PEERS) + 1


def needs(rows: list[Row]) -> None:
    assert [row["name"] for row in rows] == list(capacity.Figures._fields)
    may_be_none = {"partition_mb", "busy_partition_mb", "intelligence_bytes"}  # differences of two memories
    assert all(row["measured"] > 0 for row in rows if row["name"] not in may_be_none)


def webhooks(rows: list[Row]) -> None:
    assert [row["case"] for row in rows] == [case.title for case in CASES]
    for row, case in zip(rows, CASES, strict=True):
        assert 0 < row["deliveries"] <= (case.endpoints - case.dead) * row["queued"]
        assert row["per_second"] > 0


def recommended(rows: list[Row]) -> None:
    assert [(row["row"], row["relationships"]) for row in rows] == [("engine", 2_000)]
    assert rows[0]["equal to a fresh graph"] is True


class Tiny(NamedTuple):
    """Options of an act beside its own, and what is asserted of its rows."""

    options: str
    check: Callable[[list[Row]], None]


TINY = {
    "compare": Tiny("--only bulk kith-librdkafka --events 6000 --scenarios first amended", compared),
    "latency": Tiny("--rate 100 --probes 2 --kafka-clients kafka-python", latencies),
    "door": Tiny("--seconds 1 --kafka-clients kafka-python", doors),
    "growth": Tiny("--sizes 5000 --hot 5000 --spots none", grown),
    "neighbours": Tiny("--facts 100 --seconds 0.4 --attacks bodies downloads", neighbours),
    "cassandra": Tiny("--sizes 200 --probes 3", rows_and_lists),
    "postgres": Tiny("--sizes 200", rows_written),
    "rabbitmq": Tiny(f"--sizes {5 * PREFETCH} --kafka-clients kafka-python", messages),
    "capacity": Tiny("--events 3000 --seconds 1", needs),
    "webhooks": Tiny("--sizes 6000 --seconds 2", webhooks),
    "intelligence": Tiny("--sizes 2000", recommended),
}


def test_each_act_is_measured_here() -> None:
    assert set(TINY) == set(ACTS)


@pytest.mark.parametrize("act", [act for act in ACTS if act != "intelligence"])
def test_an_act_reports_its_rows(act: str, shared: tuple[BenchServers, MongoClient[Document]]) -> None:
    if act == "rabbitmq":
        try:
            find_rabbitmq()
        except ConfigurationError as error:
            missing(error)
    options = parser().parse_args(["--reps", "1", f"--{act}", *TINY[act].options.split()])
    printed = io.StringIO()
    bench = Bench(options, *shared, Console(file=printed, width=200))
    try:
        bench.run()
    except (ConfigurationError, ImportError) as error:
        if act != "cassandra" or os.environ.get("KITH_TEST_CASSANDRA") == "required":
            raise
        pytest.skip(f"there is no Cassandra: {error}")
    assert bench.rows, printed.getvalue()
    TINY[act].check(bench.rows)


def test_the_command_prints_the_rows_last() -> None:
    argv = [
        sys.executable,
        "-m",
        "services.bench",
        "--json",
        "--intelligence",
        *TINY["intelligence"].options.split(),
    ]
    done = subprocess.run(
        argv,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    TINY["intelligence"].check(json.loads(done.stdout.splitlines()[-1]))
