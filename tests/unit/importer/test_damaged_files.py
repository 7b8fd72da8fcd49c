"""A damaged file of any format is an error of its own, or has bad rows: no command ends with a traceback."""

import gzip
import io
import json
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import date
from functools import cache
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.importer.changes import Translator
from services.importer.draft import write_draft
from services.importer.envelope import read_change
from services.importer.mapping import MappingError, load
from shared.contracts.errors import InvalidEvent
from tests.support.capture import MAPPING, stored
from tests.support.importer import imported, visits

SHEET = "xl/worksheets/sheet1.xml"


@cache
def parts() -> dict[str, bytes]:
    """A workbook's files by name."""
    book, buffer = openpyxl.Workbook(), io.BytesIO()
    assert book.active is not None
    book.active.append(["who", "where", "day", "note"])
    for n in range(1, 30):
        book.active.append([f"c{n}", n, date(2025, 3, n), "=A1" if n % 7 == 0 else "x"])
    book.active.merge_cells("D3:D5")
    book.active.row_dimensions[4].hidden = True
    book.save(buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    return buffer.getvalue()


@cache
def database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript("CREATE TABLE visits (who TEXT, 'where' INTEGER, note TEXT)")
        rows = [(f"c{n}", n, "é" * n) for n in range(60)]
        connection.executemany("INSERT INTO visits VALUES (?, ?, ?)", rows)
        connection.commit()
        return bytes(connection.serialize())


LINES = b"".join(
    json.dumps({"who": f"c{n}", "where": n, "deep": {"a": [1.5, None, {"b": "\u00e9"}]}}).encode() + b"\n"
    for n in range(40)
)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes of which some are cut out, exchanged or put in."""
    raw = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, min(len(raw), start + draw(st.sampled_from([0, 1, 4, 60, 100_000])))))
        raw[start:end] = draw(st.binary(max_size=4) | st.sampled_from([b"9", b"999", b'"', b"<", b"\0", b"-1"]))
    return bytes(raw)


@st.composite
def damaged_workbooks(draw: st.DrawFn) -> bytes:
    """Damaged as a whole, or with one damaged part in an archive that is right."""
    if draw(st.booleans()):
        return draw(damaged(packed(parts())))
    name = draw(st.just(SHEET) | st.sampled_from(sorted(parts())))
    return packed({**parts(), name: draw(damaged(parts()[name]))})


def fails_by_name_only(folder: Path, name: str, content: bytes, options: str = "") -> None:
    (folder / name).write_bytes(content)
    with suppress(MappingError):
        imported(visits(folder, name, options))
    (folder / f"{name.split('.')[0]}.toml").unlink(missing_ok=True)
    with suppress(MappingError):
        write_draft(folder / name)


ANY_NUMBER = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@ANY_NUMBER
@given(damaged_workbooks())
def test_a_damaged_workbook(tmp_path: Path, content: bytes) -> None:
    fails_by_name_only(tmp_path, "v.xlsx", content)


@ANY_NUMBER
@given(damaged(database()))
def test_a_damaged_database(tmp_path: Path, content: bytes) -> None:
    fails_by_name_only(tmp_path, "v.sqlite", content, 'table = "visits"')


@ANY_NUMBER
@given(damaged(LINES), st.booleans())
def test_damaged_json_lines(tmp_path: Path, content: bytes, zipped: bool) -> None:
    fails_by_name_only(
        tmp_path, "v.jsonl.gz" if zipped else "v.jsonl", gzip.compress(content) if zipped else content
    )


@ANY_NUMBER
@given(damaged(gzip.compress(b"who,where\n" + b"".join(b"c%d,p%d\n" % (n, n * n) for n in range(300)))))
def test_a_damaged_gzip(tmp_path: Path, content: bytes) -> None:
    fails_by_name_only(tmp_path, "v.csv.gz", content)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_envelope(data: st.DataObject) -> None:
    record = data.draw(st.sampled_from([*stored("orders"), *stored("customers")]))
    key, value = (part and data.draw(st.just(part) | damaged(part)) for part in (record.key, record.value))
    with suppress(InvalidEvent):
        change = read_change(key, value, record.headers)
        for made in Translator(load(MAPPING))(change) if change else ():
            with suppress(InvalidEvent):
                made.convert(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sheet: sheet[: len(sheet) // 2], "is damaged .*, after row 1"),
        (lambda sheet: sheet.replace(b'r="A9"', b'r="9"'), "is damaged .*, after row 8"),
        (lambda sheet: sheet.replace(b's="1"', b's="77"'), "is damaged .*, after row 1"),
        (lambda sheet: sheet.replace(b'<row r="9"', b'<row r="99999999999"'), "is damaged .*, after row 8"),
    ],
)
def test_a_damaged_sheet_names_the_row(tmp_path: Path, change: Callable[[bytes], bytes], message: str) -> None:
    assert change(parts()[SHEET]) != parts()[SHEET]
    (tmp_path / "v.xlsx").write_bytes(packed({**parts(), SHEET: change(parts()[SHEET])}))
    with pytest.raises(MappingError, match=message):
        imported(visits(tmp_path, "v.xlsx", 'sheet = "Sheet"'))
    with pytest.raises(MappingError, match=message):
        write_draft(tmp_path / "v.xlsx")
    assert not (tmp_path / "v.toml").exists()
