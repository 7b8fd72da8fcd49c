"""``kith import --init``: whatever the file holds, the mapping that is written loads and runs."""

import csv
import gzip
import json
import sqlite3
import tomllib
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from services.importer import command
from services.importer.draft import write_draft
from services.importer.mapping import MappingError, load
from tests.support.importer import Recorder, imported, rejected
from tests.support.paths import DATA

app = typer.Typer()
app.command("import")(command.import_command)

GERMAN = """sep=;
Bestellnr;Datum;Kunde;Filiale;Betrag;Währung;Bemerkung;
1;02.03.2025 10:00;k1;f1;1.355,90;EUR;danke;
2;03.03.2025 11:30;k2;f1;12,50;EUR;;
3;n/a;k2;f2;(5,00);EUR;zurück;
"""


def written(folder: Path, name: str, content: bytes) -> tuple[dict[str, Any], Path]:
    (folder / name).write_bytes(content)
    mapping = write_draft(folder / name)
    return tomllib.loads(mapping.read_text(encoding="utf-8")), mapping


def data(mapping: Path) -> list[dict[str, Any]]:
    imported(mapping, recorder := Recorder())
    return [one["data"] for one in recorder.events()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_orders_as_a_german_spreadsheet_writes_them(tmp_path: Path, encoding: str) -> None:
    document, mapping = written(tmp_path, "orders.csv", GERMAN.encode(encoding))
    (source,) = document["source"]
    assert source["delimiter"] == ";"
    assert source["time"] == {"column": "Datum", "format": "%d.%m.%Y %H:%M"}
    assert document["defaults"]["missing"] == ["", "n/a"]
    first, second = data(mapping)
    assert first == {
        "relation_id": "1",
        "kind": "purchase",
        "consumer_id": "k1",
        "provider_id": "f1",
        "amount": 135590,
        "currency": "EUR",
        "text": "danke",
        "occurred_at": "2025-03-02T10:00:00Z",
    }
    assert second["amount"] == 1250
    assert [(one["field"], one["row"]["Bestellnr"]) for one in rejected(mapping)] == [("time", "3")]


def test_people_become_consumers_and_what_is_not_known_stays_out(tmp_path: Path) -> None:
    text = "customer_id,First Name,E-Mail,City,favourite colour\n1,Ana,ana@example.org,Berlin,blue\n"
    document, mapping = written(tmp_path, "people.csv", text.encode())
    assert document["source"][0]["type"] == "consumer.upserted"
    (found,) = data(mapping)
    assert found == {
        "consumer_id": "1",
        "personal": {"First_Name": "Ana", "E-Mail": "ana@example.org"},
        "location": {"city": "Berlin"},
    }
    assert '# traits.favourite_colour = "favourite colour"' in mapping.read_text()


def test_orders_with_people_in_them_become_both(tmp_path: Path) -> None:
    text = "order_no;date;customer;email;shop;total\n7;2025-03-02;c;c@example.org;s;€ 5\n"
    _, mapping = written(tmp_path, "orders.csv", text.encode())
    order, person = data(mapping)
    assert (order["amount"], order["currency"], "email" in json.dumps(order)) == (500, "EUR", False)
    assert person == {"consumer_id": "c", "personal": {"email": "c@example.org"}}
    assert "scale = 1 if these are cents" in mapping.read_text()


def test_other_formats(tmp_path: Path) -> None:
    line = {"id": 5, "at": "x", "user": {"id": 7}, "store": "s", "timestamp": 1714521600, "total": 12.5}
    (tmp_path / "j.jsonl.gz").write_bytes(gzip.compress(json.dumps(line).encode() + b"\n"))
    (found,) = data(write_draft(tmp_path / "j.jsonl.gz"))
    assert (found["amount"], found["occurred_at"]) == (1250, "2024-05-01T00:00:00Z")
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["Order No", "Date", "Customer", "Shop", "Total"])
    book.active.append([1, datetime(2025, 3, 2, 10), "c", "s", 9.99])  # noqa: DTZ001 - Excel knows no zones
    book.create_sheet("Customers").append(["Customer", "Name"])
    book["Customers"].append(["c", "Ana"])
    book.save(tmp_path / "x.xlsx")
    order, person = data(write_draft(tmp_path / "x.xlsx"))
    assert (order["amount"], person["personal"]) == (999, {"Name": "Ana"})
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as connection:
        connection.executescript(
            "CREATE TABLE shops (shop_id INTEGER, name TEXT); INSERT INTO shops VALUES (1, 'Uno');"
            "CREATE TABLE visits (user TEXT, shop INTEGER, date TEXT);"
            "INSERT INTO visits VALUES ('u', 1, '2025-03-02');"
        )
    shop, visit = data(write_draft(tmp_path / "s.sqlite"))
    assert (shop["name"], visit["provider_id"], visit["kind"]) == ("Uno", "1", "visit")


@pytest.mark.parametrize("name", sorted(file.name for file in (DATA / "restaurants").iterdir()))
def test_the_dirty_files(tmp_path: Path, name: str) -> None:
    _, mapping = written(tmp_path, name, (DATA / "restaurants" / name).read_bytes())
    report = imported(mapping, as_of=None)
    assert report.read > 0
    assert report.accepted >= report.read * 0.9


CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["2025-03-02", "02.03.2025", "1.355,90", "12", "#N/A", "4.9E+11", "c1", "a@example.org"]
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.sampled_from(
    [
        "customer",
        "shop",
        "date",
        "total",
        "email",
        "id",
        "rating",
        "updated_at",
        "currency",
        "lat",
        "lon",
        "user.id",
    ]
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(NAMES, min_size=1, max_size=6, unique_by=str.strip), st.data(), st.sampled_from([",", ";", "\t", "|"])
)
def test_a_mapping_of_any_file_loads_and_runs(
    tmp_path: Path, names: list[str], drawn: st.DataObject, delimiter: str
) -> None:
    rows = drawn.draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), max_size=5))
    with (tmp_path / "any.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([names, *rows])
    (tmp_path / "any.toml").unlink(missing_ok=True)
    try:
        mapping = write_draft(tmp_path / "any.csv")
    except MappingError:
        # A header that cannot be one: two columns of a name, or none.
        assert not (tmp_path / "any.toml").exists()
        return
    imported(mapping, as_of=None)
    # Uncommented, the suggestions are a mapping as well.
    text = mapping.read_text(encoding="utf-8").replace("# traits.", "traits.")
    mapping.write_text(text, encoding="utf-8")
    load(mapping)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(GERMAN, encoding="utf-8")
    result = CliRunner().invoke(app, ["--init", str(tmp_path / "orders.csv")])
    assert result.exit_code == 0, result.output
    assert f"kith import {tmp_path / 'orders.toml'} --dry-run" in result.stdout.replace("\n", "")
    run = CliRunner().invoke(app, [str(tmp_path / "orders.toml"), "--dry-run"])
    assert "orders: 3 rows read, 2 acceptable, 1 rejected" in run.stdout, run.output
    again = CliRunner().invoke(app, ["--init", str(tmp_path / "orders.csv")])
    assert again.exit_code == 1
    assert "orders.toml: exists already" in again.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.csv", b"", "has no header line"),
        ("v.pdf", b"x", 'the ending ".pdf" is unknown'),
        ("v.jsonl", b"no\n", "nothing could be read from it"),
        ("v.sqlite", b"", "has no tables"),
        ("v.xlsx", b"x", "is not a workbook"),
        ("v.csv", b"a,a\n1,2\n", 'two columns are called "a"'),
    ],
)
def test_what_cannot_be_read_writes_nothing(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(MappingError, match=message):
        written(tmp_path, name, content)
    assert not list(tmp_path.glob("*.toml"))
    with pytest.raises(MappingError, match="there is no such file"):
        write_draft(tmp_path / "other.csv")
