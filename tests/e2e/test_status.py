"""`kith status` beside several workers: who works, and how long messages take."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from services.cli.up import Stack, environment
from shared.mongo_io import connect
from shared.settings import Settings
from tests.conftest import Addresses
from tests.e2e.support import fields, post, run_kith, running, wait_for

WORKERS = 4


@pytest.fixture(scope="module")
def stack(servers: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`kith up --workers relations=4`, as far as the services go."""
    name = f"status-{uuid.uuid4().hex[:12]}"
    settings = Settings(
        kafka=servers.kafka,
        mongo=servers.mongo,
        topic_prefix=name,
        group=name,
        database=name,
        partitions=2,
        session_timeout_ms=6_000,
        ingest_port=0,
        relations_port=0,
        analytics_port=0,
    )
    with running(settings, tmp_path_factory.mktemp("stack"), {"relations": WORKERS}) as stack:
        yield stack
    with connect(servers.mongo) as client:
        client.drop_database(name)


def status(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_kith("status", "--json", **environment(stack.settings)))
    return found


def living(stack: Stack) -> list[str]:
    return [w["owner"] for w in status(stack)["workers"] if w["alive"] and w["service"] == "relations"]


def test_every_worker_is_shown_and_one_that_dies_is_missed(stack: Stack) -> None:
    wait_for("four workers", lambda: len(living(stack)) == WORKERS)
    wait_for(
        "each to own partitions",
        lambda: all(w["partitions"] for w in status(stack)["workers"] if w["service"] == "relations"),
    )
    pids = {process.pid for name, process in stack.services.items() if name.startswith("relations")}
    assert {int(owner.rpartition("/")[2]) for owner in living(stack)} == pids

    pid = stack.services[f"relations-{WORKERS}"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for("the silence to be noticed", lambda: len(living(stack)) == WORKERS - 1)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for("it to come back", lambda: len(living(stack)) == WORKERS)


def test_latency_is_that_of_what_was_stored_within_the_last_minute(stack: Stack) -> None:
    data = {"relation_id": "r1", "kind": "view", "consumer_id": "c1", "provider_id": "p1"}
    sent = [fields("relation.recorded", "e1", "2026-05-03T10:15:00Z", data)]
    assert post(f"{stack.addresses['ingest']}/v1/events", json=sent).status_code == 202
    wait_for("both services to tell", lambda: all(s["messages"] for s in status(stack)["latency"].values()))
    for service, latency in status(stack)["latency"].items():
        assert latency["messages"] == 1, service
        assert 1 <= latency["p50_ms"] == latency["p99_ms"] < 60_000
    text = run_kith("status", COLUMNS="80", **environment(stack.settings))
    assert "p99" in text
    assert max(map(len, text.splitlines())) <= 80
