"""The door: Kith's against FastAPI's ``list[Event]`` handler, and against the bare client's publish rate."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from services.bench.contenders import CONTENDERS
from services.bench.http import wait_ready
from services.bench.measure import RunFailed, check_library
from services.bench.procfs import cpu_microseconds, tree
from services.bench.ratios import Ratio, ratio
from services.bench.servers import BenchServers
from services.bench.topics import PARTITIONS
from shared.contracts.errors import ConfigurationError
from shared.contracts.topics import Topics
from shared.kafka.topics_admin import ensure_topics
from shared.local.processes import Process, free_ports
from shared.settings import Settings

PREFIX = "door"
CLIENTS = ("kafka-python", "librdkafka")
DOORS = {"Kith": "services.ingest", "FastAPI": "services.bench.peers.fastapi_door"}
BATCHED = {"Kith": "application/cloudevents-batch+json", "FastAPI": "application/json"}
LEAST_OF_FASTAPI, LEAST_OF_RAW = 1.5, 0.7


def clients(asked: Sequence[str] | None = None) -> list[str]:
    """The Kafka clients that can be measured here, or ``asked``. Raises ConfigurationError if one of those
    cannot."""
    missing = CONTENDERS["kith-librdkafka"].missing()
    if asked and "librdkafka" in asked and missing is not None:
        raise ConfigurationError(missing)
    return [name for name in CLIENTS if (name in asked if asked else name != "librdkafka" or missing is None)]


def compare_doors(
    servers: BenchServers,
    kafka_clients: Sequence[str],
    repetitions: int,
    seconds: float,
    say: Callable[[str], None],
) -> tuple[list[dict[str, Any]], list[Ratio]]:
    """A row per contender and repetition, and the ratios."""
    ensure_topics(Settings(kafka=servers.kafka.bootstrap, topic_prefix=PREFIX, partitions=PARTITIONS))
    rows = []
    for repetition in range(1, repetitions + 1):
        for client in kafka_clients:
            for name in (*DOORS, "raw"):
                place = f"{name}, {client}"
                if name == "raw":
                    row = {"rate": _raw(servers, client, seconds)}
                else:
                    row = measure_door(servers, name, client, seconds)
                say(f"{repetition} door {place}: {row['rate']:,.0f} events/s")
                rows.append({"door": name, "kafka_client": client, "repetition": repetition, **row})
    return rows, door_ratios(rows)


def door_ratios(rows: Sequence[dict[str, Any]]) -> list[Ratio]:
    """Kith's door over FastAPI's with either client, and over the raw rate with kafka-python."""
    rates = {(row["door"], row["kafka_client"], row["repetition"]): row["rate"] for row in rows}
    found = []
    for over, client, least in (
        ("FastAPI", "kafka-python", LEAST_OF_FASTAPI),
        ("FastAPI", "librdkafka", LEAST_OF_FASTAPI),
        ("raw", "kafka-python", LEAST_OF_RAW),
    ):
        pairs = [
            rate / rates[over, client, repetition]
            for (name, of, repetition), rate in rates.items()
            if name == "Kith" and of == client and (over, client, repetition) in rates
        ]
        if pairs:
            other = "FastAPI's list[Event]" if over == "FastAPI" else "raw publish rate"
            found.append(ratio(f"door / {other}, {client}", "door", pairs, least))
    return found


def service(
    module: str, servers: BenchServers, port_setting: str, client: str, **settings: str
) -> tuple[Process, int]:
    """A process with Kith's settings on a free port, not yet started."""
    port = free_ports(1)[0]
    environment = {
        "KITH_LOG_LEVEL": "warning",
        **os.environ,
        "KITH_KAFKA": servers.kafka.bootstrap,
        "KITH_MONGO": servers.mongo.uri,
        port_setting: str(port),
        "KITH_KAFKA_CLIENT": client,
        "KITH_ACCESS": "open",
        "KITH_ENCRYPTION": "off",
        "KITH_RELATIONS_FACTS_ONLY": "false",
        **settings,
    }
    log = servers.folder / "log" / f"{module}-{port}.log"
    return Process(module, [sys.executable, "-m", module], log, environment), port


@contextmanager
def ready(
    servers: BenchServers, name: str, client: str, prefix: str, **settings: str
) -> Iterator[tuple[Process, int]]:
    """A running service of Kith and its port, on the topics, the database and the group ``prefix``."""
    common = {"KITH_TOPIC_PREFIX": prefix, "KITH_DATABASE": prefix, "KITH_GROUP": prefix}
    port_setting = f"KITH_{name.upper()}_PORT"
    process, port = service(f"services.{name}", servers, port_setting, client, **common, **settings)
    with ExitStack() as stop:
        stop.callback(process.stop)
        process.start()
        wait_ready(process, port)
        yield process, port


def result(process: Process, log: Path, seconds: float) -> dict[str, Any]:
    """The JSON line that a process prints. Raises ProcessFailed."""
    deadline = time.monotonic() + seconds
    while process.running:
        if time.monotonic() > deadline:
            raise process.failure(f"was not done after {seconds:.0f} s")
        time.sleep(0.05)
    if process.returncode != 0:
        raise process.failure(f"ended with {process.ending}")
    found: dict[str, Any] = json.loads(log.read_text().splitlines()[-1])
    return found


def measure_door(servers: BenchServers, name: str, client: str, seconds: float) -> dict[str, Any]:
    """Events a second of one door of ``DOORS``, and its CPU µs an event. The topics of ``PREFIX`` exist."""
    with ExitStack() as stop:
        door, port = service(DOORS[name], servers, "KITH_INGEST_PORT", client, KITH_TOPIC_PREFIX=PREFIX)
        stop.callback(door.stop)
        door.start()
        wait_ready(door, port)
        check_library("librdkafka" if client == "librdkafka" else None, [door])
        log = servers.folder / "log" / f"load-{port}.log"
        argv = [sys.executable, "-m", "services.bench.load", str(port), "--seconds", str(seconds)]
        load = Process("the load", [*argv, "--content-type", BATCHED[name]], log)
        stop.callback(load.stop)
        assert door.pid is not None
        before = cpu_microseconds(tree([door.pid]))
        load.start()
        found = result(load, log, seconds + 60)
        spent = cpu_microseconds(tree([door.pid])) - before
    if found["refused"]:
        raise RunFailed(f"{name}'s door refused {found['refused']} events")
    if not found["rate"]:
        raise RunFailed(f"{name}'s door answered nothing within {seconds:g} s; try --seconds {seconds * 10:g}")
    # The CPU time includes the warm-up; the count does not.
    share = seconds / (seconds + 1.0)
    used = round(spent * share / max(found["rate"] * seconds, 1), 2)
    return {"rate": found["rate"], "door_us": used}


def _raw(servers: BenchServers, client: str, seconds: float) -> float:
    log = servers.folder / "log" / f"raw-{time.monotonic_ns()}.log"
    environment = {
        **os.environ,
        "BENCH_KAFKA": servers.kafka.bootstrap,
        "BENCH_TOPIC": Topics(PREFIX).name("relations"),
    }
    argv = [sys.executable, "-m", "services.bench.peers.raw_publish", str(seconds), client]
    process = Process("raw publishing", argv, log, environment)
    process.start()
    try:
        return float(result(process, log, seconds + 60)["rate"])
    finally:
        process.stop()
