"""A second terminal beside `kith up -d`: every command finds the stack by itself, and ends with it."""

import json
import os
import shlex
import signal
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.services import CORE
from tests.support.end_to_end import kith
from tests.support.plain_http import request
from tests.support.waiting import PATIENCE_SECONDS, wait_for

#: Within the days that a report shows when none are asked for.
DAY = (datetime.now(UTC) - timedelta(days=3)).date().isoformat()
EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "shop",
    "type": "relation.recorded",
    "time": f"{DAY}T10:00:00Z",
    "data": {"relation_id": "r1", "kind": "purchase", "consumer_id": "c1", "provider_id": "p1"},
}
PROFILE = {
    **EVENT,
    "id": "e2",
    "type": "consumer.upserted",
    "data": {"consumer_id": "c1", "personal": {"name": "Ada"}},
}
FREE = {f"KITH_{name}_PORT": "0" for name in ("INGEST", "RELATIONS", "ANALYTICS", "PRIVACY", "EXPORTS")}
MAPPING = """
[[source]]
path = "orders.csv"
type = "relation.recorded"
time = "day"
[source.fields]
relation_id = "order"
kind = { const = "purchase" }
consumer_id = "who"
provider_id = "shop"
"""


def run(line: str, status: int = 0, environment: Mapping[str, str] | None = None) -> tuple[str, str]:
    """What a command prints, as in a new terminal: nothing of the stack is in its environment."""
    with kith(*shlex.split(line), **(environment or {})) as process:
        # `kith up -d` waits for its servers, and then for its services.
        output, errors = process.communicate(timeout=2 * PATIENCE_SECONDS)
    assert process.returncode == status, (line, output, errors)
    return output, errors


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("second") / "shop"
    started: dict[str, Any] = json.loads(run(f"up -d --json --data {folder}", environment=FREE)[0])
    try:
        answer = request(
            "POST",
            f"{started['ingest']}/v1/events",
            json=[EVENT, PROFILE, {**EVENT, "id": "e3", "type": "no.such"}],
            headers={"Authorization": f"Bearer {started['api_key']}"},
        )
        assert answer.json()["accepted"] == 2, answer.text
        wait_for("the events to be counted", lambda: sum(json.loads(run("status --json")[0])["lag"].values()) == 0)
        yield {**started, "data": str(folder)}
    finally:
        run("down --all")


@pytest.mark.parametrize(
    ("line", "shows"),
    [
        ("status", "relations"),
        ("status --json", '"lag"'),
        ("dead-letters list", "no dead letters"),
        ("dead-letters list --summary --json", "reasons"),
        ("keys api create --name till --scope events:write", "kith_"),
        ("keys api list", "till"),
        ("keys master list", "current"),
        ("keys rotate --json", "data_keys"),
        ("audit verify", "intact"),
        ("explain e1", "applied"),
        ("rebuild status", "live"),
        ("rebuild analytics --once", "analytics"),
        ("rebuild drop analytics", ""),
        ("report activity", DAY),
        ("report activity --csv", DAY),
        ("export consumers --personal --out -", "Ada"),
        ("topics create", "all topics are there"),
        ("privileges --commands", "createRole"),
        ("settings --json", "KITH_MONGO"),
    ],
)
def test_every_command_finds_the_stack(stack: dict[str, Any], line: str, shows: str) -> None:
    output, errors = run(line)
    assert shows in output
    assert errors.startswith("kith: using the stack shop (Kafka 127.0.0.1:"), errors
    assert errors.count("using the stack") == 1
    assert stack["kafka"] in errors


def test_an_import_needs_no_setting_either(stack: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "orders.toml").write_text(MAPPING)
    (tmp_path / "orders.csv").write_text("order,who,shop,day\no1,c9,p1,2026-11-02T10:00:00Z\n")
    output, errors = run(f"import {tmp_path}/orders.toml --json")
    assert json.loads(output)["accepted"] == 1
    assert "using the stack shop" in errors
    assert stack["pid"]


def test_a_contract_is_checked_against_the_running_services(stack: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(
        '{"reads": [{"contract": "relations GET /v1/relationships", "fields": ["next"]}]}'
    )
    output, _ = run(f"contract check {tmp_path}/mine.json")
    assert "holds   relations GET /v1/relationships" in output
    run(f"contract save {tmp_path}/saved")
    assert "webhook relation.changed" in run(f"contract list --from {tmp_path}/saved")[0]
    assert stack["pid"]


def test_a_second_worker_joins_on_a_port_of_its_own(stack: dict[str, Any]) -> None:
    def workers() -> int:
        found = json.loads(run("status --json")[0])["workers"]
        return sum(worker["alive"] for worker in found if worker["service"] == "relations")

    before = workers()
    with kith("relations") as second:
        try:
            wait_for("a second worker", lambda: workers() == before + 1)
        finally:
            second.send_signal(signal.SIGTERM)
            second.communicate(timeout=PATIENCE_SECONDS)
    assert second.returncode == 0
    assert stack["pid"]


def test_logs_are_listed_shown_and_followed(stack: dict[str, Any]) -> None:
    listed = run("logs")[0]
    assert {line.split()[0] for line in listed.splitlines()} >= {"ingest", "relations", "kafka", "mongo"}
    assert f"url={stack['relations']}" in run("logs relations -n 1000")[0]
    assert "it has: " in run("logs nothing", status=2)[1]
    with kith("logs", "ingest", "-f") as following:
        assert following.stdout is not None
        assert following.stdout.readline()
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=PATIENCE_SECONDS)
    assert following.returncode == 0


def test_a_second_stack_on_the_folder_is_told_who_has_it(stack: dict[str, Any]) -> None:
    _, errors = run(f"up --data {stack['data']} --context other", status=1)
    for part in (f"process {stack['pid']}", "since", stack["ingest"], "kith down --context shop"):
        assert part in errors
    run("status")


def test_down_ends_everything_and_the_data_stays() -> None:
    output, _ = run("down")
    assert "Stopped. Kept: " in output
    _, errors = run("status", status=2)
    assert "No stack is running" in errors
    folder = Path(output.partition("Kept: ")[2].strip().removesuffix("."))
    assert (folder / "mongo").exists()
    with kith("up", "--json", "--data", str(folder), **FREE) as again:
        try:
            assert again.stdout is not None
            assert again.stderr is not None
            line = again.stdout.readline()
            started = json.loads(line) if line else pytest.fail(again.stderr.read())
            assert started["context"] == "shop"
            assert "Ada" in run("export consumers --personal --out -")[0]
            os.kill(again.pid, signal.SIGKILL)
        finally:
            again.kill()
            again.communicate()
    for _ in range(2):
        assert "No stack is running" in run("status", status=2)[1]


def test_ctrl_c_says_what_it_ends_and_what_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "kept"
    with kith("up", "--data", str(data), **FREE) as process:
        try:
            assert process.stdout is not None
            assert "Kith is up" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "Waiting for Kafka and MongoDB" in errors
    assert f"Waiting for the services: {', '.join(CORE)} …" in errors
    assert f"Stopping {', '.join(CORE)}, Kafka, MongoDB" in errors
    assert f"Kept: data, keys and logs in {data}." in errors
