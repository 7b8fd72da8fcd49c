"""The command `kith`, as processes: up, topics, status, settings, help, and an import of real data."""

import csv
import json
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pymongo.database import Database
from typer.testing import CliRunner

from services.cli.__main__ import app
from services.cli.up import Stack, environment
from shared.contracts.services import CORE_PROJECTIONS
from shared.contracts.topics import CHANGES, INPUTS, OUTPUTS, Topics
from shared.runtime.protocols import Document
from shared.settings import Settings
from tests.conftest import Addresses
from tests.support.end_to_end import ROOT, ends, everything, get, kith, run_kith, wait_ready, wait_until_drained
from tests.support.waiting import PATIENCE_SECONDS, wait_for

MAPPING = ROOT / "tests" / "data" / "restaurants.toml"
DATA = ROOT / "tests" / "data" / "restaurants"
FILES = {"consumers": "userprofile", "providers": "geoplaces", "relations": "rating_final"}


def descendants(pid: int) -> set[int]:
    """All processes below this one."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # Behind the command's name, which may hold anything: state, parent.
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_up_prints_one_line_and_leaves_no_process_behind(number: signal.Signals, tmp_path: Path) -> None:
    """After ``kill -9`` there is nobody left to stop anything, and still nothing may go on running."""
    with kith("up", "--json", "--data", str(tmp_path)) as process:
        try:
            assert process.stdout is not None
            addresses = json.loads(process.stdout.readline())
            assert set(addresses) >= {"ingest", "relations", "analytics", "kafka", "mongo", "api_key"}
            for service in ("ingest", "relations", "analytics"):
                wait_ready(addresses[service])
            children = descendants(process.pid)
            assert len(children) >= 5, "Kafka, MongoDB and three services"
            process.send_signal(number)
            output, errors = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
    wait_for("the end of every process", lambda: not any(alive(child) for child in children))
    assert process.returncode == (0 if number == signal.SIGTERM else -number)
    assert output == ""
    # What it waited for, for a person. A program reads the line.
    assert [line.split(" for ")[0] for line in errors.splitlines()] == ["Waiting", "Waiting"]


def test_topics_are_created_once(servers: Addresses) -> None:
    prefix = f"e2e-{uuid.uuid4().hex[:12]}"
    given = {"KITH_KAFKA": servers.kafka, "KITH_TOPIC_PREFIX": prefix, "KITH_PARTITIONS": "3"}
    names = [f"{prefix}.{short}" for short in (*OUTPUTS, *INPUTS)]
    assert run_kith("topics", "create", **given).splitlines() == [
        f"created {name} with 3 partitions" for name in names
    ]
    assert run_kith("topics", "create", **given) == "all topics are there\n"
    grown = run_kith("topics", "create", **{**given, "KITH_PARTITIONS": "4"}).splitlines()
    assert sorted(grown) == sorted(f"grew {name} from 3 to 4 partitions" for name in names)


def test_the_status_before_anything_has_happened(servers: Addresses) -> None:
    name = f"e2e-{uuid.uuid4().hex[:12]}"
    settings = Settings(kafka=servers.kafka, mongo=servers.mongo, topic_prefix=name, database=name, partitions=1)
    given = environment(settings)
    run_kith("topics", "create", **given)
    status = json.loads(run_kith("status", "--json", **given))
    assert status["lag"] == dict.fromkeys(CORE_PROJECTIONS, 0)
    assert status["documents"]["relations"] == status["outbox"] == 0
    assert "Partitions" in run_kith("status", **given)


def test_settings_are_shown_with_their_meaning() -> None:
    given = {"KITH_PARTITIONS": "7", "KITH_KAFKA_PASSWORD": "geheim"}
    shown = json.loads(run_kith("settings", "--json", **given))
    assert shown["KITH_PARTITIONS"]["value"].startswith("7")
    assert all(entry["meaning"] for entry in shown.values())
    table = run_kith("settings", **given)
    assert "KITH_TOPIC_PREFIX" in table
    assert "geheim" not in table + json.dumps(shown)


def test_a_wrong_setting_is_one_line_and_no_traceback() -> None:
    with kith("topics", "create", KITH_PARTITIONS="many") as process:
        output, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, output) == (2, "")
    assert errors.count("\n") == 1
    assert "KITH_PARTITIONS" in errors


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The command and all below it, by the words that lead there."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


def test_the_process_prints_what_the_command_says() -> None:
    said = CliRunner().invoke(app, ["--help"], prog_name="kith").stdout
    assert run_kith("--help").split() == said.split()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}, prog_name="kith")
    assert (done.exit_code, done.stderr) == (0, "")
    says = (COMMANDS[path].help or "").strip().splitlines()[0].replace("`", "")
    assert len(says) > 20
    assert says[:60] in done.stdout
    for parameter in COMMANDS[path].params:
        assert getattr(parameter, "help", None), f"{parameter.name} of {path} is not explained"


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


@pytest.fixture(scope="module")
def imported(
    stack: Stack, database: Database[Document], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The report of a first import. All of it is stored and counted then."""
    report: dict[str, Any] = json.loads(import_restaurants(stack, tmp_path_factory.mktemp("rejects")))
    wait_until_drained(stack.settings, database)
    return report


def import_restaurants(stack: Stack, folder: Path) -> str:
    rejects = folder / "rejected.jsonl"
    return run_kith("import", str(MAPPING), "--json", "--rejects", str(rejects), **environment(stack.settings))


def test_the_restaurants_are_stored(imported: dict[str, Any], database: Database[Document]) -> None:
    expected = {collection: len(rows(name)) for collection, name in FILES.items()}
    assert (imported["read"], imported["accepted"], imported["rejected"]) == (
        total := sum(expected.values()),
        total,
        0,
    )
    assert {name: database[name].count_documents({}) for name in expected} == expected
    pairs = {(row["userID"], row["placeID"]) for row in rows("rating_final")}
    stored = {(r["consumer_id"], r["provider_id"]): r["count"] for r in database.relationships.find()}
    assert stored == dict.fromkeys(pairs, 1)
    assert database.dead_letters.count_documents({}) == 0


@pytest.mark.usefixtures("imported")
def test_ratings_are_those_of_the_file(stack: Stack, database: Database[Document]) -> None:
    counts, ratings = Counter[str](), Counter[str]()
    for row in rows("rating_final"):
        counts[row["placeID"]] += 1
        ratings[row["placeID"]] += int(row["rating"])
    expected = {place: (count, ratings[place]) for place, count in counts.items()}
    assert len(expected) == len(rows("geoplaces"))

    stored: dict[str, tuple[int, int]] = {}
    for document in database.relationships.find():
        (cell,) = document["kinds"]["review"].values()
        count, total = stored.get(document["provider_id"], (0, 0))
        stored[document["provider_id"]] = count + cell["rating_count"], total + cell.get("rating_sum", 0)
    assert stored == expected

    analytics = stack.addresses["analytics"]
    top = get(f"{analytics}/v1/top", by="provider", measure="count", limit=1000)["items"]
    assert {item["key"]: (item["rating_count"], item["rating_sum"]) for item in top} == expected
    assert [item["value"] for item in top] == sorted(counts.values(), reverse=True)
    days = get(f"{analytics}/v1/aggregates", by="provider", bucket="day", limit=1000)["items"]
    assert {day["key"]: (day["count"], day["rating_sum"]) for day in days} == expected
    assert {day["key"]: day["consumers"] for day in days} == dict(counts), "nobody rated a place twice"
    (total,) = get(f"{analytics}/v1/aggregates", by="total", bucket="day")["items"]
    assert (total["count"], total["rating_sum"]) == (len(rows("rating_final")), sum(ratings.values()))
    assert total["consumers"] == len({row["userID"] for row in rows("rating_final")})


def test_a_second_import_changes_nothing(
    imported: dict[str, Any], stack: Stack, database: Database[Document], topics: Topics, tmp_path: Path
) -> None:
    logs = [topics.name(short) for short in (*CHANGES.values(), "dead-letters")]
    inputs = [topics.name(short) for short in INPUTS]
    before, before_ends = without_positions(database), ends(stack.settings, logs)
    read = sum(ends(stack.settings, inputs).values())
    assert json.loads(import_restaurants(stack, tmp_path)) == imported
    wait_until_drained(stack.settings, database)
    assert sum(ends(stack.settings, inputs).values()) >= read + imported["accepted"], (
        "the events have not come a second time"
    )
    assert ends(stack.settings, logs) == before_ends
    assert without_positions(database) == before


def without_positions(database: Database[Document]) -> dict[str, dict[str, Document]]:
    return {name: documents for name, documents in everything(database).items() if name != "positions"}


def test_the_status_counts_what_is_there(imported: dict[str, Any], stack: Stack) -> None:
    given = environment(stack.settings)
    status = json.loads(run_kith("status", "--json", **given))
    assert status["lag"] == dict.fromkeys(CORE_PROJECTIONS, 0)
    assert status["documents"]["relations"] == imported["sources"][2]["accepted"]
    assert all(partition["owner"] for partition in status["partitions"])
    assert f"{len(rows('rating_final')):,}" in run_kith("status", **given)
