"""`kith status` beside several workers: who works, and how long messages take."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from services.cli.up import Stack, environment
from tests.conftest import Addresses, own_settings
from tests.support.end_to_end import call_kith, fields, post, run_kith, running
from tests.support.waiting import wait_for

WORKERS = 4


@pytest.fixture(scope="module")
def stack(servers: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`kith up --workers relations=4`, as far as the services go."""
    folder = tmp_path_factory.mktemp("stack")
    with own_settings(servers) as settings, running(settings, folder, {"relations": WORKERS}) as stack:
        yield stack


def status(stack: Stack) -> dict[str, Any]:
    code, output, errors = call_kith("status", "--json", **environment(stack.settings))
    assert (code, errors) == (0, "")
    found: dict[str, Any] = json.loads(output)
    return found


def living(stack: Stack) -> set[int]:
    """The process ids of the workers that are alive."""
    workers = [w for w in status(stack)["workers"] if w["alive"] and w["service"] == "relations"]
    return {int(worker["owner"].rpartition("/")[2]) for worker in workers}


def test_every_worker_is_shown_and_one_that_dies_is_missed(stack: Stack) -> None:
    pids = {process.pid for name, process in stack.services.items() if name.startswith("relations")}
    assert len(pids) == WORKERS
    wait_for("four workers", lambda: living(stack) == pids)
    wait_for(
        "each to own partitions",
        lambda: all(w["partitions"] for w in status(stack)["workers"] if w["service"] == "relations"),
    )
    pid = stack.services[f"relations-{WORKERS}"].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for("the silence to be noticed", lambda: living(stack) == pids - {pid})
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for("it to come back", lambda: living(stack) == pids)


def test_latency_is_that_of_what_was_stored_within_the_last_minute(stack: Stack) -> None:
    data = {"relation_id": "r1", "kind": "view", "consumer_id": "c1", "provider_id": "p1"}
    sent = [fields("relation.recorded", "e1", "2026-05-03T10:15:00Z", data)]
    assert post(f"{stack.addresses['ingest']}/v1/events", json=sent).status_code == 202
    told: dict[str, Any] = {}

    def both() -> bool:
        told.update(status(stack)["latency"])
        return all(latency["messages"] for latency in told.values())

    wait_for("both services to tell", both)
    for service, latency in told.items():
        assert latency["messages"] == 1, service
        assert 1 <= latency["p50_ms"] == latency["p99_ms"] < 60_000
    text = run_kith("status", COLUMNS="80", **environment(stack.settings))
    assert "p99" in text
    assert max(map(len, text.splitlines())) <= 80
