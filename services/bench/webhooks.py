"""The senders of webhooks: deliveries a second, what a dead endpoint costs the others, memory with a long queue.

One process of the service sends what was put into its queue beforehand, to a receiver on the same machine.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from pymongo import MongoClient

from services.bench.door import ready
from services.bench.http import Connection
from services.bench.measure import RunFailed
from services.bench.procfs import megabytes, tree
from services.bench.servers import BenchServers
from services.webhooks.deliveries import DELIVERIES, lane_id
from services.webhooks.log_reader import LogReader
from services.webhooks.management.endpoints import Endpoints
from services.webhooks.messages.rendering import Renderer
from services.webhooks.schema import BESIDE, COLLECTIONS
from shared.contracts.topics import Topics
from shared.kafka.topics_admin import ensure_topics
from shared.local.processes import Process, ProcessFailed, free_ports
from shared.mongo.store import prepare
from shared.runtime.clock import now
from shared.runtime.protocols import Document
from shared.settings import Settings

_TENANT, _INSERTED, _FIRST, _PATIENCE_SECONDS = "default", 5_000, 500, 60.0
_AT = datetime(2026, 11, 1, tzinfo=UTC)


#: Deliveries in the longest queue.
QUEUED = 100_000


class Case(NamedTuple):
    """``endpoints`` of which ``dead`` never answer, each with so many deliveries ``queued`` when the longest queue
    has ``QUEUED``."""

    title: str
    endpoints: int
    dead: int
    queued: int


CASES = (
    Case("one fast endpoint", 1, 0, 20_000),
    Case("50 endpoints", 50, 0, 1_000),
    Case("50 endpoints, one of them dead", 50, 1, 1_000),
    Case("one fast endpoint, a long queue", 1, 0, QUEUED),
)


def measure_webhooks(
    servers: BenchServers, client: MongoClient[Document], longest: int, seconds: float, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """A row per case: deliveries a second to the living endpoints, and the memory of the sender meanwhile. The
    longest queue has ``longest`` deliveries, and the others are in proportion. Raises RunFailed, ProcessFailed."""
    rows = []
    for number, case in enumerate(CASES):
        say(f"webhooks: {case.title}")
        scaled = case._replace(queued=max(1, case.queued * longest // QUEUED))
        rows.append(_measured(servers, client, scaled, f"webhooks-{longest}-{number}", seconds))
    return rows


def _measured(
    servers: BenchServers, client: MongoClient[Document], case: Case, name: str, seconds: float
) -> dict[str, Any]:
    settings = Settings(kafka=servers.kafka.bootstrap, topic_prefix=name, partitions=1)
    ensure_topics(settings)
    database = client[name]
    prepare(database, {**COLLECTIONS, **BESIDE})
    port = free_ports(1)[0]
    topics = Topics(name)
    renderer = Renderer(database, str, lambda _tenant, _consumer: None, None)
    endpoints = Endpoints(database, renderer, None, topics, lambda: LogReader(settings), now)
    made = []
    for number in range(case.endpoints):
        path = f"dead-{number}" if number < case.dead else f"hook-{number}"
        stated = {"url": f"http://127.0.0.1:{port}/{path}", "types": ["relation.changed"]}
        made.append(endpoints.create(_TENANT, stated, "hmac", [], "bench").endpoint["_id"])
    queue = _deliveries(made, case.queued)
    while piece := list(islice(queue, _INSERTED)):
        database[DELIVERIES].insert_many(piece, ordered=False)
    with ExitStack() as stop:
        log = servers.folder / "log" / f"{name}.log"
        hooks = Process("the receiver", [sys.executable, "-m", "services.bench.peers.hooks", str(port)], log)
        stop.callback(hooks.stop)
        hooks.start()
        allowed = '["127.0.0.0/8"]'
        sending = ready(servers, "webhooks", "kafka-python", name, KITH_WEBHOOK_ALLOW=allowed)
        sender, _ = stop.enter_context(sending)
        most = (case.endpoints - case.dead) * case.queued
        # The first second is that of the leases and connections.
        first = _answered(port, min(_FIRST, most // 4))
        if first == most:
            raise RunFailed("all webhooks were sent before the first sample: use larger --sizes")
        began, before = time.monotonic(), first
        while time.monotonic() - began < seconds and before < most:
            time.sleep(0.1)
            before = _answered(port)
        rate = (before - first) / (time.monotonic() - began)
        assert sender.pid is not None
        memory = megabytes(tree([sender.pid]))
    client.drop_database(name)
    row = {"case": case.title, "queued": case.queued, "deliveries": before}
    return {**row, "per_second": round(rate), "memory_mb": round(memory)}


def _answered(port: int, least: int = 0) -> int:
    """How many the receiver has answered, once it is at least so many."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        connection = Connection(port)
        found = int(connection.get("/")[1])
        connection.close()
        if found >= least:
            return found
        if time.monotonic() > deadline:
            raise ProcessFailed(f"only {found} webhooks arrived within {_PATIENCE_SECONDS:.0f} s")
        time.sleep(0.02)


def _deliveries(endpoints: list[str], queued: int) -> Iterator[Document]:
    """Deliveries as fan-out enqueues them: relations of different consumers."""
    for number in range(queued):
        fact = {
            "kind": "purchase",
            "provider_id": f"p-{number % 200}",
            "time": _AT.isoformat(),
            "amount": 1_250,
            "currency": "EUR",
        }
        data = {"relation_id": f"r-{number}", "consumer_id": f"c-{number}", "before": None, "after": fact}
        change = {"id": f"change-{number}", "type": "relation.changed", "time": _AT.isoformat(), "data": data}
        for endpoint in endpoints:
            lane = lane_id(endpoint, "relations", 0)
            yield {
                "_id": f"{lane}/{number:019d}",
                "endpoint": endpoint,
                "tenant": _TENANT,
                "lane": lane,
                "subject": f"consumer:c-{number}",
                "at": number,
                "change": change,
                "attempts": 0,
                "due": datetime.fromtimestamp(0, UTC),
                "state": "queued",
                "consumer_id": f"c-{number}",
            }
