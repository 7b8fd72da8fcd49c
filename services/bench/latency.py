"""End-to-end latency: from the door's 202 until the query API shows the relationship, under a steady load."""

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from services.bench.door import BATCHED, service
from services.bench.events import START, recorded
from services.bench.http import Connection, wait_ready
from services.bench.load import STARTED
from services.bench.servers import BenchServers
from services.bench.topics import PARTITIONS
from shared.kafka.topics_admin import ensure_topics
from shared.local.processes import Process
from shared.runtime.protocols import Document
from shared.settings import Settings

PROBES = 300
P50_MS, P99_MS = 50.0, 250.0
_SETTLE_SECONDS, _POLL_SECONDS, _PATIENCE_SECONDS = 3.0, 0.005, 10.0


def measure_latency(
    servers: BenchServers,
    client: MongoClient[Document],
    kafka_client: str,
    rate: float,
    probes: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Both percentiles in milliseconds at ``rate`` events/s, and whether they are within the targets.

    A probe is one event about a new pair. Its latency is the time from the door's answer to the first answer of
    the query API that contains it, polled every five milliseconds.
    """
    prefix = database = f"latency-{kafka_client}"
    ensure_topics(Settings(kafka=servers.kafka.bootstrap, topic_prefix=prefix, partitions=PARTITIONS))
    common = {"KITH_TOPIC_PREFIX": prefix, "KITH_DATABASE": database, "KITH_GROUP": prefix}
    with ExitStack() as stop:
        ports = {}
        for name in ("ingest", "relations"):
            process, ports[name] = service(
                f"services.{name}", servers, f"KITH_{name.upper()}_PORT", kafka_client, **common
            )
            stop.callback(process.stop)
            process.start()
            wait_ready(process, ports[name])
        seconds = _SETTLE_SECONDS + probes * 0.3 + _PATIENCE_SECONDS
        argv = [sys.executable, "-m", "services.bench.load", str(ports["ingest"]), "--seconds", str(seconds)]
        argv += ["--rate", str(rate), "--batch", "25", "--connections", "4", "--content-type", BATCHED["Kith"]]
        log = servers.folder / "log" / f"load-{prefix}.log"
        load = Process("the load", argv, log)
        stop.callback(load.stop)
        load.start()
        say(f"latency at {rate:,.0f} events/s, {kafka_client}")
        _wait_started(load, log)
        time.sleep(_SETTLE_SECONDS)
        waits = _probe(ports["ingest"], ports["relations"], probes)
        load.check()  # if the load has ended early, the last probes were measured without it
    client.drop_database(database)
    return summary(kafka_client, rate, waits)


def _wait_started(load: Process, log: Path) -> None:
    while STARTED not in log.read_text():
        load.check()
        time.sleep(0.05)


def summary(kafka_client: str, rate: float, waits: Sequence[float]) -> dict[str, Any]:
    """Percentiles of ``waits`` (seconds) in milliseconds."""
    p50, p99 = (percentile(waits, share) * 1000 for share in (0.5, 0.99))
    return {
        "kafka_client": kafka_client,
        "load": round(rate),
        "probes": len(waits),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "met": p50 < P50_MS and p99 < P99_MS,
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of them do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # rounded up
    return ordered[max(int(rank), 1) - 1]


def _probe(door: int, api: int, probes: int) -> list[float]:
    draw = random.Random(7)
    sender, reader = Connection(door), Connection(api)
    waits = []
    try:
        for number in range(probes):
            consumer = 9_000_000 + number
            event = recorded(draw, number, f"probe-{number}", consumer, 1)
            body = json.dumps({**event, "time": START.isoformat()}).encode()
            status = sender.post("/v1/events", "application/cloudevents+json", body)
            answered = time.monotonic()
            if status != 202:
                raise ConnectionError(f"the door answered {status}")
            path = f"/v1/relationships/{event['data']['consumer_id']}/{event['data']['provider_id']}"
            while reader.get(path) != 200:
                if time.monotonic() > answered + _PATIENCE_SECONDS:
                    raise ConnectionError(f"{path} did not show up within {_PATIENCE_SECONDS:.0f} s")
                time.sleep(_POLL_SECONDS)
            waits.append(time.monotonic() - answered)
            # Random, so that probes are not in step with the worker's polling.
            time.sleep(draw.uniform(0.0, 0.05))
    finally:
        sender.close()
        reader.close()
    return waits
