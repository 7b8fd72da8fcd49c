"""``kith export`` on real documents."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pantab
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from services.cli.__main__ import app
from services.cli.export_progress import ExportProgress
from shared.access.audit_mongo import COLLECTION
from shared.contracts.errors import ConfigurationError, Unavailable
from tests.conftest import Addresses
from tests.support.databases import fresh_database
from tests.support.exports_world import ExportsWorld


@pytest.fixture(scope="module")
def world(servers: Addresses) -> Iterator[ExportsWorld]:
    """Nobody writes into it."""
    with fresh_database(servers) as database:
        yield ExportsWorld(database)


@pytest.fixture
def kith(servers: Addresses, world: ExportsWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KITH_MONGO", servers.mongo)
    monkeypatch.setenv("KITH_DATABASE", world.database.name)
    monkeypatch.setenv("KITH_ENCRYPTION", "off")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["export", *arguments])

    return run


def test_a_file_is_what_the_service_streams(kith: Any, world: ExportsWorld, tmp_path: Path) -> None:
    done = kith("relations", "--kind", "purchase", "--out", "made/r.csv")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "made/r.csv").read_bytes() == world.get("/v1/export/relations", kind="purchase").content
    assert "rows in made/r.csv" in done.stderr
    assert list((tmp_path / "made").iterdir()) == [tmp_path / "made/r.csv"]
    assert kith("relations", "--format", "jsonl").exit_code == 0
    [named] = tmp_path.glob("relations-????-??-??.jsonl")
    assert named.read_bytes() == world.get("/v1/export/relations", format="jsonl").content


def test_the_standard_output_has_nothing_but_the_rows(kith: Any, world: ExportsWorld) -> None:
    done = kith("providers", "--out", "-")
    assert done.stdout_bytes == world.get("/v1/export/providers").content
    assert kith("consumers", "--out", "-").stdout.count("Ada Berg") == 0
    assert kith("consumers", "--out", "-", "--personal").stdout.count("Ada Berg") == 1


def test_what_is_personal_is_for_its_owner_alone(kith: Any, tmp_path: Path) -> None:
    assert kith("consumers", "--out", "people.csv", "--personal").exit_code == 0
    assert (tmp_path / "people.csv").stat().st_mode & 0o077 == 0
    (tmp_path / "existing").mkdir(mode=0o755)
    for folder in ("days", "existing"):
        days = kith("relations", "--out", folder, "--partition-by", "day", "--personal")
        assert days.exit_code == 0, days.output
        below = [*(tmp_path / folder).rglob("*")]
        assert below
        assert [path for path in below if path.stat().st_mode & 0o077] == []
    assert (tmp_path / "days").stat().st_mode & 0o077 == 0


def test_several_go_into_a_folder(kith: Any, world: ExportsWorld, tmp_path: Path) -> None:
    done = kith("relations", "relationships", "measures/revenue", "--out", "all", "--format", "parquet")
    assert done.exit_code == 0, done.output
    tables = {path.name.rsplit("-", 3)[0]: pq.read_table(path) for path in (tmp_path / "all").iterdir()}
    assert set(tables) == {"relations", "relationships", "revenue"}
    assert tables["relations"].num_rows == sum(tables["relationships"]["count"].to_pylist()) == len(world.table)
    moments = {tables[name].schema.metadata[b"kith.as_of"] for name in ("relations", "relationships")}
    assert len(moments) == 1


def test_a_folder_of_days(kith: Any, world: ExportsWorld, tmp_path: Path) -> None:
    done = kith("relations", "--partition-by", "day", "--out", "days", "--from", "2026-10-01")
    assert done.exit_code == 0, done.output
    found = pq.read_table(tmp_path / "days")
    table = world.table[world.table["day"] >= "2026-10-01"]
    counts = table.groupby(table["day"].dt.strftime("%Y-%m-%d")).size().to_dict()
    days = [str(day) for day in found["date"].to_pylist()]
    assert {day: days.count(day) for day in days} == counts
    again = kith("relations", "--partition-by", "day", "--out", "days")
    assert isinstance(again.exception, ConfigurationError)
    aggregates = kith("aggregates", "--partition-by", "day", "--out", "sums")
    assert aggregates.exit_code == 0, aggregates.output
    assert pq.read_table(tmp_path / "sums").num_rows == len(world.csv("aggregates"))


def test_a_measure_with_its_parameters(kith: Any, world: ExportsWorld) -> None:
    done = kith("measures/cohorts", "--set", "unit=month", "--from", "2026-06-01", "--out", "-")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    first = world.table.groupby("consumer")["day"].min()
    for row in rows:
        begun = (first.dt.strftime("%Y-%m") == row["cohort"][:7]).sum()
        assert int(row["size"]) == begun
    assert len(rows) > 5


def test_a_measure_is_on_the_scale_of_the_installation(kith: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KITH_RATING_SCALES", '{"default": [0, 10]}')
    for name in ("ratings", "rating-distribution"):
        rows = [
            json.loads(line)
            for line in kith(f"measures/{name}", "--format", "jsonl", "--out", "-").stdout.splitlines()
        ]
        said = CliRunner().invoke(app, ["report", name, "--json"])
        items = json.loads(said.stdout)["items"]
        assert rows
        assert rows == [{key: value for key, value in item.items() if value is not None} for item in items]


@pytest.mark.parametrize("format", ["csv", "parquet", "jsonl", "hyper"])
def test_money_keeps_its_currency(kith: Any, world: ExportsWorld, tmp_path: Path, format: str) -> None:
    """A column in every file, full or empty; who is left out, the period and the rest beside it."""
    everything = ["measures/rfm-consumers", "--from", "2020-01-01", "--set", "currency=USD"]
    nothing = ["measures/rfm-consumers", "--from", "2019-01-01", "--to", "2019-02-01"]
    columns = []
    for at, arguments in enumerate((everything, nothing)):
        path = tmp_path / f"{at}.{format}"
        done = kith(*arguments, "--out", path.name)
        assert done.exit_code == 0, done.output
        table = _read(path)
        columns.append(table.column_names)
        assert set(table["currency"].to_pylist()) == ({"USD"} if at == 0 else set())
        if format == "jsonl":
            columns[-1] = columns[0]  # an empty file has no line that names them
        notes = " ".join(done.stderr.split())
        assert "Period: 20" in notes
        if at == 0:
            assert f"Left out: {_without(world, 'USD')} consumers" in notes
        if format == "parquet":
            about = json.loads(table.schema.metadata[b"kith.measure"])
            assert about["period"]["zone"] == "UTC"
            assert about["left_out"] == (_without(world, "USD") if at == 0 else 0)
            assert "items" not in about
    assert columns[0] == columns[1]


def _without(world: ExportsWorld, currency: str) -> int:
    bought = world.table[world.table["amount"].ge(0) & world.table["currency"].notna()]
    return len(set(bought["consumer"]) - set(bought[bought["currency"] == currency]["consumer"]))


def _read(path: Path) -> pa.Table:
    if path.suffix == ".hyper":
        [table] = pantab.frames_from_hyper(path, return_type="pyarrow").values()
        return table
    if path.suffix == ".parquet":
        return pq.read_table(path)
    if path.suffix == ".csv":
        with path.open() as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            return pa.table({name: [row[name] for row in rows] for name in reader.fieldnames or ()})
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return pa.Table.from_pylist(rows, pa.schema([("currency", pa.string())]))


def test_a_personal_read_is_recorded_with_its_subject_and_fields(kith: Any, world: ExportsWorld) -> None:
    audit = world.database[COLLECTION]
    before = audit.count_documents({})

    def recorded() -> list[Any]:
        entries = audit.find({"sequence": {"$gt": before}}, sort=[("sequence", 1)])
        return [(entry["action"], entry["subject"], entry["fields"]) for entry in entries]

    done = kith("relations", "consumers", "providers", "--consumer-id", "=ada", "--personal", "--out", "all")
    assert done.exit_code == 2, "providers have no consumer"
    expected = [
        ("personal.read", {"export": "relations", "consumer_id": "=ada"}, ["text"]),
        (
            "personal.read",
            {"export": "consumers", "consumer_id": "=ada"},
            ["city", "lat", "lon", "personal"],
        ),
    ]
    assert recorded() == expected
    assert kith("providers", "measures/revenue", "--personal", "--out", "others").exit_code == 0
    assert recorded() == expected, "nothing of these is personal"
    assert kith("consumers", "--out", "-").exit_code == 0
    assert recorded() == expected
    listed = CliRunner().invoke(app, ["audit", "list", "--subject", "=ada", "--json"])
    found = [json.loads(line)["subject"] for line in listed.stdout.splitlines()]
    assert [each for each in found if "export" in each] == [subject for _, subject, _ in reversed(expected)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "there is no dataset nothing"),
        (["measures/nothing"], "no measure nothing"),
        (["relationships", "--from", "2026-01-01"], "no filter of relationships"),
        (["relations", "--format", "xlsx"], "parquet"),
        (["relations", "--from", "soon"], "2026-11-21"),
        (["relations", "--partition-by", "month"], "day only"),
        (["relations", "--partition-by", "day", "--format", "csv"], "parquet only"),
        (["consumers", "--partition-by", "day"], "no day"),
        (["relations", "consumers", "--out", "-"], "folder"),
        (["relations", "--set", "unit=week"], "for measures"),
        (["measures/cohorts", "--set", "unit"], "is not NAME=VALUE"),
        (["measures/cohorts", "--set", "unit=year"], "Invalid value for --set unit"),
        (["measures/cohorts", "--from", "soon"], "Invalid value for --from"),
        (["measures/cohorts", "--purpose", "newsletter"], "Invalid value for --purpose"),
        (["measures/cohorts", "--consumer-id", "c01"], "Invalid value for --consumer-id"),
        (["measures/cohorts", "--set", "colour=red"], "Invalid value for --set colour: is no parameter"),
        (["measures/cohorts", "--tenant", "Default"], "Invalid value for --tenant"),
        (["relations", "--tenant", "Default"], "Invalid value for --tenant"),
        (["relations", "--kind", "Purchase"], "Invalid value for --kind"),
        (["aggregates", "--kind", "purchase|review"], "Invalid value for --kind"),
        (["aggregates", "--by", "providers"], "Invalid value for --by"),
        (["relations", "--purpose", "news.letter"], "Invalid value for --purpose"),
        (["relations", "--consumer-id", " c01"], "Invalid value for --consumer-id"),
        (["relations", "--category", "\x00"], "Invalid value for --category"),
    ],
)
def test_what_cannot_be_asked_leaves_no_file(kith: Any, tmp_path: Path, arguments: list[str], words: str) -> None:
    done = kith(*arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.output.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_a_failure_midway_leaves_no_file(kith: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.exports import text

    def broken(*_: Any) -> Iterator[bytes]:
        yield b"id"
        raise Unavailable("gone")

    monkeypatch.setattr(text, "_day", broken)
    monkeypatch.setattr("services.exports.formats.csv_lines", broken)
    done = kith("relations", "--out", "r.csv")
    assert isinstance(done.exception, Unavailable)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [Unavailable("gone"), KeyboardInterrupt()], ids=["unavailable", "interrupted"])
@pytest.mark.parametrize("existing", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("after", [0, 1], ids=["writing", "naming"])
def test_a_failure_midway_leaves_no_day(
    kith: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    existing: bool,
    after: int,
) -> None:
    """The folder is as before, and a second attempt succeeds."""
    from services.exports import partitions

    folder = tmp_path / "days"
    if existing:
        folder.mkdir()
    write = partitions._Days.write
    rename = Path.rename
    calls = iter(range(3))

    def broken(self: Any, day: str, rows: Any) -> None:
        write(self, day, rows)
        if next(calls) == 2:
            raise error

    def broken_name(self: Path, target: Path) -> Path:
        if next(calls) == (2 if existing else 0):
            raise error
        return rename(self, target)

    with monkeypatch.context() as patched:
        if after:
            patched.setattr(Path, "rename", broken_name)
        else:
            patched.setattr(partitions._Days, "write", broken)
        done = kith("relations", "--partition-by", "day", "--out", "days")
    assert done.exit_code != 0
    assert [*tmp_path.rglob("*")] == ([folder] if existing else [])
    assert kith("relations", "--partition-by", "day", "--out", "days").exit_code == 0
    assert {path.name.partition("=")[0] for path in folder.iterdir()} == {"date"}


def test_what_a_killed_export_left_is_no_obstacle(kith: Any, tmp_path: Path) -> None:
    (tmp_path / "days.partial/date=2026-01-01").mkdir(parents=True)
    assert kith("relations", "--partition-by", "day", "--out", "days").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["days"]
    (tmp_path / "within/.partial/date=2026-01-01").mkdir(parents=True)
    assert kith("relations", "--partition-by", "day", "--out", "within").exit_code == 0
    assert not (tmp_path / "within/.partial").exists()


def test_a_file_or_a_strange_folder_is_left_alone(kith: Any, tmp_path: Path) -> None:
    (tmp_path / "days").write_text("mine")
    assert isinstance(kith("relations", "--partition-by", "day", "--out", "days").exception, ConfigurationError)
    (tmp_path / "sums.partial").mkdir()
    (tmp_path / "sums.partial/mine").write_text("mine")
    assert isinstance(kith("relations", "--partition-by", "day", "--out", "sums").exception, ConfigurationError)
    assert (tmp_path / "sums.partial/mine").read_text() == (tmp_path / "days").read_text() == "mine"


def test_progress_counts_what_has_been_read() -> None:
    class Rows:
        closed = False

        def __init__(self) -> None:
            self._lots: Iterator[Any] = iter([[{}] * 2_000, [{}] * 500])

        def __iter__(self) -> "Rows":
            return self

        def __next__(self) -> Any:
            return next(self._lots)

        def close(self) -> None:
            self.closed = True

    rows, progress = Rows(), ExportProgress()
    counted = progress.counted("relations", rows)
    assert sum(len(lot) for lot in counted) == 2_500
    [task] = progress._bars.tasks
    assert task.completed == 2_500
    assert task.fields["rate"] > 0
    counted.close()
    assert rows.closed


def test_the_command_as_a_process(servers: Addresses, world: ExportsWorld) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "export", "relations", "--out", "-", "--format", "jsonl"],
        env={**os.environ, "KITH_MONGO": servers.mongo, "KITH_DATABASE": world.database.name},
        capture_output=True,
        check=True,
    )
    assert (
        sum(json.loads(line).get("amount", 0) for line in done.stdout.splitlines()) == world.table["amount"].sum()
    )
    assert done.stderr == b""
