"""What spreadsheets write: CSV with their habits, and workbooks."""

import gzip
import io
import re
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from services.importer.draft import write_draft
from services.importer.mapping import MappingError
from tests.support.importer import Recorder, imported, rejected, rejects_of, visits, write_mapping


def pairs(mapping: Path) -> list[tuple[str, str]]:
    imported(mapping, recorder := Recorder())
    return [(one["data"]["consumer_id"], one["data"]["provider_id"]) for one in recorder.events()]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("sep=;\nwho;where\nc;p\n", 'delimiter = ";"'),
        ("sep=;\r\nwho;where\r\nc;p\r\n", ""),
        ('"sep=;"\nwho;where\nc;p\n', ""),
        ("\ufeffsep=,\nwho,where\nc,p\n", ""),
        ("sep=\t\nwho\twhere\nc\tp\n", ""),
        ("sep=;;\nwho;where\nc;p\n", ""),
        (";who;;where;;\n1;c;;p;;\n", 'delimiter = ";"'),
        ('="who";="where"\n="c";="p"\n', 'delimiter = ";"'),
        ("who;where;;\nc;p;\n", 'delimiter = ";"'),
        ("who;where;\nc;p\n", 'delimiter = ";"'),
        ("who;where;note\nc;p\n", 'delimiter = ";"'),
        ("who;where\nc;p;\n", 'delimiter = ";"'),
        ("who;where\nc;p;;;\n", 'delimiter = ";"'),
        ("who;where\n\nc;p\n\n", 'delimiter = ";"'),
    ],
)
def test_habits_of_spreadsheets_are_fine(tmp_path: Path, text: str, options: str) -> None:
    (tmp_path / "v.csv").write_text(text, newline="", encoding="utf-8")
    mapping = visits(tmp_path, "v.csv", options)
    assert pairs(mapping) == [("c", "p")]
    assert not rejects_of(mapping).exists()


def test_a_missing_last_cell_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("who,where,stars\nc,p\nd,p\ne,p\n")
    mapping = visits(tmp_path, "v.csv", fields='rating = "stars"')
    report = imported(mapping)
    assert (report.accepted, report.rejected) == (3, 0)
    assert report.sources[0].notes == ['3 rows lack their last cell ("stars"), which was read as empty']


def test_a_text_that_programs_write_as_a_formula_is_read_as_excel_shows_it(tmp_path: Path) -> None:
    rows = [
        '="00123";="p1"',
        '"=""00124""";"=""p;2"""',
        '="0;5";p',
        '="";p',
        '="a"b;p',
        'a="b";p',
        '="a;p',
        "==a;p",
    ]
    (tmp_path / "v.csv").write_text("\n".join(["who;where", *rows, ""]))
    mapping = visits(tmp_path, "v.csv", 'delimiter = ";"')
    assert pairs(mapping) == [("00123", "p1"), ("00124", "p;2"), ("0;5", "p"), ("==a", "p")]
    assert [(one["number"], one["reason"]) for one in rejected(mapping)] == [
        (5, "invalid"),
        (6, "quotes"),
        (7, "quotes"),
        (8, "quotes"),
    ]


def test_a_separator_that_the_mapping_contradicts_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("sep=;\nwho;where\nc;p\n")
    with pytest.raises(MappingError, match='";" separates its cells, and the mapping says ","'):
        imported(visits(tmp_path, "v.csv", 'delimiter = ","'))


def test_another_delimiter_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("who;where\nc;p\n")
    with pytest.raises(MappingError, match="is separated by ';': set delimiter"):
        imported(visits(tmp_path, "v.csv"))


TEXT = "who,where\nJosé,Café\nZoë,Bár\n"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("written", "options", "message"),
    [
        ("utf-16", "", 'looks like UTF-16: set encoding = "utf-16"'),
        ("utf-16-le", "", 'looks like UTF-16-LE: set encoding = "utf-16-le"'),
        ("utf-16-be", "", 'looks like UTF-16-BE: set encoding = "utf-16-be"'),
        ("utf-32", "", 'looks like UTF-32: set encoding = "utf-32"'),
        ("utf-16", 'encoding = "cp1252"', "looks like UTF-16"),
        ("utf-8", 'encoding = "utf-16"', 'is not text in utf-16: set encoding = "utf-8", which is likely'),
        ("cp1252", 'encoding = "utf-16"', 'set encoding = "cp1252", which is likely'),
        ("utf-8", 'encoding = "cp1252"', "is not text in cp1252, but looks like UTF-8"),
        ("utf-8", 'encoding = "latin-1"', "looks like UTF-8"),
    ],
)
def test_another_encoding_is_an_error_that_names_likely_ones(
    tmp_path: Path, written: str, options: str, message: str, packed: bool
) -> None:
    content = TEXT.encode(written)
    name = "v.csv.gz" if packed else "v.csv"
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(MappingError, match=message):
        imported(visits(tmp_path, name, options))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "latin-1", "utf-32"])
@pytest.mark.parametrize("name", ["v.csv", "v.jsonl"])
def test_the_stated_encoding_is_read(tmp_path: Path, encoding: str, name: str) -> None:
    text = TEXT if name == "v.csv" else '{"who": "José", "where": "Café"}\n{"who": "Zoë", "where": "Bár"}\n'
    (tmp_path / name).write_bytes(text.encode(encoding))
    options = "" if encoding.startswith("utf-8") else f'encoding = "{encoding}"'
    assert pairs(visits(tmp_path, name, options)) == [("José", "Café"), ("Zoë", "Bár")]


def test_rows_in_another_encoding_are_rejected_with_likely_ones(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_bytes(b"who,where\nc,p\nJos\xe9,p\n")
    mapping = visits(tmp_path, "v.csv")
    assert pairs(mapping) == [("c", "p")]
    assert [(one["reason"], one["detail"]) for one in rejected(mapping)] == [
        ("encoding", "is not text in utf-8; likely ones are cp1252, utf-16")
    ]


@pytest.mark.parametrize(
    ("encoding", "row", "likely"),
    [
        ("latin-1", "O\u2019Brien,p", "cp1252"),
        ("iso8859-15", "a,5 \u20ac \u2013 p", "cp1252"),
        ("iso8859-2", "\u0160koda,p", "cp1252"),
    ],
)
@pytest.mark.parametrize("name", ["v.csv", "v.jsonl"])
def test_signs_of_windows_are_no_controls_of_iso_8859(
    tmp_path: Path, encoding: str, row: str, likely: str, name: str
) -> None:
    who, where = row.split(",")
    rows = (
        [f"{who},{where}", "c,p"]
        if name == "v.csv"
        else [f'{{"who": "{who}", "where": "{where}"}}', '{"who": "c", "where": "p"}']
    )
    text = "\n".join([*(["who,where"] if name == "v.csv" else []), *rows, ""])
    (tmp_path / name).write_bytes(text.encode("cp1250" if encoding == "iso8859-2" else "cp1252"))
    mapping = visits(tmp_path, name, f'encoding = "{encoding}"')
    assert pairs(mapping) == [("c", "p")]
    (bad,) = rejected(mapping)
    assert bad["reason"] == "encoding"
    assert f"likely ones are {likely}" in bad["detail"]


def test_what_a_program_could_not_read_is_part_of_no_id_and_noted_elsewhere(tmp_path: Path) -> None:
    text = "who,where,note\nM\ufffdller,p,x\nc,p,M\ufffdller\nd,p,y\n"
    (tmp_path / "v.csv").write_text(text, encoding="utf-8")
    mapping = visits(tmp_path, "v.csv", fields='text = "note"')
    report = imported(mapping)
    assert (report.accepted, [one["field"] for one in rejected(mapping)]) == (2, ["data.consumer_id"])
    assert "contains U+FFFD" in rejected(mapping)[0]["detail"]
    assert [note[:51] for note in report.sources[0].notes if "note" in note] == [
        '1 values of column "note" contain U+FFFD: what wrot'
    ]


def test_a_row_far_down_that_is_utf_8_is_not_read_as_something_else(tmp_path: Path) -> None:
    content = b"who,where\n" + b"c,p\n" * 30_000 + "José,p\n".encode()
    (tmp_path / "v.csv").write_bytes(content)
    mapping = visits(tmp_path, "v.csv", 'encoding = "cp1252"')
    report = imported(mapping)
    assert (report.accepted, [one["reason"] for one in rejected(mapping)]) == (30_000, ["encoding"])


def workbook(path: Path, rows: list[list[Any]], formats: dict[str, str] | None = None) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    for cell, form in (formats or {}).items():
        sheet[cell].number_format = form
    book.save(path)


ORDERS = """
[[source]]
path = "orders.xlsx"
type = "relation.recorded"
time = "day"
timezone = "Europe/Berlin"
{options}
[source.fields]
relation_id = "no"
kind = {{ const = "purchase" }}
consumer_id = "who"
provider_id = "where"
amount = {{ column = "total", scale = 100 }}
currency = {{ const = "EUR", when = "total" }}
traits.note = "note"
"""
HEADER = ["no", "day", "who", "where", "total", "note"]


def orders(folder: Path, rows: list[list[Any]], formats: dict[str, str] | None = None, options: str = "") -> Path:
    workbook(folder / "orders.xlsx", [HEADER, *rows], formats)
    return write_mapping(folder, ORDERS.format(options=options))


def data(mapping: Path) -> list[dict[str, Any]]:
    imported(mapping, recorder := Recorder())
    return [one["data"] for one in recorder.events()]


def test_a_workbook(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        [1001, date(2025, 3, 2), 7, "p", 1355.9, "first"],
        [1002, datetime(2025, 3, 2, 10, 30), "0008", 12.0, 0.1 + 0.2, True],  # noqa: DTZ001 - Excel knows no zones
        [None] * 6,
        [1003.0, datetime(2025, 3, 2), 9, "p", None, 2.5],  # noqa: DTZ001 - Excel knows no zones
    ]
    first, second, third = data(orders(tmp_path, rows, {"C2": "00000", "B5": "yyyy-mm-dd"}))
    assert first == {
        "relation_id": "1001",
        "kind": "purchase",
        "consumer_id": "00007",
        "provider_id": "p",
        "occurred_at": "2025-03-02T00:00:00Z",
        "amount": 135590,
        "currency": "EUR",
        "traits": {"note": "first"},
    }
    assert (second["consumer_id"], second["provider_id"], second["amount"]) == ("0008", "12", 30)
    assert (second["occurred_at"], second["traits"]) == ("2025-03-02T09:30:00Z", {"note": True})
    assert (third["relation_id"], third["occurred_at"]) == ("1003", "2025-03-02T00:00:00Z")
    assert "amount" not in third


@pytest.mark.parametrize(
    ("column", "value", "field", "detail"),
    [
        (2, 7.5, "data.consumer_id", "is a number with a decimal sign"),
        (2, 12345678901234567890, "data.consumer_id", "more than 15 digits, of which Excel keeps 15"),
        (2, date(2025, 3, 5), "data.consumer_id", "is a date, which is not an id"),
        (2, True, "data.consumer_id", "is true or false"),
        (2, "#N/A", "data.consumer_id", "holds #N/A, the error of a formula"),
        (2, "=A2", "data.consumer_id", "holds a formula without its result"),
        (2, None, "data.consumer_id", "is required"),
        (4, "#DIV/0!", "data.amount", "holds #DIV/0!, the error of a formula"),
        (4, 12.345, "data.amount", "is not a whole number"),
        (1, 46083, "time", "is a number: where it counts days"),
        (1, time(10, 30), "time", "holds a time of day without a day"),
        (1, "2.3.2025", "time", "is not an ISO 8601 time"),
    ],
)
def test_cells_that_are_not_what_they_seem(
    tmp_path: Path, column: int, value: Any, field: str, detail: str
) -> None:
    row: list[Any] = [1, date(2025, 3, 2), "c", "p", 5, None]
    row[column] = value
    mapping = orders(
        tmp_path, [row, [2, date(2025, 3, 2), "c", "p", 5, "#REF!"], [3, date(2025, 3, 2), "c", "p", 5, None]]
    )
    mapping.write_text(mapping.read_text().replace('traits.note = "note"', ""))
    report = imported(mapping)
    assert (report.read, report.accepted) == (3, 2), "an error where nothing is mapped does not matter"
    (bad,) = rejected(mapping)
    assert (bad["number"], bad["field"]) == (2, field)
    assert detail in bad["detail"]


@pytest.mark.parametrize(
    ("cell", "field"),
    [
        (b'<c r="C2" t="str"><f>B2</f><v></v></c>', None),
        (b'<c r="C2" t="str"><f>B2</f><v>d</v></c>', None),
        (b'<c r="C2"><f>B2</f><v></v></c>', "data.traits.note"),
        (b'<c r="C2"><f>B2</f></c>', "data.traits.note"),
    ],
)
def test_a_formula_may_have_an_empty_text_as_its_result(tmp_path: Path, cell: bytes, field: str | None) -> None:
    book = openpyxl.Workbook()
    for row in (["who", "where", "note"], ["c", "p", "=B2"]):
        book.worksheets[0].append(row)
    book.save(tmp_path / "made.xlsx")
    with zipfile.ZipFile(tmp_path / "made.xlsx") as made, zipfile.ZipFile(tmp_path / "v.xlsx", "w") as changed:
        for name in made.namelist():
            changed.writestr(name, re.sub(rb'<c r="C2".*?</c>', cell, made.read(name)))
    mapping = visits(tmp_path, "v.xlsx", fields='traits.note = "note"')
    report = imported(mapping, recorder := Recorder())
    assert [one["field"] for one in (rejected(mapping) if report.rejected else [])] == [field] * (
        field is not None
    )
    notes = [one["data"].get("traits", {}).get("note") for one in recorder.events()]
    assert notes == [] if field else notes == ["d" if b"d" in cell.partition(b"<v>")[2][:1] else None]


def test_an_error_may_stand_for_a_missing_value(tmp_path: Path) -> None:
    rows = [[1, date(2025, 3, 2), "c", "p", "#N/A", None]]
    (found,) = data(orders(tmp_path, rows, options='missing = ["#N/A", ""]'))
    assert "amount" not in found


def test_several_sheets_are_named(tmp_path: Path) -> None:
    mapping = orders(tmp_path, [[1, date(2025, 3, 2), "c", "p", 5, None]])
    book = openpyxl.load_workbook(tmp_path / "orders.xlsx")
    book.create_sheet("Empty")
    book.save(tmp_path / "orders.xlsx")
    assert len(data(mapping)) == 1, "an empty sheet is none"
    book.create_sheet("Old").append(HEADER)
    book.save(tmp_path / "orders.xlsx")
    with pytest.raises(MappingError, match=r"has several sheets \(Sheet, Old\): name one by sheet"):
        imported(mapping)
    write_mapping(tmp_path, ORDERS.format(options='sheet = "Sheet"'))
    assert len(data(mapping)) == 1
    write_mapping(tmp_path, ORDERS.format(options='sheet = "Sheet9"'))
    with pytest.raises(MappingError, match='has no sheet "Sheet9", but Sheet, Empty, Old'):
        imported(mapping)


def test_rows_outside_of_the_stated_extent_are_read(tmp_path: Path) -> None:
    mapping = orders(tmp_path, [[n, date(2025, 3, 2), "c", "p", 5, None] for n in range(1, 6)])
    path = tmp_path / "orders.xlsx"
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"]
    assert b'ref="A1:F6"' in sheet
    parts["xl/worksheets/sheet1.xml"] = sheet.replace(b'ref="A1:F6"', b'ref="A1"')
    with zipfile.ZipFile(path, "w") as new:
        for name, part in parts.items():
            new.writestr(name, part)
    assert len(data(mapping)) == 5


def test_a_row_that_is_wider_than_the_header_is_rejected(tmp_path: Path) -> None:
    mapping = orders(
        tmp_path, [[1, date(2025, 3, 2), "c", "p", 5, None, "lost?"], [2, date(2025, 3, 2), "c", "p"]]
    )
    report = imported(mapping)
    assert (report.read, report.accepted, rejected(mapping)[0]["reason"]) == (2, 1, "columns")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xd0\xcf\x11\xe0 an old one", "is protected by a password, or in the format of Excel before 2007"),
        (b"no,day\n1,2\n", "is not a workbook, whatever its name says: set format"),
        (b"<html><table>", "is not a workbook, whatever its name says: set format"),
        (b"", "is not a workbook, whatever its name says"),
        (b"PK, but no archive", "is not a workbook that can be read"),
    ],
)
def test_what_is_no_workbook(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "orders.xlsx").write_bytes(content)
    with pytest.raises(MappingError, match=message):
        imported(write_mapping(tmp_path, ORDERS.format(options="")))


def test_a_strict_workbook_says_how_to_save_it(tmp_path: Path) -> None:
    mapping = orders(tmp_path, [[1, date(2025, 3, 2), "c", "p", 5, None]])
    path = tmp_path / "orders.xlsx"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part.replace(b"schemas.openxmlformats.org", b"purl.oclc.org/ooxml"))
    with pytest.raises(MappingError, match="Strict Open XML Spreadsheet, save it as Excel Workbook"):
        imported(mapping)


def test_rows_out_of_their_order_are_refused_because_some_would_be_left_out(tmp_path: Path) -> None:
    mapping = orders(tmp_path, [[n, date(2025, 3, 2), "c", "p", 5, None] for n in (1, 2)])
    path = tmp_path / "orders.xlsx"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, re.sub(rb'(<row r="2".*?</row>)(<row r="3".*?</row>)', rb"\2\1", part))
    with pytest.raises(MappingError, match="has row 2 behind row 3: open it in Excel and save it"):
        imported(mapping)


@pytest.mark.parametrize(
    ("cells", "said"),
    [(rb"\g<a>\g<c>\g<b>", "has cell B2 behind cell C2"), (rb"\g<b>\g<a>\g<c>", "has cell A2 behind cell B2")],
)
def test_so_are_cells_out_of_their_order(tmp_path: Path, cells: bytes, said: str) -> None:
    """Of a row that ends with an earlier cell, openpyxl leaves out those of the columns behind that one."""
    mapping = orders(tmp_path, [[1, date(2025, 3, 2), "c", "p", 5, None]])
    path = tmp_path / "orders.xlsx"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    three = rb'(?P<a><c r="A2".*?</c>)(?P<b><c r="B2".*?</c>)(?P<c><c r="C2".*?</c>)'
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, re.sub(three, cells, part))
    with pytest.raises(MappingError, match=f"{said}: open it in Excel and save it"):
        imported(mapping)


def test_control_characters_that_workbooks_write_by_their_number_are_those(tmp_path: Path) -> None:
    """So Excel writes the line breaks of Windows."""
    mapping = orders(tmp_path, [["o_x1234_red", date(2025, 3, 2), "c", "p", 5, "one_x000D_\ntwo_x000d_"]])
    imported(mapping, recorder := Recorder())
    (event,) = recorder.events()
    assert (event["data"]["relation_id"], event["data"]["traits"]["note"]) == ("o_x1234_red", "one\r\ntwo")


def test_the_header_once_more_is_no_row(tmp_path: Path) -> None:
    """As where files were joined, or a sheet repeats its header on each page."""
    (tmp_path / "v.csv").write_bytes(b"\xef\xbb\xbfwho,where,\na,p,\nwho,where,\n\xef\xbb\xbfwho,where,\nwho,p,\n")
    mapping = visits(tmp_path, "v.csv")
    assert pairs(mapping) == [("a", "p"), ("who", "p")]
    assert [(one["number"], one["detail"]) for one in rejected(mapping)] == [
        (3, "is the header, and no row of its own"),
        (4, "is the header, and no row of its own"),
    ]
    # Where the mapping names the columns, the file's own header still is none of its rows.
    assert pairs(visits(tmp_path, "v.csv", 'columns = ["where", "who", "more"]')) == [("p", "a"), ("p", "who")]
    # And where it says that there is none.
    mapping = visits(tmp_path, "v.csv", 'header = false\ncolumns = ["who", "where", "more"]')
    (tmp_path / "v.csv").write_text("who,where,more\na,p,\n")
    assert (pairs(mapping), len(rejected(mapping))) == ([("a", "p")], 1)
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["who", "where"], ["a", "p"], ["who", "where"], ["where", "who"]):
        sheet.append(row)
    book.save(tmp_path / "v.xlsx")
    mapping = visits(tmp_path, "v.xlsx")
    assert pairs(mapping) == [("a", "p"), ("where", "who")]
    assert [one["number"] for one in rejected(mapping)] == [3]


def test_a_cut_workbook_is_an_error(tmp_path: Path) -> None:
    mapping = orders(tmp_path, [[n, date(2025, 3, 2), "c", "p", 5, None] for n in range(1, 600)])
    content = (tmp_path / "orders.xlsx").read_bytes()
    (tmp_path / "orders.xlsx").write_bytes(content[: len(content) // 2])
    with pytest.raises(MappingError, match=r"orders\.xlsx"):
        imported(mapping)


def test_the_file_s_columns_may_be_named_by_the_mapping(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append([5, "p"])
    book.save(buffer)
    (tmp_path / "v.xlsx").write_bytes(buffer.getvalue())
    assert pairs(visits(tmp_path, "v.xlsx", 'header = false\ncolumns = ["who", "where"]')) == [("5", "p")]


def midnights(folder: Path, ending: str) -> Path:
    """Days as pandas, databases and programs write them: with a time of day that is always midnight."""
    days = [datetime(2026, 3, n) for n in (1, 2, 31)]  # noqa: DTZ001 - no zone is written
    if ending == "xlsx":
        rows: list[list[Any]] = [["who", "where", "day"], *(["c", "p", day] for day in days)]
        workbook(folder / "v.xlsx", rows, {f"C{n}": "yyyy-mm-dd h:mm:ss" for n in (2, 3, 4)})
    elif ending == "sqlite":
        with closing(sqlite3.connect(folder / "v.sqlite")) as connection:
            connection.execute('CREATE TABLE v (who TEXT, "where" TEXT, day TEXT)')
            connection.executemany("INSERT INTO v VALUES ('c', 'p', ?)", [(day.isoformat(" "),) for day in days])
            connection.commit()
    else:
        text = "".join(f"c,p,{day.isoformat(' ')}\n" for day in days)
        (folder / "v.csv").write_text(f"who,where,day\n{text}")
    return folder / f"v.{ending}"


@pytest.mark.parametrize("ending", ["xlsx", "csv", "sqlite"])
def test_midnights_are_days_where_the_mapping_says_so(tmp_path: Path, ending: str) -> None:
    midnights(tmp_path, ending)
    options = 'timezone = "Europe/Berlin"' + ('\ntable = "v"' if ending == "sqlite" else "")
    text = visits(tmp_path, f"v.{ending}", options).read_text().replace("2024-05-01T00:00:00Z", "TIME")

    def read(time: str, zone: str = "Europe/Berlin") -> tuple[list[str], list[str]]:
        mapping = write_mapping(tmp_path, text.replace("TIME", time).replace("Europe/Berlin", zone))
        report = imported(mapping, recorder := Recorder(), as_of=None)
        return [one["data"]["occurred_at"][:10] for one in recorder.events()], report.sources[0].notes

    days, notes = read('"day"')
    assert days == ["2026-02-28", "2026-03-01", "2026-03-30"]
    assert notes == [
        'all 3 times of column "day" are midnight, which is the day before in UTC, by which reports count: set '
        "day = true if they are days"
    ]
    assert read('{ column = "day", day = true }') == (["2026-03-01", "2026-03-02", "2026-03-31"], [])
    assert read('"day"', "America/Los_Angeles") == (["2026-03-01", "2026-03-02", "2026-03-31"], [])


@pytest.mark.parametrize("ending", ["xlsx", "csv", "sqlite"])
def test_a_draft_says_that_midnights_are_days(tmp_path: Path, ending: str) -> None:
    mapping = write_draft(midnights(tmp_path, ending))
    assert 'time = { column = "day", day = true }  # ? all of them are midnight' in mapping.read_text()
    mapping.write_text(mapping.read_text().replace('"UTC"', '"Asia/Tokyo"'))
    imported(mapping, recorder := Recorder(), as_of=None)
    assert [one["data"]["occurred_at"][:10] for one in recorder.events()] == [
        "2026-03-01",
        "2026-03-02",
        "2026-03-31",
    ]


def test_a_time_of_day_is_no_day(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("who,where,day\nc,p,2025-03-01 00:00\nc,p,2025-03-01 10:00\nc,p,2025-03-02\n")
    mapping = visits(tmp_path, "v.csv", 'timezone = "Europe/Berlin"')
    mapping.write_text(mapping.read_text().replace("2024-05-01T00:00:00Z", '{ column = "day", day = true }'))
    assert imported(mapping).accepted == 2
    assert [one["detail"] for one in rejected(mapping)] == [
        "has a time of day, but the mapping says that it is a day (day = true) (column day)"
    ]


TITLED: list[list[Any]] = [
    ["Sales of March"],
    [],
    ["made by", None, None],
    ["who", "where", "note"],
    ["c", "p", "x"],
]


def titled(folder: Path, ending: str) -> Path:
    if ending == "xlsx":
        workbook(folder / "v.xlsx", TITLED)
    else:
        lines = [";".join(cell or "" for cell in row) for row in TITLED]
        (folder / "v.csv").write_text("\n".join(["sep=;", '12" screens', *lines[1:], ""]))
    return folder / f"v.{ending}"


@pytest.mark.parametrize(("ending", "row", "above"), [("csv", 5, 3), ("xlsx", 4, 2)])
def test_what_stands_above_the_header_is_skipped_and_counted(
    tmp_path: Path, ending: str, row: int, above: int
) -> None:
    titled(tmp_path, ending)
    mapping = visits(tmp_path, f"v.{ending}", f"header_row = {row}")
    report = imported(mapping, recorder := Recorder())
    assert (report.read, report.accepted) == (1, 1)
    assert recorder.events()[0]["data"]["consumer_id"] == "c"
    assert report.sources[0].notes == [f"{above} rows above the header (header_row = {row}) were skipped"]
    for wrong, message in ((3, "is empty" if ending == "csv" else "has no column"), (90, "has no header line")):
        mapping = visits(tmp_path, f"v.{ending}", f"header_row = {wrong}")
        with pytest.raises(MappingError, match=message):
            imported(mapping)


@pytest.mark.parametrize(("ending", "row"), [("csv", 5), ("xlsx", 4)])
def test_a_draft_finds_the_header_below_titles(tmp_path: Path, ending: str, row: int) -> None:
    (tmp_path / "of-nothing.csv").write_text("who\nc\n")
    assert "header_row" not in write_draft(tmp_path / "of-nothing.csv").read_text()
    mapping = write_draft(titled(tmp_path, ending))
    assert f"header_row = {row}  # ? what stands above is skipped" in mapping.read_text()
    assert imported(mapping, as_of=None).accepted == 1


def test_the_header_below_titles_may_have_line_breaks_in_its_cells(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text('Report\n"who\n(id)",where\nc,p\n')
    mapping = visits(tmp_path, "v.csv", "header_row = 2")
    mapping.write_text(mapping.read_text().replace('"who"', r'"who\n(id)"'))
    report = imported(mapping)
    assert (report.accepted, report.sources[0].notes) == (
        1,
        ["1 rows above the header (header_row = 2) were skipped"],
    )
    assert "header_row = 2 " in write_draft(tmp_path / "v.csv").read_text()


@pytest.mark.parametrize("ending", ["csv", "xlsx"])
def test_a_title_above_the_header_is_named_as_the_likely_reason(tmp_path: Path, ending: str) -> None:
    rows = [["who"], ["who", "where"], ["c", "p"]]
    if ending == "xlsx":
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in rows:
            book.active.append(row)
        book.save(tmp_path / "v.xlsx")
    else:
        (tmp_path / "v.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    text = visits(tmp_path, f"v.{ending}").read_text().replace('provider_id = "where"', 'provider_id = "who"')
    mapping = write_mapping(tmp_path, text)
    assert imported(mapping).accepted == 0
    for one, row in zip(rejected(mapping), rows[1:], strict=True):
        assert one["detail"].startswith("has 2 columns instead of 1: if a title stands above the header")
        assert one["row"] == row


@contextmanager
def changed(path: Path) -> Iterator[openpyxl.Workbook]:
    book = openpyxl.load_workbook(path)
    yield book
    book.save(path)


def merged_orders(folder: Path, *ranges: str) -> Path:
    """Four orders, some of whose cells are merged: Excel keeps the value of the first."""
    mapping = orders(folder, [[n, date(2025, 3, n), "c", "p", 5, "gift"] for n in range(1, 5)])
    with changed(folder / "orders.xlsx") as book:
        for each in ranges:
            book["Sheet"].merge_cells(each)
    return mapping


@pytest.mark.parametrize(
    ("range", "field"),
    [("C2:C4", "data.consumer_id"), ("E2:E4", "data.amount"), ("F2:F4", "data.traits.note")],
)
def test_a_cell_within_merged_ones_is_not_missing(tmp_path: Path, range: str, field: str) -> None:
    mapping = merged_orders(tmp_path, range)
    report = imported(mapping)
    assert (report.read, report.accepted) == (4, 2)
    assert [(bad["number"], bad["field"]) for bad in rejected(mapping)] == [(3, field), (4, field)]
    assert all("is part of merged cells" in bad["detail"] for bad in rejected(mapping))


def test_merged_cells_count_for_each_where_the_mapping_says_so(tmp_path: Path) -> None:
    mapping = merged_orders(tmp_path, "C2:C4", "F3:F5", "D2:E2")
    mapping.write_text(mapping.read_text().replace("[[source]]", '[[source]]\nmerged = "fill"', 1))
    report = imported(mapping, recorder := Recorder())
    found = [(one["data"]["relation_id"], one["data"]["consumer_id"]) for one in recorder.events()]
    assert found == [("2", "c"), ("3", "c"), ("4", "c")]
    assert (report.accepted, rejected(mapping)[0]["field"]) == (3, "data.amount"), "the shop is no amount"


@pytest.mark.parametrize("range", ["H1:J9", "A6:F9", "F1:H1"])
def test_merged_cells_outside_of_the_table_do_not_matter(tmp_path: Path, range: str) -> None:
    assert imported(merged_orders(tmp_path, range)).accepted == 4


def test_hidden_rows_are_read_and_said(tmp_path: Path) -> None:
    mapping = merged_orders(tmp_path)
    with changed(tmp_path / "orders.xlsx") as book:
        for number in (3, 4, 99):
            book["Sheet"].row_dimensions[number].hidden = True
    report = imported(mapping)
    assert report.accepted == 4
    assert report.sources[0].notes == [
        "2 rows that are hidden in Excel, as by a filter, were read like the others"
    ]


def test_a_workbook_whose_sheets_are_all_hidden_names_them(tmp_path: Path) -> None:
    mapping = merged_orders(tmp_path)
    with changed(tmp_path / "orders.xlsx") as book:
        book["Sheet"].sheet_state = "hidden"
        book.create_sheet("Empty")
    with pytest.raises(MappingError, match=r"no sheet with content that is not hidden \(Sheet\)"):
        imported(mapping)
