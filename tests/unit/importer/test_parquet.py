"""Parquet: types as they are stored, nested values, and what cannot be read."""

import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.importer.draft import write_draft
from services.importer.files import File
from services.importer.mapping import MappingError
from services.importer.row import Row
from services.importer.rows import open_rows
from services.importer.values import Unreadable
from tests.support.importer import Recorder, imported, rejected, visits, write_mapping

NOON = datetime(2024, 5, 1, 12, 0, 0, 123_456, UTC)


def write(path: Path, columns: dict[str, Any], **options: Any) -> None:
    pq.write_table(pa.table(columns), path, **options)


def cells(path: Path) -> list[dict[str, Any]]:
    with open_rows(File(path=str(path), format="parquet")) as opened:  # type: ignore[arg-type]
        found = list(opened.rows)
        assert opened.size == opened.position() == len(found)
    assert [row.number for row in found] == list(range(1, len(found) + 1))
    return [row.fields for row in found if isinstance(row, Row)]


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (pa.array([7], pa.int64()), 7),
        (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
        (pa.array([True]), True),
        (pa.array(["a"], pa.large_string()), "a"),
        (pa.array(["a", "a"]).dictionary_encode().slice(0, 1), "a"),
        (pa.array([Decimal("12.50")], pa.decimal128(9, 2)), Decimal("12.50")),
        (pa.array([Decimal("1" * 50 + ".5")], pa.decimal256(60, 1)), Decimal("1" * 50 + ".5")),
        (pa.array([0.1], pa.float64()), 0.1),
        (pa.array([0.1], pa.float32()), 0.1),
        (pa.array([date(2024, 5, 1)]), date(2024, 5, 1)),
        (pa.array([NOON], pa.timestamp("us", "UTC")), NOON),
        (pa.array([NOON], pa.timestamp("ns", "Europe/Berlin")), NOON),
        (pa.array([NOON], pa.timestamp("us", "+05:30")), NOON),
        (
            pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ms")),
            NOON.replace(tzinfo=None, microsecond=123_000),
        ),
        (pa.array([time(10, 15)], pa.time64("ns")), time(10, 15)),
        (pa.array([b"caf\xc3\xa9"], pa.binary()), "café"),
        (pa.array([[1, None, 3]]), [1, None, 3]),
        (pa.array([[{"a": [b"x"]}]]), [{"a": ["x"]}]),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), {"k": 1}),
        (pa.array([[]], pa.map_(pa.string(), pa.int64())), {}),
        (pa.array([[[("k", 1)], []]], pa.list_(pa.map_(pa.string(), pa.int64()))), [{"k": 1}, {}]),
        (pa.array([None], pa.null()), None),
        (pa.array([None], pa.float32()), None),
        (pa.array([None], pa.list_(pa.int64())), None),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_values_have_the_types_of_the_file(tmp_path: Path, stored: pa.Array, read: Any) -> None:
    write(tmp_path / "v.parquet", {"x": stored})
    [row] = cells(tmp_path / "v.parquet")
    assert row == {"x": read}
    assert type(row["x"]) is type(read)


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        (pa.array([float("nan")]), "NaN"),
        (pa.array([float("-inf")], pa.float32()), "-Infinity"),
        (pa.array([b"\xff"], pa.binary()), "\\xff"),
        (pa.array([2**62], pa.int64()).cast(pa.timestamp("us", "UTC")), ""),
        # In microseconds it would be just before 1970.
        (pa.array([2**63 - 1], pa.timestamp("ms")), ""),
        (pa.array([-(2**63)], pa.timestamp("ms", "UTC")), ""),
        (pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())), ""),
        (pa.array([[b"\xff"]], pa.list_(pa.binary())).cast(pa.list_(pa.binary())).view(pa.list_(pa.string())), ""),
        (pa.array([b"\xff\xfe"], pa.binary()).view(pa.string()), "\\xff\\xfe"),
    ],
)
def test_what_is_no_value_is_said_where_it_is_used(tmp_path: Path, stored: pa.Array, text: str) -> None:
    write(tmp_path / "v.parquet", {"x": stored})
    [row] = cells(tmp_path / "v.parquet")
    assert isinstance(row["x"], Unreadable)
    assert row["x"].text == text


@pytest.mark.parametrize(
    "flat",
    [
        pa.array([NOON], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([NOON.timestamp() * 10**9 + 1], pa.int64()).cast(pa.timestamp("ns")),
        pa.array([NOON], pa.timestamp("us", "+05:30")),
        pa.array([time(10, 15)], pa.time64("ns")),
        pa.array([time(10, 15)], pa.time32("s")),
        pa.array([date(2024, 5, 1)]),
        pa.array([0.1], pa.float32()),
        pa.array([0.1], pa.float32()).cast(pa.float16()),
        pa.array([float("nan")], pa.float32()),
        pa.array([Decimal("12.50")], pa.decimal128(9, 2)),
        pa.array(["a"]).dictionary_encode(),
        pa.array([b"caf\xc3\xa9"], pa.binary()),
        pa.array([2**63 - 1], pa.timestamp("ms")),
    ],
    ids=lambda value: str(value.type),
)
def test_a_value_within_a_list_or_an_object_is_what_it_is_in_a_column(tmp_path: Path, flat: pa.Array) -> None:
    kind = flat.type
    value = flat.dictionary_decode() if pa.types.is_dictionary(kind) else flat
    keys, some = pa.array(["k"]), pa.array([0, 1], pa.int32())
    of_struct = pa.StructArray.from_arrays([flat, pa.array([1])], ["at", "n"])
    columns = {
        "flat": flat,
        "struct": of_struct,
        "list": pa.ListArray.from_arrays(some, value),
        "fixed": pa.FixedSizeListArray.from_arrays(value, 1),
        "map": pa.MapArray.from_arrays(some, keys, value),
        "deep": pa.LargeListArray.from_arrays(pa.array([0, 1], pa.int64()), of_struct),
        "none": pa.array([None], pa.list_(value.type)),
    }
    write(tmp_path / "v.parquet", columns)
    [row] = cells(tmp_path / "v.parquet")
    one = row.pop("flat")
    if isinstance(one, Unreadable) and not one.text:  # a time of no year, which the cell as a whole then is
        assert [type(cell) for cell in row.values()] == [Unreadable] * 5 + [type(None)]
        return
    wanted = {
        "struct": {"at": one, "n": 1},
        "list": [one],
        "fixed": [one],
        "map": {"k": one},
        "deep": [{"at": one, "n": 1}],
        "none": None,
    }
    assert str(row) == str(wanted)  # with what is unreadable


def test_a_file_of_many_row_groups_becomes_events(tmp_path: Path) -> None:
    count = 2_500
    berlin = timezone(timedelta(hours=2))
    write(
        tmp_path / "orders.parquet",
        {
            "who": [f"c{n}" if n != 1_234 else None for n in range(count)],
            "shop": [{"id": uuid.UUID(int=n).hex, "city": "Lyon"} for n in range(count)],
            "total": pa.array([Decimal(n) / 100 for n in range(count)], pa.decimal128(12, 2)),
            "at": pa.array([datetime(2024, 5, 1, 2, tzinfo=berlin)] * count, pa.timestamp("ns", "Europe/Berlin")),
            "tags": [["new", str(n)] for n in range(count)],
        },
        row_group_size=700,
    )
    mapping = write_mapping(
        tmp_path,
        """
        [[source]]
        path = "orders.parquet"
        type = "relation.recorded"
        time = "at"
        [source.fields]
        kind = { const = "purchase" }
        consumer_id = "who"
        provider_id = "shop.id"
        amount = { column = "total", scale = 100 }
        currency = { const = "EUR" }
        "traits.city" = "shop.city"
        """,
    )
    report = imported(mapping, recorder := Recorder())
    assert (report.read, report.accepted, report.rejected) == (count, count - 1, 1)
    events = recorder.events()
    assert events[7]["data"] | {"relation_id": ""} == {
        "relation_id": "",
        "kind": "purchase",
        "consumer_id": "c7",
        "provider_id": uuid.UUID(int=7).hex,
        "occurred_at": "2024-05-01T00:00:00Z",
        "amount": 7,
        "currency": "EUR",
        "traits": {"city": "Lyon"},
    }
    [bad] = rejected(mapping)
    assert (bad["number"], bad["field"]) == (1_235, "data.consumer_id")
    assert bad["row"]["total"] == "12.34"
    assert bad["row"]["tags"] == ["new", "1234"]


def test_nan_may_stand_for_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path / "v.parquet", {"who": ["a", "b"], "where": ["p", "p"], "stars": [float("nan"), 4.0]})
    mapping = visits(tmp_path, "v.parquet", fields='rating = "stars"')
    assert [one["detail"] for one in (imported(mapping), rejected(mapping))[1]] == [
        "is not a number (column stars)"
    ]
    mapping = visits(tmp_path, "v.parquet", 'missing = ["NaN"]', fields='rating = "stars"')
    assert imported(mapping).accepted == 2


def test_a_draft_of_a_file_is_a_mapping_of_it(tmp_path: Path) -> None:
    write(
        tmp_path / "orders.parquet",
        {
            "customer_id": ["a", "b"],
            "shop_id": [1, 2],
            "order_date": [NOON, NOON],
            "total": pa.array([Decimal("12.50"), None], pa.decimal128(9, 2)),
            "place": [{"city": "Lyon"}, None],
        },
    )
    mapping = write_draft(tmp_path / "orders.parquet")
    report = imported(mapping, recorder := Recorder())
    assert report.accepted == 2, rejected(mapping)
    assert [(one["data"]["consumer_id"], one["data"]["provider_id"]) for one in recorder.events()] == [
        ("a", "1"),
        ("b", "2"),
    ]


def test_a_damaged_file_is_refused_and_one_that_ends_early_says_where(tmp_path: Path) -> None:
    for content in (b"", b"PAR1", b"who,where\n" * 50):
        (tmp_path / "v.parquet").write_bytes(content)
        with pytest.raises(MappingError, match=r"v\.parquet: is not Parquet, or damaged \(\w+\): write it anew"):
            imported(visits(tmp_path, "v.parquet"))
    many = 3_000
    write(
        tmp_path / "v.parquet",
        {"who": [f"c{n}" for n in range(many)], "where": ["p"] * many},
        row_group_size=1_000,
    )
    whole = bytearray((tmp_path / "v.parquet").read_bytes())
    last = pq.ParquetFile(tmp_path / "v.parquet").metadata.row_group(2).column(0).dictionary_page_offset
    whole[last : last + 40] = b"\xff" * 40
    (tmp_path / "v.parquet").write_bytes(whole)
    recorder = Recorder()
    with pytest.raises(MappingError, match="after row 2,000"):
        imported(visits(tmp_path, "v.parquet"), recorder)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path / "v.parquet", {"who": ["a"], "place": [{"id": "p"}]})
    with pytest.raises(MappingError, match=r'has no column "where", but who, place, place\.id'):
        imported(visits(tmp_path, "v.parquet"))
