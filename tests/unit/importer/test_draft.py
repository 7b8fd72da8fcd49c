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


def orders(amounts: list[str], currencies: list[str] | None = None) -> bytes:
    codes = ["", *currencies] if currencies else [None] * (len(amounts) + 1)
    head = "order_id;date;customer;shop;total" + (";currency" if currencies else "")
    rows = [
        f"{n};2025-03-02;c{n};s;{amount}" + ("" if code is None else f";{code}")
        for n, (amount, code) in enumerate(zip(amounts, codes[1:], strict=True))
    ]
    return "\n".join([head, *rows, ""]).encode()


@pytest.mark.parametrize(
    ("amounts", "currencies", "found"),
    [
        (["12.500", "3.250"], ["KWD", "KWD"], [12500, 3250]),
        (["12.50", "1500", "1.255"], ["EUR", "JPY", "KWD"], [1250, 1500, 1255]),
        (["12.50", "1500"], ["eur", "jpy"], [1250, 1500]),
        (["1500.00", "300.00"], ["JPY", "JPY"], [1500, 300]),
        (["₹1,00,000.50", "₹2,500.00"], ["INR", "INR"], [10000050, 250000]),
        (["CHF 1’234.50", "CHF 5.00"], None, [("CHF", 123450), ("CHF", 500)]),
        (["£12.50", "£3.00"], None, [("GBP", 1250), ("GBP", 300)]),
        (["¥1500", "¥300"], None, [("JPY", 1500), ("JPY", 300)]),
        (["€ 5,00", "€ 6,50", "$ 7.00"], None, [("EUR", 500), ("EUR", 650), None]),
        (["$12.50", "($5.00)", "-$3.00", "$-2.00"], ["USD"] * 4, [1250, -500, -300, -200]),
    ],
)
def test_money_of_any_country(
    tmp_path: Path, amounts: list[str], currencies: list[str] | None, found: list[Any]
) -> None:
    _, mapping = written(tmp_path, "orders.csv", orders(amounts, currencies))
    read = {one["relation_id"]: (one["currency"], one["amount"]) for one in data(mapping)}
    expected = [
        one if one is None or isinstance(one, tuple) else (code.upper(), one)
        for one, code in zip(found, currencies or [""] * len(found), strict=True)
    ]
    assert [read.get(str(n)) for n in range(len(amounts))] == expected


def test_what_may_be_another_amount_is_marked(tmp_path: Path) -> None:
    """12.500 is 12,500 euros or 12.5 dinars; Arabic digits are not read at all."""
    written(tmp_path, "a.csv", orders(["12.500", "3.250"]))
    (line,) = [line for line in (tmp_path / "a.toml").read_text().splitlines() if line.startswith("amount")]
    assert '# ? scale = 1 if these are cents; or decimal = "."' in line
    _, mapping = written(tmp_path, "b.csv", orders(["١٢٫٥٠", "٣٫٠٠"]))
    assert '# amount = "total"  # ?' in (tmp_path / "b.toml").read_text()
    assert [one["kind"] for one in data(mapping)] == ["purchase", "purchase"]


PLACES = {
    "cp1252": "Müller;Köln\nJürgen Groß;Überlingen\nHélène;Orléans\nMuñoz;Málaga\nÅsa;Växjö",
    "cp932": "田中太郎;カフェ東京\nソ表能;ひらがな\nスズキ;大阪",
    "euc_jp": "田中太郎;カフェ東京\nスズキ;大阪府",
    "gb18030": "张伟;北京茶馆\n王芳;上海咖啡",
    "big5": "張偉;台北茶館\n王芳;高雄咖啡",
    "cp949": "김철수;서울카페\n이영희;부산",
    "cp1251": "Иван Петров;Москва\nАнна;Санкт-Петербург",
    "cp1253": "Γιώργος;Αθήνα\nΜαρία;Θεσσαλονίκη",
    "cp1256": "محمد;القاهرة\nفاطمة;دبي",
}


@pytest.mark.parametrize("encoding", PLACES)
def test_files_as_spreadsheets_save_them_in_other_countries(tmp_path: Path, encoding: str) -> None:
    text = PLACES[encoding]
    rows = "".join(f"2025-03-02;{row}\n" for row in text.split("\n"))
    document, mapping = written(tmp_path, "v.csv", f"date;customer;shop\n{rows}".encode(encoding))
    assert document["source"][0]["encoding"] == encoding
    assert f'encoding = "{encoding}"  # ?' in mapping.read_text(encoding="utf-8")
    assert [f"{one['consumer_id']};{one['provider_id']}" for one in data(mapping)] == text.split("\n")
    stated = mapping.read_text(encoding="utf-8").replace(f'encoding = "{encoding}"', 'encoding = "utf-8"')
    mapping.write_text(stated, encoding="utf-8")
    imported(mapping)
    assert all(f"likely ones are {encoding}" in one["detail"] for one in rejected(mapping))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("O’Brien;Murphy’s\nO’Neill;Joe’s", "cp1252"),
        ("Qu’Appelle;l’ami\nd’Or;c’est bon", "cp1252"),
        ("c1;男\nc2;女\nc3;男", "cp932"),
    ],
)
def test_an_apostrophe_in_a_word_is_no_east_asian_character(tmp_path: Path, text: str, encoding: str) -> None:
    """English files of Excel have no other byte beyond ASCII, and with a letter it is a common one of cp932."""
    rows = "".join(f"2025-03-02;{row}\n" for row in text.split("\n"))
    document, _ = written(tmp_path, "v.csv", f"date;customer;shop\n{rows}".encode(encoding))
    assert document["source"][0]["encoding"] == encoding


@pytest.mark.parametrize(
    "sign", ["°C", " °C", "µm", "m²", "½", "§ 1", "±1", "£", "€/kg", "®", "Nº", "»", "1\u00a0000"]
)
def test_a_sign_alone_is_no_chinese_character(tmp_path: Path, sign: str) -> None:
    rows = "".join(f"2025-03-02;c{n};p;{n}{sign}\n" for n in range(5))
    document, _ = written(tmp_path, "v.csv", f"date;customer;shop;note\n{rows}".encode("cp1252"))
    assert document["source"][0]["encoding"] == "cp1252"


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
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [
        *('a"b', "a\\b", "a\nb", "a\0b", "", "Größe", "\u202ea", "'", "{x}", "a.b", "# ?", "]"),
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
    st.lists(NAMES, min_size=1, max_size=6, unique_by=str.strip),
    st.data(),
    st.sampled_from([",", ";", "\t", "|"]),
    st.just("any")
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0$"), min_size=1, max_size=30)
    | st.sampled_from(['a"b', "a\nb", "~nobody-here", "a\\b", "-x", " ", "...", "\u202e", "#"]),
)
def test_a_mapping_of_any_file_loads_and_runs(
    tmp_path: Path, names: list[str], drawn: st.DataObject, delimiter: str, name: str
) -> None:
    rows = drawn.draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), max_size=5))
    for old in tmp_path.iterdir():
        old.unlink()
    with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([names, *rows])
    try:
        mapping = write_draft(tmp_path / f"{name}.csv")
    except MappingError as refused:
        error = str(refused)
    else:
        error = ""
    if error:
        # A header that cannot be one: two columns of a name, or none. A short file with NUL looks like UTF-16.
        known = ("two columns are called", "has no header line", "the header, ")
        assert any(said in error for said in known) or "\0" in "".join(names)
        assert not list(tmp_path.glob("*.toml"))
        return
    imported(mapping, as_of=None)
    # Uncommented, the suggestions are a mapping as well.
    text = mapping.read_text(encoding="utf-8").replace("# traits.", "traits.")
    mapping.write_text(text, encoding="utf-8")
    load(mapping)


def test_when_a_profile_was_changed_is_its_version(tmp_path: Path) -> None:
    text = "customer_id,name,updated_at\n1,Ana,2025-03-02T10:00:00Z\n2,Bo,2025-03-04T10:00:00Z\n"
    document, mapping = written(tmp_path, "people.csv", text.encode())
    assert document["source"][0]["changed"] == "updated_at"
    imported(mapping, recorder := Recorder())
    assert [one["time"] for one in recorder.events()] == ["2025-03-02T10:00:00Z", "2025-03-04T10:00:00Z"]
    shops = "shop_id,name,updated_at\n1,Uno,02.03.2025\n"
    document, _ = written(tmp_path, "shops.csv", shops.encode())
    assert document["source"][0]["changed"] == {"column": "updated_at", "format": "%d.%m.%Y"}


def test_a_first_line_that_is_a_row_is_no_header(tmp_path: Path) -> None:
    for text in ("1,2025-03-02,c,p,12.50\n2,2025-03-03,c,p,1.00\n", "a@x.example,Ada,b\nb@x.example,Bob,b\n"):
        (tmp_path / "rows.toml").unlink(missing_ok=True)
        document, mapping = written(tmp_path, "rows.csv", text.encode())
        (source,) = document["source"]
        assert (source["header"], source["columns"][0]) == (False, "column_1")
        assert imported(mapping, as_of=None).accepted == 2
    document, _ = written(tmp_path, "years.csv", b"id,2024,2025\n1,2,3\n")
    assert "header" not in document["source"][0]
    document, _ = written(tmp_path, "titled.csv", b"by.ada@x.example\n\nid,date,customer\n1,2025-03-02,c\n")
    assert (document["source"][0]["header_row"], "header" in document["source"][0]) == (3, False)


@pytest.mark.parametrize("name", ["Total (CHF)", "total_chf", "Betrag CHF", "Price [CHF]"])
def test_a_currency_may_be_part_of_a_column_s_name(tmp_path: Path, name: str) -> None:
    _, mapping = written(tmp_path, "o.csv", f"id,date,customer,shop,{name}\n1,2025-03-02,c,p,12.50\n".encode())
    assert [(one["amount"], one["currency"]) for one in data(mapping)] == [(1250, "CHF")]
    document, _ = written(tmp_path, "w.csv", b"id,date,customer,shop,retry\n1,2025-03-02,c,p,12\n")
    assert "amount" not in document["source"][0]["fields"]


def test_a_column_of_times_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    document, mapping = written(tmp_path, "o.csv", b"id,date,customer,shop\n1,46083,c,p\n")
    assert isinstance(document["source"][0]["time"], datetime)
    assert '# ? "date" has times in no known form' in mapping.read_text(encoding="utf-8")
    document, _ = written(tmp_path, "none.csv", b"id,date,customer,shop\n")
    assert document["source"][0]["time"] == "date"


def test_a_mark_in_the_name_of_a_file(tmp_path: Path) -> None:
    """Where no column names the provider, the file's name does."""
    _, mapping = written(tmp_path, 'a"b.csv', b"date,customer,total\n2025-03-02,c,5.00\n")
    assert [one["provider_id"] for one in data(mapping)] == ["a-b"]


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
        ("v.json", b"[]", r'the ending ".json" is unknown \(rows are objects of one line each, .jsonl\)'),
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
