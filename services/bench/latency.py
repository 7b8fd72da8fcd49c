"""End-to-end latency: from the door's 202 until an API shows the relationship, under a steady load."""

import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pymongo import MongoClient

from services.bench.door import BATCHED, ready
from services.bench.events import START, recorded
from services.bench.http import Connection
from services.bench.load import STARTED
from services.bench.servers import BenchServers
from services.bench.topics import PARTITIONS
from shared.kafka.topics_admin import ensure_topics
from shared.local.processes import Process
from shared.runtime.protocols import Document
from shared.settings import Settings

PROBES = 300
_SETTLE_SECONDS, _POLL_SECONDS, _PATIENCE_SECONDS = 3.0, 0.005, 10.0


class Reader(NamedTuple):
    """An API that shows a relationship, with the aims of its percentiles in milliseconds. ``shows`` is what an
    answer that contains the relationship has, and no other one."""

    service: str
    path: str
    shows: Callable[[int, bytes], bool]
    p50: float
    p99: float


READERS = (
    Reader("relations", "/v1/relationships/{}/{}", lambda status, _: status == 200, 50.0, 250.0),
    Reader(
        "intelligence",
        "/v1/affinity/{}/{}",
        lambda status, body: status == 200 and json.loads(body)["strength"] is not None,
        250.0,
        1_000.0,
    ),
)


def measure_latency(
    servers: BenchServers,
    client: MongoClient[Document],
    kafka_client: str,
    rate: float,
    probes: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """A row for each of ``READERS``: both percentiles in milliseconds at ``rate`` events/s, and whether they are
    within the aims.

    A probe is one event about a new pair. Its latency is the time from the door's answer to the first answer of
    the reader that contains it, polled every five milliseconds. Intelligence does not run while relations is
    measured.
    """
    prefix = database = f"latency-{kafka_client}"
    ensure_topics(Settings(kafka=servers.kafka.bootstrap, topic_prefix=prefix, partitions=PARTITIONS))
    rows = []
    with ExitStack() as stop:

        def start(name: str) -> int:
            return stop.enter_context(ready(servers, name, kafka_client, prefix))[1]

        door = start("ingest")
        for number, reader in enumerate(READERS):
            api = start(reader.service)
            say(f"latency at {rate:,.0f} events/s, {kafka_client}, {reader.service}")
            with _load(servers, door, rate, probes, f"{prefix}-{reader.service}") as load:
                waits = _probe(door, api, reader, range(number * probes, (number + 1) * probes))
                load.check()  # if the load has ended early, the last probes were measured without it
            rows.append(summary(reader, kafka_client, rate, waits))
    client.drop_database(database)
    return rows


@contextmanager
def _load(servers: BenchServers, door: int, rate: float, probes: int, name: str) -> Iterator[Process]:
    """The load, which has begun to have its effect."""
    seconds = _SETTLE_SECONDS + probes * 0.3 + _PATIENCE_SECONDS
    argv = [sys.executable, "-m", "services.bench.load", str(door), "--seconds", str(seconds)]
    argv += ["--rate", str(rate), "--batch", "25", "--connections", "4", "--content-type", BATCHED["Kith"]]
    log = servers.folder / "log" / f"load-{name}.log"
    load = Process("the load", argv, log)
    load.start()
    try:
        _wait_started(load, log)
        time.sleep(_SETTLE_SECONDS)
        yield load
    finally:
        load.stop()


def _wait_started(load: Process, log: Path) -> None:
    while STARTED not in log.read_text():
        load.check()
        time.sleep(0.05)


def summary(reader: Reader, kafka_client: str, rate: float, waits: Sequence[float]) -> dict[str, Any]:
    """Percentiles of ``waits`` (seconds) in milliseconds."""
    p50, p99 = (percentile(waits, share) * 1000 for share in (0.5, 0.99))
    return {
        "shown by": reader.service,
        "kafka_client": kafka_client,
        "load": round(rate),
        "probes": len(waits),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "met": p50 < reader.p50 and p99 < reader.p99,
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of them do not exceed."""
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # rounded up
    return ordered[max(int(rank), 1) - 1]


def _probe(door: int, api: int, reader: Reader, numbers: Iterable[int]) -> list[float]:
    draw = random.Random(7)
    sender, asker = Connection(door), Connection(api)
    waits = []
    try:
        for number in numbers:
            consumer = 9_000_000 + number
            event = recorded(draw, number, f"probe-{number}", consumer, 1)
            body = json.dumps({**event, "time": START.isoformat()}).encode()
            status = sender.post("/v1/events", "application/cloudevents+json", body)
            answered = time.monotonic()
            if status != 202:
                raise ConnectionError(f"the door answered {status}")
            path = reader.path.format(event["data"]["consumer_id"], event["data"]["provider_id"])
            while not reader.shows(*asker.get(path)):
                if time.monotonic() > answered + _PATIENCE_SECONDS:
                    raise ConnectionError(f"{path} did not show up within {_PATIENCE_SECONDS:.0f} s")
                time.sleep(_POLL_SECONDS)
            waits.append(time.monotonic() - answered)
            # Random, so that probes are not in step with the worker's polling.
            time.sleep(draw.uniform(0.0, 0.05))
    finally:
        sender.close()
        asker.close()
    return waits
