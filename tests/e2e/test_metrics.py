"""Metrics, readiness and status of running processes, over HTTP and by the command."""

import json
import os
import re
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pymongo.database import Database

from services.cli.up import Stack, environment
from shared.contracts.services import CORE, SERVICES
from shared.local.mongo import MongoServer
from shared.local.processes import free_ports
from shared.mongo.store import connect
from shared.runtime.protocols import Document
from tests.conftest import Addresses, own_settings
from tests.support.end_to_end import (
    ROOT,
    fetch,
    fields,
    kith,
    post,
    run_kith,
    running,
    wait_ready,
    wait_until_drained,
)
from tests.support.waiting import PATIENCE_SECONDS, wait_equal, wait_for

EVENTS = 40
BAD = 3


def scrape(stack: Stack, service: str) -> dict[str, float]:
    """The samples of a service, by name and labels as they are written."""
    answer = fetch(f"{stack.addresses[service]}/metrics")
    assert answer.status_code == 200
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def total(samples: dict[str, float], name: str, *labels: str) -> float:
    """The sum over all label values but these."""
    return sum(
        value
        for key, value in samples.items()
        if key.split(" ")[0] == name and all(f" {label}" in key for label in labels)
    )


def relation(id: str, consumer: str = "c") -> dict[str, Any]:
    data = {"relation_id": id, "kind": "view", "consumer_id": consumer, "provider_id": "p"}
    return fields("relation.recorded", id, "2026-03-01T10:00:00Z", data)


@pytest.fixture(scope="module")
def drained(stack: Stack, database: Database[Document]) -> Stack:
    """A stack that has stored some events and refused a few."""
    events = [relation(f"m{n}", f"c{n % 7}") for n in range(EVENTS)]
    bad = [fields("relation.recorded", f"b{n}", "2026-03-01T10:00:00Z", {}) for n in range(BAD)]
    answer = post(f"{stack.addresses['ingest']}/v1/events", json=[*events, *bad])
    assert answer.json()["accepted"] == EVENTS
    wait_until_drained(stack.settings, database)
    return stack


def counted(stack: Stack, metrics: dict[str, tuple[str, ...]]) -> dict[str, float]:
    """What the services have counted, by service and metric; of rejections those of what is invalid, of
    interruptions those by a server that was away."""
    labels = {"door_events_rejected_total": "reason=invalid", "interruptions_total": "reason=unavailable"}
    found = {}
    for service, names in metrics.items():
        samples = scrape(stack, service)
        for name in names:
            asked = [labels[name]] if name in labels else []
            found[f"{service} {name}"] = total(samples, f"kith_{name}", *asked)
    return found


def test_the_three_services_count_the_same_events(drained: Stack) -> None:
    working = {"events_stored_total": EVENTS, "worker_ready": 1, "partition_backlog": 0, "interruptions_total": 0}
    relations = {
        "partitions_owned": 6,
        "partition_position": EVENTS,
        "event_latency_seconds_count": EVENTS,
        "messages_published_total": EVENTS,
    }
    expected = {
        "ingest": {
            "door_events_accepted_total": EVENTS,
            "door_events_rejected_total": BAD,
            "messages_published_total": EVENTS,
        },
        "relations": {**working, **relations},
        "analytics": {**working, "partitions_owned": 2},
    }
    metrics = {service: tuple(names) for service, names in expected.items()}
    # A worker counts a moment after what it counts can be seen in MongoDB.
    wait_equal(
        lambda: counted(drained, metrics),
        {f"{service} {name}": value for service, names in expected.items() for name, value in names.items()},
    )


def test_lag_is_known_of_every_partition(drained: Stack) -> None:
    def known() -> bool:
        samples = scrape(drained, "relations")
        return (
            total(samples, "kith_partition_lag") == 0 and sum("kith_partition_lag" in key for key in samples) == 6
        )

    wait_for("the ends of the logs", known)


def test_what_is_watched_is_what_the_processes_expose(drained: Stack) -> None:
    fetch(f"{drained.addresses['relations']}/v1/consumers/nobody")
    exposed = {
        name
        for service in CORE
        for name in re.findall(
            r"^# TYPE (\S+) ",
            fetch(f"{drained.addresses[service]}/metrics").text,
            re.MULTILINE,
        )
    }
    files: list[Path] = [*ROOT.glob("services/*/alerts.yml"), *ROOT.glob("services/*/dashboard.json")]
    assert {file.parent.name for file in files} == set(SERVICES)
    # Connectors do not run here.
    files = [file for file in files if file.parent.name in CORE]
    watched = {name for file in files for name in re.findall(r"\b(?:kith|process)_[a-z_]+", file.read_text())}
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in watched} <= exposed


def test_the_status_names_the_workers(drained: Stack) -> None:
    given = environment(drained.settings)
    status = json.loads(run_kith("status", "--json", **given))
    assert {worker["service"]: len(worker["partitions"]) for worker in status["workers"]} == {
        "relations": 6,
        "analytics": 2,
        "webhooks": 6,
    }
    assert all(worker["owner"] and worker["moved"] for worker in status["workers"])
    moved = {partition["topic"]: partition["moved"] for partition in status["partitions"] if partition["stored"]}
    assert all(0 <= age(status["time"], when) < 3_600 for when in moved.values())
    assert "Workers" in run_kith("status", COLUMNS="200", **given)


def age(now: str, then: str) -> float:
    return (datetime.fromisoformat(now) - datetime.fromisoformat(then)).total_seconds()


def test_the_status_can_be_watched_until_it_is_interrupted(drained: Stack) -> None:
    with kith("status", "--watch", "--json", **environment(drained.settings)) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert lines[0]["time"] < lines[1]["time"]
    assert (process.returncode, errors) == (0, "")


def test_a_worker_whose_database_freezes_is_not_ready_and_says_where_it_hangs(
    servers: Addresses, tmp_path: Path
) -> None:
    mongo = MongoServer(tmp_path / "mongo", free_ports(1)[0], tmp_path / "mongo.log", cache_gb=0.25)
    mongo.start()
    alone = Addresses(servers.kafka, mongo.uri)
    try:
        with (
            own_settings(alone, partitions=1, stuck_seconds=1.0) as settings,
            running(settings, tmp_path / "stack") as stack,
        ):
            url, pid = stack.addresses["relations"], mongo.process.pid
            assert pid is not None
            wait_for("the claims", lambda: total(scrape(stack, "relations"), "kith_partitions_owned") == 3)
            scrape(stack, "ingest")  # a key that the door knows stays good while the database hangs
            os.kill(pid, signal.SIGSTOP)
            try:
                post(f"{stack.addresses['ingest']}/v1/events", json=[relation("f1")])
                stuck = f"{settings.topic_prefix}.relations/0 has been stuck in fold"
                wait_for("the worker to notice", lambda: stuck in not_ready(url))
                assert total(scrape(stack, "relations"), "kith_worker_ready") == 0
                log = stack.services["relations"].log
                wait_for("the line in the log", lambda: "stuck: " in log.read_text())
                assert "mongo/store.py" in log.read_text(), "the stack shows the call that does not return"
            finally:
                os.kill(pid, signal.SIGCONT)
            wait_ready(url)
            with connect(mongo.uri) as client:
                relations = client[settings.database].relations
                wait_for("the event", lambda: relations.count_documents({}) == 1)
    finally:
        mongo.stop()


def not_ready(url: str) -> str:
    """Why a service is not ready; empty when it is."""
    answer = fetch(f"{url}/health/ready")
    return "" if answer.status_code == 200 else str(answer.json()["detail"])
