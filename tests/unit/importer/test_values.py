"""One field at a time: numbers, times, maps and the order of the steps."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.importer.numbers import Style, to_decimal, to_int
from services.importer.times import to_time
from services.importer.values import BadValue, to_bool
from tests.support.importer import Recorder, imported, rejected, visits, write_mapping

PEOPLE = """
[[source]]
path = "v.jsonl"
type = "consumer.upserted"
[source.fields]
consumer_id = "who"
personal.x = {{ column = "a"{options} }}
"""


def field(folder: Path, spec: str, cell: Any, path: str = "traits.x", extra: str = "") -> Any:
    """What a field of that table makes of a cell; a rejected row gives its field and detail."""
    (folder / "v.jsonl").write_text(json.dumps({"who": "c", "where": "p", "a": cell, "b": extra}))
    mapping = visits(folder, "v.jsonl", fields=f"{path} = {{ {spec} }}")
    recorder = Recorder()
    if imported(mapping, recorder).rejected:
        return rejected(mapping)[0]["field"], rejected(mapping)[0]["detail"]
    data = recorder.events()[0]["data"]
    for part in path.split("."):
        data = data.get(part, {})
    return data if data != {} else None


@pytest.mark.parametrize(
    ("spec", "cell", "value"),
    [
        ('column = "a"', "  text ", "text"),
        ('column = "a"', "", None),
        ('column = "a"', None, None),
        ('column = "a"', 2.5, 2.5),
        ('column = "a"', True, True),
        ('column = "a", missing = ["n/a", -1]', "n/a", None),
        ('column = "a", missing = ["n/a", -1]', -1, None),
        ('column = "a", default = "unknown"', "", "unknown"),
        ('column = "a", map = { x = "y" }', "x", "y"),
        ('column = "a", map = { x = "y" }', "X", "X"),
        ('column = "a", map = { x = "y" }, ignore_case = true', "X", "y"),
        ('column = "a", map = { x = true }', "x", True),
        ('column = "a", map = { 1 = "one" }', 1, "one"),
        ('column = "a", map = { x = "y" }, unmapped = "missing"', "z", None),
        (
            'column = "a", map = { x = "y" }, unmapped = "reject"',
            "z",
            ("data.traits.x", "is not in the map (column a)"),
        ),
        ('column = "a", map = { x = "" }, default = "d"', "x", ""),
        ('column = "a", case = "upper"', "abc", "ABC"),
        ('column = "a", strip = "[]"', "[ abc ]", "abc"),
        ('column = "a", split = ",", case = "lower"', "B, a,,B", ["b", "a", "b"]),
        ('column = "a", type = "int"', "12", 12),
        ('column = "a", type = "int"', "12.0", 12),
        ('column = "a", type = "int"', 12.0, 12),
        ('column = "a", type = "int"', "12.5", ("data.traits.x", "is not a whole number (column a)")),
        ('column = "a", type = "int", round = true', "12.5", 12),
        ('column = "a", type = "int", round = true', "13.5", 14),
        ('column = "a", type = "int", scale = 100', "1.15", 115),
        ('column = "a", type = "int", scale = 100, decimal = ",", thousands = "."', "1.234,56", 123456),
        ('column = "a", type = "float", decimal = ","', "1.5", ("data.traits.x", "is not a number (column a)")),
        ('column = "a", type = "int", multiply = "b"', 3, 21),
        ('column = "a", type = "float"', "1e3", 1000.0),
        ('column = "a", type = "float"', "0.1", 0.1),
        (
            'column = "a", type = "float"',
            "12345678901234567.5",
            (
                "data.traits.x",
                "is a number that cannot be stored exactly: it has too many digits (column a)",
            ),
        ),
        ('column = "a", type = "float", round = true', "12345678901234567.5", 12345678901234568.0),
        ('column = "a", type = "text"', 4.917e17, "491700000000000000"),
        ('column = "a", type = "text"', 1e-7, "0.0000001"),
        ('column = "a", type = "text"', 2.50, "2.5"),
        ('column = "a", type = "float"', "nan", ("data.traits.x", "is not a number (column a)")),
        ('column = "a", type = "bool"', "Yes", True),
        ('column = "a", type = "bool"', 0, False),
        ('column = "a", type = "bool"', "perhaps", ("data.traits.x", "is neither true nor false (column a)")),
        ('column = "a", type = "text"', 7, "7"),
        ('column = "a", type = "text"', {"b": 1}, ("data.traits.x", "is neither text nor a number (column a)")),
        ('column = "a", type = "time"', "2024-05-01T10:00:00+02:00", "2024-05-01T08:00:00+00:00"),
        ('template = "{a}/{b} {{x}}"', "l", "l/7 {x}"),
        ('template = "{a}/{b}"', "", None),
        ('const = "k", when = "a"', "", None),
        ('const = "k", when = "a"', "there", "k"),
        ('const = ["k", "l"]', "", ["k", "l"]),
    ],
)
def test_a_field(tmp_path: Path, spec: str, cell: Any, value: Any) -> None:
    found = field(tmp_path, spec, cell, extra="7")
    assert found == value
    assert type(found) is type(value)


LOST = "is a number with an exponent, and digits may be lost: write it as text (column a)"


@pytest.mark.parametrize("options", ["", ', type = "text"'])
@pytest.mark.parametrize(
    ("cell", "value"),
    [
        (491701234567.0, "491701234567"),
        (10115.0, "10115"),
        (10115, "10115"),
        (37.5, "37.5"),
        ("+49 170", "+49 170"),
        ("10115.0", "10115.0"),
        (4.917e17, ("data.personal.x", LOST)),
        (1e300, ("data.personal.x", LOST)),
    ],
)
def test_numbers_of_personal_data_keep_their_digits(tmp_path: Path, options: str, cell: Any, value: Any) -> None:
    (tmp_path / "v.jsonl").write_text(json.dumps({"who": "c", "a": cell}))
    mapping = write_mapping(tmp_path, PEOPLE.format(options=options))
    report = imported(mapping, recorder := Recorder())
    if report.rejected:
        assert (rejected(mapping)[0]["field"], rejected(mapping)[0]["detail"]) == value
    else:
        assert recorder.events()[0]["data"]["personal"]["x"] == value


@pytest.mark.parametrize(
    ("cell", "value"),
    [(491701234567.0, "491701234567"), (9007199254740993.0, None), (1e999, None), (37.5, "37.5")],
)
def test_numbers_of_sqlite_do_so_too(tmp_path: Path, cell: float, value: str | None) -> None:
    with closing(sqlite3.connect(tmp_path / "v.db")) as connection:
        connection.execute("CREATE TABLE v (who TEXT, a REAL)")
        connection.execute("INSERT INTO v VALUES ('c', ?)", (cell,))
        connection.commit()
    text = PEOPLE.format(options="").replace('"v.jsonl"', '"v.db"\ntable = "v"')
    report = imported(write_mapping(tmp_path, text), recorder := Recorder())
    assert report.rejected == (value is None)
    assert [one["data"]["personal"]["x"] for one in recorder.events()] == [value] * (value is not None)


def test_a_place_is_the_nearest_number(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text('{"who": "c", "a": "52.52000659999999999999", "b": 13.40495399999999999999}')
    text = PEOPLE.replace("consumer", "provider").replace('personal.x = {{ column = "a"{options} }}', "")
    mapping = write_mapping(tmp_path, text + 'location.lat = "a"\nlocation.lon = "b"\n')
    imported(mapping, recorder := Recorder())
    location = recorder.events()[0]["data"]["location"]
    assert (location["lat"], location["lon"]) == (52.5200066, 13.404954)


@pytest.mark.parametrize(
    ("text", "form", "zone", "expected"),
    [
        ("2024-03-01 10:00", None, "UTC", "2024-03-01T10:00:00+00:00"),
        ("2024-03-01", None, "Europe/Berlin", "2024-03-01T00:00:00+00:00"),
        ("2024-03-01T10:00:00.5Z", None, None, "2024-03-01T10:00:00.500000+00:00"),
        ("05/07/2024", "%d/%m/%Y", "America/Mexico_City", "2024-07-05T06:00:00+00:00"),
        ("2024-10-27 02:30", None, "Europe/Berlin", "2024-10-27T00:30:00+00:00"),
        ("1700000000", "unix", None, "2023-11-14T22:13:20+00:00"),
        (1700000000.25, "unix", None, "2023-11-14T22:13:20.250000+00:00"),
        (1700000000250, "unix_ms", None, "2023-11-14T22:13:20.250000+00:00"),
    ],
)
def test_times(text: Any, form: str | None, zone: str | None, expected: str) -> None:
    assert to_time(text, form, ZoneInfo(zone) if zone else None) == expected


@pytest.mark.parametrize(
    ("text", "form", "message"),
    [
        ("2024-03-01 10:00", None, r"has no UTC offset, like Z or \+01:00, and no timezone is stated"),
        ("yesterday", None, "is not an ISO 8601 time"),
        ("31/31/2024", "%d/%m/%Y", "is not a time like %d/%m/%Y"),
        ("1e90", "unix", "outside of the years"),
        ("0001-01-01T00:00+14:00", None, "outside of the years"),
        ("soon", "unix", "is not a number"),
    ],
)
def test_times_that_are_none(text: str, form: str | None, message: str) -> None:
    with pytest.raises(BadValue, match=message):
        to_time(text, form, None)


@pytest.mark.parametrize("text", ["1_000", "١٢", "0x1", "", "1e999", "9" * 41, True, float("inf"), 10**40, [1]])
def test_what_is_no_number(text: Any) -> None:
    with pytest.raises(BadValue, match="is not a number"):
        to_decimal(text)


@given(st.integers(-(10**12), 10**12))
def test_cents_are_exact(cents: int) -> None:
    sign, whole, rest = "-" if cents < 0 else "", abs(cents) // 100, abs(cents) % 100
    number = to_decimal(f"{sign}{whole:,}.{rest:02}", Style(thousands=","))
    assert to_int(number * 100) == cents


def test_truth_values_are_few() -> None:
    assert [to_bool(word) for word in ("T", "no", 1, "0", False)] == [True, False, True, False, False]
    with pytest.raises(BadValue):
        to_bool("2")
