"""Parquet by day in bounded memory, Tableau's files, and installations without the libraries."""

import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from services.analytics.measures.catalogue import MEASURES as ANALYTICS
from services.exports.columns import Column, Row, WriterFailed
from services.exports.datasets import DATASETS
from services.exports.formats import FORMATS
from services.exports.measures import measure_export
from services.exports.native import parquet, write_hyper
from services.exports.partitions import write_by_day
from services.exports.snapshot import MomentPassed
from services.exports.source import Export
from services.relations.measures.catalogue import MEASURES as RELATIONS
from shared.http.parameters import BadParameter
from shared.measures.query import NotInstalled

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
COLUMNS = [Column("n", "integer", "A number."), Column("time", "time", "When."), Column("kind", "choice", "What.")]


class Rows:
    def __init__(self, lots: Iterator[Sequence[Row]]) -> None:
        self._lots = lots
        self.closed = False

    def __iter__(self) -> Iterator[Sequence[Row]]:
        return self

    def __next__(self) -> Sequence[Row]:
        return next(self._lots)

    def close(self) -> None:
        self.closed = True


def numbered(count: int, days: int) -> Iterator[list[Row]]:
    rows: list[Row] = [
        {"n": n, "time": NOW + timedelta(days=n * 7 % days), "kind": f"k{n % 3}"} for n in range(count)
    ]
    for begin in range(0, count, 100):
        yield rows[begin : begin + 100]


def export(lots: Iterator[Sequence[Row]], day: str | None = "time") -> Export:
    return Export("relations", "default", COLUMNS, NOW, Rows(lots), day)


@pytest.mark.parametrize(("waiting", "open_files"), [(10**9, 128), (300, 128), (300, 3), (0, 1)])
def test_every_row_is_in_a_file_of_its_day(tmp_path: Path, waiting: int, open_files: int) -> None:
    files = write_by_day(export(numbered(2_000, 11)), tmp_path, waiting, open_files)
    found = []
    paths = sorted(tmp_path.glob("date=*/part-*.parquet"))
    assert len(paths) == files >= 11
    for path in paths:
        day = date.fromisoformat(path.parent.name.removeprefix("date="))
        rows = pq.ParquetFile(path).read().to_pylist()
        assert {row["time"].date() for row in rows} == {day}
        found += [row["n"] for row in rows]
    assert sorted(found) == list(range(2_000))
    whole = pq.read_table(tmp_path)
    assert whole.num_rows == 2_000
    assert len(set(whole["date"].to_pylist())) == 11


def test_what_has_no_day_is_not_partitioned(tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match="no day"):
        write_by_day(export(numbered(10, 2), day=None), tmp_path)


def test_an_error_on_the_way_stays_what_it_is(tmp_path: Path) -> None:
    def broken() -> Iterator[list[Row]]:
        yield from numbered(100, 2)
        raise MomentPassed("too late")

    for write in (
        lambda: write_by_day(export(broken()), tmp_path / "days"),
        lambda: list(FORMATS["parquet"].chunks(export(broken()))),
        lambda: list(FORMATS["hyper"].chunks(export(broken()))),
    ):
        with pytest.raises(MomentPassed, match="too late"):
            write()


def test_a_tableau_file_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    chunks = FORMATS["hyper"].chunks(export(numbered(500, 3)))
    assert len(next(chunks)) > 0
    # Nor while it is being read: a process that is killed then takes the file along.
    assert not list(tmp_path.iterdir())
    chunks.close()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "hyper"])
def test_without_the_libraries_texts_work_and_the_rest_says_what_to_install(
    format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.exports.formats.find_spec", lambda _: None)
    if format in ("parquet", "hyper"):
        with pytest.raises(NotInstalled, match="extra exports"):
            FORMATS[format].chunks(export(numbered(10, 2)))
    else:
        assert b"".join(FORMATS[format].chunks(export(numbered(10, 2))))


class Cohort(BaseModel):
    cohort: date
    size: int
    active: list[int]
    share: float | None
    who: dict[str, int]
    late: bool | None
    id: str


class Cohorts(BaseModel):
    unit: str
    items: list[Cohort]


SCHEMA = Cohorts.model_json_schema(mode="serialization")
ITEMS: list[dict[str, Any]] = [
    {"cohort": "2026-10-01", "size": 3, "active": [3, 1], "share": 1, "who": {"EUR": 5}, "late": None, "id": "x"},
    {"cohort": "2026-11-01", "size": 2, "active": [2], "share": None, "who": {}, "late": True, "id": "2026-02-30"},
]


@pytest.mark.parametrize("items", [ITEMS, ITEMS[:1], ITEMS[1:], []], ids=len)
def test_a_measure_has_the_columns_and_types_of_its_model_whatever_the_rows(items: list[dict[str, Any]]) -> None:
    found = measure_export("cohorts", "default", {"unit": "month", "items": items}, NOW, SCHEMA)
    assert {column.name: column.type for column in found.columns} == {
        "cohort": "day",
        "size": "integer",
        "share": "number",
        "who": "json",
        "late": "boolean",
        "id": "text",
        "offset": "integer",
        "active": "integer",
    }
    rows = [row for lot in found.rows for row in lot]
    assert [(row["cohort"], row["offset"], row["active"], row["id"]) for row in rows] == [
        (date.fromisoformat(item["cohort"]), at, active, item["id"])
        for item in items
        for at, active in enumerate(item["active"])
    ]
    assert found.filename == "cohorts-2026-11-21"


def test_what_is_masked_is_no_column() -> None:
    answer = {"items": [{**ITEMS[0], "size": "•••"}], "masked": ["size"]}
    found = measure_export("cohorts", "default", answer, NOW, SCHEMA)
    assert ("size" in [column.name for column in found.columns], found.hidden) == (False, ["size"])
    assert b"".join(FORMATS["csv"].chunks(found))


FORMAT_NAMES = list(FORMATS)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(max_size=20),
    "choice": st.sampled_from(["view", "purchase", "=1", ""]),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(),
    "boolean": st.booleans(),
    "time": st.datetimes(timezones=st.just(UTC)),
    "day": st.dates(),
    "texts": st.lists(st.text(max_size=5), max_size=3),
    "json": st.just('{"EUR":5}'),
}


@pytest.mark.parametrize("format", FORMAT_NAMES)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_rows_of_any_column_end_the_process(format: str, data: st.DataObject) -> None:
    """Native code that aborts would end the tests: empty, all null, and whatever a column can have."""
    columns = [Column(f"c{n}", type, "…") for n, type in enumerate(data.draw(st.permutations(list(VALUES))))]  # type: ignore[arg-type]
    columns = columns[: data.draw(st.integers(0, len(columns)))]
    filled = data.draw(st.sampled_from(["full", "null", "empty"]))
    rows = [
        {c.name: None if filled == "null" else data.draw(st.none() | VALUES[c.type]) for c in columns}
        for _ in range(0 if filled == "empty" else data.draw(st.integers(1, 3)))
    ]
    made = Export("measures/x-y", "default", columns, NOW, Rows(iter([rows])))
    if format == "hyper" and not columns:
        with pytest.raises(WriterFailed, match="at least one column"):
            list(FORMATS[format].chunks(made))
        return
    assert isinstance(b"".join(FORMATS[format].chunks(made)), bytes)


Names = Callable[[bytes, str], list[str]]


@pytest.fixture(scope="module")
def names_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    """The columns of a table in a file for Tableau. They are read in a process of its own, as each is written in
    one."""
    read = (
        "import pantab, sys\n"
        "for line in sys.stdin:\n"
        "    file, table = line.rstrip('\\n').split('\\t')\n"
        "    print(*pantab.frame_from_hyper(file, table=table, return_type='pyarrow').column_names, flush=True)"
    )
    folder = tmp_path_factory.mktemp("read")
    command = [sys.executable, "-c", read]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir()
    ) as reader:

        def names(content: bytes, table: str) -> list[str]:
            assert reader.stdin is not None
            assert reader.stdout is not None
            file = folder / "read.hyper"
            file.write_bytes(content)
            print(file, table, sep="\t", file=reader.stdin, flush=True)
            return reader.stdout.readline().split()

        yield names
        # Its input ends with the block.
    assert reader.returncode == 0


@pytest.mark.parametrize("dataset", list(DATASETS))
@pytest.mark.parametrize("format", FORMAT_NAMES)
def test_every_dataset_without_rows_is_a_file_with_its_columns(dataset: str, format: str, names_of: Names) -> None:
    columns = DATASETS[dataset].columns
    content = b"".join(FORMATS[format].chunks(Export(dataset, "default", columns, NOW, Rows(iter([])))))
    if format == "parquet":
        assert pq.read_table(io.BytesIO(content)).column_names == [column.name for column in columns]
    if format == "hyper":
        assert names_of(content, dataset) == [column.name for column in columns]


ANSWERS: dict[str, type[BaseModel]] = {
    **{each.name: each.answer for each in ANALYTICS},
    **{each.name: each.answer for each in RELATIONS},
}


@pytest.mark.parametrize("name", sorted(ANSWERS))
@pytest.mark.parametrize("format", ["parquet", "hyper", "csv"])
def test_every_measure_without_items_is_a_file_with_its_columns(name: str, format: str, names_of: Names) -> None:
    schema = ANSWERS[name].model_json_schema(mode="serialization")
    made = measure_export(name, "default", {"items": []}, NOW, schema)
    assert made.columns
    content = b"".join(FORMATS[format].chunks(made))
    if format == "hyper":
        assert names_of(content, name) == [column.name for column in made.columns]


def child(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.exports.native._CHILD", (sys.executable, "-c", code))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.abort()", "ended by the signal SIGABRT"),
        (
            "import sys; sys.stdin.buffer.read(); import os; os.kill(os.getpid(), 11)",
            "ended by the signal SIGSEGV",
        ),
        ("raise ValueError('ann@example.org')", r"failed \(ValueError\)"),
        ("import sys; sys.stdin.buffer.read()", "failed"),
        ("import time; time.sleep(600)", "made no progress for 0.5 seconds"),
        ("import sys, time; sys.stdin.buffer.read(); time.sleep(600)", "made no progress for 0.5 seconds"),
    ],
)
def test_a_writer_that_dies_or_hangs_ends_nothing_else_and_says_why(
    code: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(code, monkeypatch)
    with pytest.raises(WriterFailed, match=reason) as failed:
        write_hyper(export(numbered(20_000, 3)), tmp_path / "x.hyper", step_seconds=0.5 if "sleep" in code else 60)
    assert "ann@example.org" not in str(failed.value)
    assert "export another format" in str(failed.value)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os; os.abort()", "ended by the signal SIGABRT"),
        ("import sys, os; sys.stdin.buffer.read(); os.kill(os.getpid(), 11)", "ended by the signal SIGSEGV"),
        ("import sys, os; os.write(1, b'PAR1'); os.kill(os.getpid(), 9)", "ended by the signal SIGKILL"),
        ("raise ValueError('ann@example.org')", r"failed \(ValueError\)"),
        ("import time; time.sleep(600)", "made no progress for 1 seconds"),
        ("import sys, time; sys.stdin.buffer.read(); time.sleep(600)", "made no progress for 1 seconds"),
    ],
)
def test_a_writer_of_parquet_that_dies_or_hangs_is_an_error(
    code: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child(code, monkeypatch)
    with pytest.raises(WriterFailed, match=reason) as failed:
        list(parquet(export(numbered(40_000, 3)), step_seconds=1 if "sleep" in code else 60))
    assert "ann@example.org" not in str(failed.value)
    assert "export another format (csv)" in str(failed.value)


def test_parquet_is_written_while_the_rows_are_read_and_never_ahead_of_its_reader() -> None:
    read = 0

    def counted() -> Iterator[list[Row]]:
        nonlocal read
        for number in range(10_000):
            read += 1
            # Nothing to compress: each batch is some 30 kB in the file.
            yield [{"n": hash((number, n)), "time": NOW, "kind": f"{hash((n, number)):x}"} for n in range(1_000)]

    chunks = parquet(export(counted()))
    next(chunks)
    first = read
    time.sleep(0.5)
    assert read - first < 1_000, "the rest waits for the reader"
    chunks.close()  # type: ignore[attr-defined]
    assert read < 10_000
    ended = read
    time.sleep(0.2)
    assert read == ended
