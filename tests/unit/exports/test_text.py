"""CSV and JSON lines, byte by byte, and what a credential sees of a dataset."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.exports.column_access import FILTERS, check_filters, split
from services.exports.columns import Column, Row
from services.exports.datasets import DATASETS, columns
from services.exports.formats import FORMATS
from services.exports.query import ExportQuery, filter_of
from services.exports.source import Export
from services.exports.text import csv_lines, json_lines
from shared.access.masks import is_path
from shared.http.caller import Denied
from shared.http.parameters import BadParameter, moment
from shared.measures.csv_cells import guarded, guarded_json, unguarded

COLUMNS = [
    Column("name", "text", ""),
    Column("kind", "choice", ""),
    Column("amount", "integer", ""),
    Column("score", "number", ""),
    Column("closed", "boolean", ""),
    Column("time", "time", ""),
    Column("day", "day", ""),
    Column("tags", "texts", ""),
    Column("more", "json", ""),
]


#: What fonts show as nothing, though Unicode calls them letters, marks or symbols.
FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"


def is_unseen(c: str) -> bool:
    return unicodedata.category(c) in ("Cc", "Cf") or unicodedata.name(c, "").startswith("VARIATION SELECTOR")


def could_run(cell: str) -> bool:
    """Whether a spreadsheet would take it, or a part that another delimiter makes a cell, for a formula. Written
    the long way round."""
    for part in re.split(r"[;|\t\r\n\v\f\x1c-\x1f\x85\u2028\u2029]", cell):
        visible = "".join(c for c in part if not (c.isspace() or c == '"' or c in FILLERS or is_unseen(c)))
        if visible[:1] and unicodedata.normalize("NFKC", visible[0]) in ("=", "+", "-", "@", "\u2212"):
            return True
    return cell[:1] in ("\t", "\r", "\n")


class Rows:
    def __init__(self, *lots: Sequence[Row]) -> None:
        self._lots = iter(lots)

    def __iter__(self) -> Iterator[Sequence[Row]]:
        return self

    def __next__(self) -> Sequence[Row]:
        return next(self._lots)

    def close(self) -> None:
        """Nothing is held."""


ROW: Row = {
    "name": 'Caf\u00e9 "L"',
    "kind": "view",
    "amount": -5,
    "score": 1.5,
    "closed": False,
    "time": datetime(2026, 11, 21, 7, tzinfo=UTC),
    "day": date(2026, 11, 21),
    "tags": ["a", "b,c"],
    "more": '{"x":1}',
}


def test_csv_byte_by_byte() -> None:
    content = b"".join(csv_lines(COLUMNS, Rows([ROW], [{}])))
    assert content.decode() == (
        "name,kind,amount,score,closed,time,day,tags,more\r\n"
        '"Caf\u00e9 ""L""",view,-5,1.5,false,2026-11-21T07:00:00.000000Z,2026-11-21,'
        '"[""a"",""b,c""]","{""x"":1}"\r\n'
        ",,,,,,,,\r\n"
    )
    assert b"".join(csv_lines(COLUMNS[:2], Rows())) == b"name,kind\r\n"


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_is_a_formula_but_numbers_stay_numbers(begin: str) -> None:
    rows: list[Row] = [{"name": f"{begin}1+2", "kind": f"{begin}x", "amount": -7, "score": -0.5}]
    [_, cells] = csv.reader(io.StringIO(b"".join(csv_lines(COLUMNS[:4], Rows(rows))).decode(), newline=""))
    assert cells == [f"'{begin}1+2", f"'{begin}x", "-7", "-0.5"]


CELLS = st.text(
    st.one_of(
        st.sampled_from("=+-@＝＋－＠⁼'\"; |\t\r\n\ufeff\u00a0\u200b\u3164\ufe0f\v\f\x1e\x1f\x85\u20281a"),
        st.characters(exclude_categories=["Cs"]),
    )
)


@given(CELLS)
def test_the_guard_can_be_taken_back_and_nothing_runs(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    assert not could_run(cell)


@given(st.lists(CELLS, min_size=1, max_size=3), st.sampled_from(";|\t,\x1f"))
def test_nothing_runs_whatever_delimiter_a_reader_takes(texts: list[str], delimiter: str) -> None:
    """As a reader sees it: it drops quotation marks, and doubles of them."""
    more = json.dumps({text: [text] for text in texts}, ensure_ascii=False)
    rows: list[Row] = [{**dict(zip(("name", "kind", "other"), texts, strict=False)), "more": more}]
    made = [Column(name, "text", "", tells=()) for name in ("name", "kind", "other")]
    made.append(Column("more", "json", "", tells=()))
    content = b"".join(csv_lines(made, Rows(rows))).decode()
    for row in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter):
        assert not any(could_run(cell) for cell in row), row


@given(CELLS, CELLS)
def test_two_texts_are_never_one_cell(one: str, other: str) -> None:
    assert (guarded(one) == guarded(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1", "'=1"),
        ("'=1", "''=1"),
        ("  =1", "'  =1"),
        ("\n=1", "'\n'=1"),
        ("\u00a0+1", "'\u00a0+1"),
        ("\ufeff=1", "'\ufeff=1"),
        ("＝1", "'＝1"),
        ("⁼1", "'⁼1"),
        ("\u3164\ufe0f=1", "'\u3164\ufe0f=1"),
        ('x;"=1', "x;'\"=1"),
        ('"=1', "'\"=1"),
        ("x;=1", "x;'=1"),
        ("x\t@y", "x\t'@y"),
        ("'t Hof", "'t Hof"),
        ("a=b", "a=b"),
        ("2026-01-01", "2026-01-01"),
        ("", ""),
    ],
)
def test_what_is_guarded(text: str, cell: str) -> None:
    assert guarded(text) == cell


@given(st.dictionaries(CELLS, CELLS, max_size=3))
def test_json_in_a_cell_keeps_its_value_and_runs_nowhere(value: dict[str, str]) -> None:
    cell = guarded_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(cell) == value
    assert not could_run(cell)


class Odd(tzinfo):
    """A time zone of a kind that nobody has heard of."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(hours=2)

    def dst(self, _: datetime | None) -> timedelta:
        return timedelta(0)

    def tzname(self, _: datetime | None) -> str:
        return "odd"


FIRST, LAST = (datetime(year, 1, 2, tzinfo=UTC).replace(tzinfo=None) for year in (1970, 8999))


@given(st.datetimes(FIRST, LAST), st.sampled_from([UTC, Odd(), timezone(timedelta(0))]))
def test_times_have_their_offset_in_every_text(moment: datetime, zone: tzinfo) -> None:
    """And to the microsecond, whatever the kind of their zone."""
    time = moment.replace(tzinfo=zone)
    [line] = b"".join(json_lines(COLUMNS, Rows([{"time": time}]))).splitlines()
    assert json.loads(line)["time"].endswith("Z")
    assert datetime.fromisoformat(json.loads(line)["time"]) == time
    [_, cells] = csv.reader(io.StringIO(b"".join(csv_lines(COLUMNS[5:6], Rows([{"time": time}]))).decode()))
    assert datetime.fromisoformat(cells[0]) == time


def test_a_csv_for_excel_begins_with_a_mark() -> None:
    export = Export("relations", "default", COLUMNS[:1], datetime(2026, 1, 1, tzinfo=UTC), Rows([{"name": "é"}]))
    assert b"".join(FORMATS["csv-excel"].chunks(export)) == b"\xef\xbb\xbfname\r\n\xc3\xa9\r\n"


@given(st.lists(st.text(max_size=20), max_size=8))
def test_any_text_comes_back_from_csv(texts: list[str]) -> None:
    rows: list[Row] = [{"name": text, "kind": "x"} for text in texts]
    content = b"".join(csv_lines(COLUMNS[:2], Rows(rows)))
    found = [row[0] for row in csv.reader(io.StringIO(content.decode(), newline=""))][1:]
    told = [text.encode("utf-8", "replace").decode() for text in texts]
    assert [unguarded(cell) for cell in found] == told
    assert not any(could_run(cell) for cell in found)


@given(
    st.lists(
        st.none()
        | st.text(st.characters(codec="utf-8"), max_size=4)
        | st.sampled_from(["", "\r", '"', ",", 'a"\n']),
        min_size=2,
        max_size=5,
    )
)
def test_an_empty_text_is_in_quotes_and_what_is_missing_is_not(cells: list[str | None]) -> None:
    columns = [Column(f"c{place}", "text", "") for place in range(len(cells))]
    row = {column.name: cell for column, cell in zip(columns, cells, strict=True)}
    text = b"".join(csv_lines(columns, Rows([row]))).decode().partition("\r\n")[2]
    # As PostgreSQL reads it.
    read = re.findall(r'("(?:[^"]|"")*"|[^,"\r\n]*)(?:,|\r\n)', text)
    known = [unguarded(cell[1:-1].replace('""', '"') if cell.startswith('"') else cell) for cell in read]
    assert [value if cell else None for value, cell in zip(known, read, strict=True)] == cells
    assert next(csv.reader(io.StringIO(text, newline=""))) == [guarded(cell or "") for cell in cells]


def test_json_lines() -> None:
    [one, other] = b"".join(json_lines(COLUMNS, Rows([ROW, {"name": "x"}]))).splitlines()
    assert json.loads(one) == {
        **ROW,
        "time": "2026-11-21T07:00:00Z",
        "day": "2026-11-21",
        "more": {"x": 1},
    }
    assert json.loads(other) == {"name": "x"}


def test_personal_columns_are_those_of_the_issue() -> None:
    told = {name: [c.name for c in columns(name, True) if c not in columns(name)] for name in DATASETS}
    assert told == {
        "relations": ["text"],
        "relationships": [],
        "consumers": ["city", "lat", "lon", "personal"],
        "providers": [],
        "aggregates": [],
    }
    with pytest.raises(KeyError):
        columns("nothing")


def test_a_document_without_personal_fields_is_asked_for_without_them() -> None:
    for dataset in DATASETS.values():
        asked = dataset.projection(personal=False)
        assert not set(asked) & {"text", "personal", "location", "location.city"} or dataset.name == "providers"
        assert set(dataset.personal_fields) <= set(dataset.projection(personal=True))


@pytest.mark.parametrize(
    ("dataset", "mask", "hidden"),
    [
        ("relations", "amount", ["amount"]),
        ("relationships", "amount", ["amount", "amounts"]),
        ("relations", "consumer_id", ["id", "consumer_id"]),
        ("aggregates", "consumer_id", ["id", "key"]),
        ("consumers", "personal.email", ["personal"]),
        ("consumers", "personal.*", ["personal"]),
        ("consumers", "location.city", ["city"]),
        ("consumers", "location.*", ["country", "region", "city", "lat", "lon"]),
        ("consumers", "traits.vip", ["traits"]),
        ("consumers", "personal.city", ["personal"]),
        ("providers", "traits.name", ["traits"]),
        ("providers", "location.city", ["city"]),
        ("providers", "city", ["city"]),
        ("relations", "traits.kind", ["traits"]),
        ("relations", "event.time", ["event_time"]),
        ("relations", "event.id", ["event_id"]),
        ("providers", "nothing", []),
    ],
)
def test_masks_hide_what_they_name_and_what_tells_it(dataset: str, mask: str, hidden: list[str]) -> None:
    assert is_path(mask)
    shown, found = split(DATASETS[dataset], True, [mask])
    assert found == hidden
    assert not {column.name for column in shown} & set(hidden)


def test_a_hidden_column_is_no_filter() -> None:
    def check(dataset: str, masks: list[str], **asked: Any) -> None:
        check_filters(ExportQuery(**asked), DATASETS[dataset], masks)

    for dataset in ("relations", "relationships", "aggregates"):
        with pytest.raises(Denied, match="kind: kind is hidden"):
            check(dataset, ["kind"], kind="view")
        check(dataset, ["amount"], kind="view")
    with pytest.raises(Denied, match="key: consumer_id is hidden"):
        check("aggregates", ["consumer_id"], by="consumer", key="ada")
    check("aggregates", ["consumer_id"], by="kind", key="view")


def test_rows_of_sums_reveal_days_and_kinds_by_being_there() -> None:
    sums = DATASETS["aggregates"]
    for by, mask in (
        (None, "kind"),
        ("kind", "kind"),
        ("provider_kind", "kind"),
        ("total", "time"),
        (None, "time"),
    ):
        with pytest.raises(Denied, match=f"aggregates: {mask} is hidden|by: {mask} is hidden"):
            check_filters(ExportQuery(by=by), sums, [mask])
    check_filters(ExportQuery(by="provider"), sums, ["kind"])
    check_filters(ExportQuery(), sums, ["amount"])
    check_filters(ExportQuery(), DATASETS["relations"], ["time"])


@pytest.mark.parametrize("text", ["", "2026", "2026-13-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "now"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(BadParameter):
        moment("from", text)


def test_times_are_in_utc_or_say_their_offset() -> None:
    assert moment("from", "2026-11-21") == datetime(2026, 11, 21, tzinfo=UTC)
    assert moment("from", "2026-11-21T02:00:00+02:00") == datetime(2026, 11, 21, tzinfo=UTC)


def test_a_filter_never_leaves_its_tenant() -> None:
    for dataset in DATASETS.values():
        wanted: Any = filter_of(dataset, ExportQuery("acme"))
        assert wanted.get("tenant") == "acme" or wanted["_id"] == {"$gte": "acme:", "$lt": "acme;"}


def test_every_filter_declares_what_it_reveals() -> None:
    assert {field.name for field in fields(ExportQuery)} - {"tenant"} == set(FILTERS)
