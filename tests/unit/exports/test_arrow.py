"""Parquet by day in bounded memory, Tableau's files, and installations without the libraries."""

import builtins
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from services.exports.columns import Column, Row
from services.exports.formats import FORMATS
from services.exports.measures import measure_export
from services.exports.partitions import write_by_day
from services.exports.snapshot import MomentPassed
from services.exports.source import Export
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
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name in ("services.exports.arrow", "services.exports.hyper"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    if format in ("parquet", "hyper"):
        with pytest.raises(NotInstalled, match=r"kith\[exports\]"):
            FORMATS[format].chunks(export(numbered(10, 2)))
    else:
        assert b"".join(FORMATS[format].chunks(export(numbered(10, 2))))


def test_a_measure_becomes_rows_with_types() -> None:
    answer = {
        "unit": "month",
        "items": [
            {"cohort": "2026-10-01", "size": 3, "active": [3, 1], "share": 1, "who": {"EUR": 5}, "late": None},
            {"cohort": "2026-11-01", "size": 2, "active": [2], "share": 0.5, "who": {}, "late": True},
        ],
    }
    found = measure_export("cohorts", "default", answer, NOW)
    assert {column.name: column.type for column in found.columns} == {
        "cohort": "day",
        "size": "integer",
        "share": "number",
        "who.EUR": "integer",
        "late": "boolean",
        "offset": "integer",
        "active": "integer",
    }
    rows = [row for lot in found.rows for row in lot]
    assert [(row["cohort"], row["offset"], row["active"]) for row in rows] == [
        (date(2026, 10, 1), 0, 3),
        (date(2026, 10, 1), 1, 1),
        (date(2026, 11, 1), 0, 2),
    ]
    assert found.filename == "cohorts-2026-11-21"
