"""Reports for people: 80 columns, whole numbers and ids, major units, percentages, who is left out."""

import csv
import io
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel
from rich.cells import cell_len
from typer.testing import CliRunner

from services.analytics.measures.ranking import concentration, top_providers
from services.analytics.measures.ratings import ratings
from services.cli.__main__ import app as kith
from services.cli.audit_list import _as_csv as audit_csv
from services.cli.report import reports
from services.cli.report_table import Column, table
from services.cli.report_values import shown
from services.cli.report_view import as_csv, told
from services.relations.measures.distribution import distribution
from services.relations.measures.facts import Fact, Orders
from services.relations.measures.geography import Geography, Region
from services.relations.measures.revenue import Takings, revenue
from services.relations.measures.rfm import rfm, rfm_consumers, scored
from shared.measures.answer import stated
from shared.measures.cohorts import Cohort, Cohorts
from shared.measures.csv_cells import unguarded
from shared.measures.days import Span, day_named
from shared.measures.scale import Scale
from shared.measures.units import label_of, model_of, unit_of
from tests.support.paths import ROOT
from tests.unit.measures.test_orders import END, shop

NOVEMBER = Span(day_named("2026-11-01"), day_named("2026-12-01"))


def text(found: Any, asked: Mapping[str, str] | None = None, width: int = 80) -> str:
    return "\n".join(told("What is it?", found, asked or {}, width))


IDS = st.text("abcdefghij-:0123456789東", min_size=1, max_size=90)
NUMBERS = st.integers(-(10**15), 10**15).map(lambda value: f"{value:,}")


@given(
    st.lists(st.tuples(IDS, st.dates().map(str)), min_size=1, max_size=6),
    st.lists(st.tuples(st.text("abc ", min_size=1, max_size=30), NUMBERS), max_size=12),
    st.integers(40, 120),
)
def test_no_number_date_or_id_is_broken_and_lines_fit(
    rows: list[tuple[str, str]], numbers: list[tuple[str, str]], width: int
) -> None:
    columns = [
        Column("Consumer", [id for id, _ in rows], key=True),
        Column("Last order", [day for _, day in rows]),
        *(Column(label, [number] * len(rows), number=True) for label, number in numbers),
    ]
    lines = list(table(columns, width))
    for column in columns:
        for cell in column.cells:
            assert any(cell in line for line in lines)
    # Longer than the terminal is only what one value makes longer; it stays whole, so that it can be copied.
    widest = max(cell_len(id) for id, _ in rows)
    for line in lines:
        assert cell_len(line) <= width or widest + 40 > width


def test_columns_that_do_not_fit_go_on_below_with_the_same_keys() -> None:
    columns = [
        Column("Cohort of", ["2026-01-01", "2026-02-01"], key=True),
        *(Column(f"+{at}", ["100.0%", "46.7%"], number=True) for at in range(14)),
    ]
    lines = list(table(columns, 80))
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("2026-01-01") for line in lines) == 2
    assert " ".join(lines).count("46.7%") == 14


def test_prose_is_broken_between_words_and_ids_are_not() -> None:
    place = "Saint-Rémy-en-Bouzemont-Saint-Genest-et-Isson and a long district name"
    columns = [
        Column("Country", ["France"], key=True, text=True),
        Column("City", [place], key=True, text=True),
        Column("Relations", ["1,234,567"], number=True),
    ]
    lines = list(table(columns, 60))
    assert max(map(len, lines)) <= 60
    assert "1,234,567" in " ".join(lines)
    long = "c" * 200
    lines = list(table([Column("Consumer", [long], key=True), Column("Orders", ["7"], number=True)], 80))
    assert [line.split() for line in lines] == [["Consumer", long], ["Orders", "7"]]


def test_an_address_stays_whole_so_that_it_can_be_opened() -> None:
    url = "url=https://hooks.example.com/a/long/path/of/an/endpoint"
    cells = [f"endpoint=ep_1 {url} by the tenant itself, after a long time"]
    who = Column("Who", ["Ada of the office in the third floor (k1234567)"], key=True, text=True)
    for width in (40, 60, 80, 120):
        lines = list(table([who, Column("What", cells, key=True, text=True)], width))
        assert any(url in line for line in lines)
        assert all(cell_len(line) <= width or url in line for line in lines)


def euro(amount: int, currency: str = "EUR", day: str = "2026-06-01") -> Fact:
    return Fact("p", datetime.fromisoformat(f"{day}T12:00Z"), amount, currency)


@pytest.mark.parametrize(
    ("currency", "gross", "average"),
    [
        ("EUR", "3,622.60", "1,811.30"),
        ("HUF", "3,622.60", "1,811.30"),
        ("IDR", "3,622.60", "1,811.30"),
        ("JPY", "362,260", "181,130"),
        ("KWD", "362.260", "181.130"),
        ("UYW", "36.2260", "18.1130"),
        ("XAU", "362,260", "181,130"),
    ],
)
def test_revenue_is_in_major_units(currency: str, gross: str, average: str) -> None:
    found = stated(revenue([Takings(NOVEMBER.first, currency, 2, 362260, 1, -100)], "month"), NOVEMBER)
    shown = text(found)
    assert max(map(len, shown.splitlines())) <= 80
    assert gross in shown.split()
    assert average in shown.split()
    assert "Period    2026-11-01 to 2026-11-30 (days in UTC)" in shown
    assert "each on its own; nothing is converted" in shown
    [row] = csv.DictReader(io.StringIO(as_csv(found)))
    assert (row["gross_minor"], row["average_order_minor"]) == ("362260", "181130.0")


def test_money_of_an_unknown_currency_is_said_to_be_in_minor_units() -> None:
    shown = text(revenue([Takings(NOVEMBER.first, "QQQ", 2, 362260, 0, 0)], "month"))
    assert "QQQ (minor units)" in shown
    assert "362,260" in shown.split()
    found = rfm(scored([("c", [euro(1250, "QQQ")])], Orders("QQQ", False), END))
    assert "in minor units: ISO 4217 does not list it" in " ".join(text(found).split())


def test_several_currencies_are_said_and_so_is_who_is_left_out() -> None:
    histories = [("a", [euro(100)]), ("b", [euro(100)]), ("c", [euro(100, "CHF")])]
    found = stated(rfm(scored(histories, Orders("EUR", False), END)), NOVEMBER, {"EUR": 2, "CHF": 1})
    shown = " ".join(text(found).split())
    assert "Currency EUR, which most orders are in. Others, with their orders: CHF (1)." in shown
    assert "--currency" in shown
    assert "Left out 1 consumers with money in other currencies only" in shown
    only = " ".join(text(rfm(scored([("a", [euro(100)])], Orders("EUR", False), END))).split())
    assert "Left out" not in only
    assert "Currency EUR " in only
    nothing = text(rfm(scored([], Orders(None, False), END)))
    assert "none: no order has an amount" in nothing
    assert "Currency" not in text(top_providers({"p": 3}, 5)), "relations are no money"
    assert "none: no order has an amount" in text(top_providers({}, 5, money=True), {"measure": "amount"})


def test_the_scale_is_said() -> None:
    data = Scale(lowest=0, highest=2, source="data")
    shown = " ".join(text(distribution({0: 1, 2: 3}, data)).split())
    assert "Scale 0 (worst) to 2 (best), as in the data; --lowest and --highest state another" in shown
    assert "Good from 2" in shown
    assert "Good ratings 75.0%" in shown
    asked = Scale(lowest=1, highest=5, source="asked")
    assert "1 (worst) to 5 (best), as asked for" in text(ratings({"p": (1, 5)}, asked, 10, "mean", 5))
    assert "KITH_RATING_SCALES" in text(ratings({}, Scale(lowest=1, highest=5, source="setting"), 10, "mean", 5))
    assert "not known: there are no ratings" in text(ratings({}, None, 10, "mean", 5))


def test_labels_are_words_and_names_of_classes_too() -> None:
    found = rfm_consumers(scored(shop(1), Orders("EUR", False), END), None, 3)
    shown = text(found)
    assert "_" not in shown
    assert shown.splitlines()[-1] == f"3 of {found.consumers} consumers; --limit lists more."
    head = [line.split() for line in shown.splitlines() if "Consumer " in line][-1]
    assert head == ["Consumer", "Segment", "R", "F", "M", "order", "Orders", "Money"], "wide labels are above"


def test_filters_are_repeated() -> None:
    shown = text(concentration([3, 1]), {"kind": "purchase", "category": "café"})
    assert "Asked for" in shown
    assert "kind purchase, category café" in shown


def test_what_upstream_wrote_commands_no_terminal() -> None:
    place: dict[str, Any] = {"region": None, "city": None, "lat": None, "lon": None, "amount_minor": {}}
    place |= {"consumers": 1, "providers": None, "relations": 2}
    shown = text(Geography(located=1, items=[Region(country="\x1b[31mred\x07", **place)]))
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_a_formula_in_a_name_is_guarded_in_csv() -> None:
    place: dict[str, Any] = {"region": None, "city": None, "lat": None, "lon": None, "amount_minor": {"EUR": -5}}
    place |= {"consumers": 1, "providers": None, "relations": 2}
    found = Geography(located=1, items=[Region(country="=cmd|' /C calc'!A0", **place)])
    [row] = csv.DictReader(io.StringIO(as_csv(found)))
    assert row["country"].startswith("'=")
    assert row["amount_minor.EUR"] == "-5", "a number is no formula"


def test_every_report_of_a_long_year_fits() -> None:
    cohort = Cohort(cohort=date(2026, 1, 1), size=1_234_567, active=[1_234_567] * 13, retention=[0.4567] * 13)
    found = Cohorts(unit="month", running=True, average=[0.4567] * 12, items=[cohort])
    assert max(map(len, text(found).splitlines())) <= 80
    consumers = rfm_consumers(scored(shop(2), Orders("EUR", False), END), None, 100)
    assert max(map(len, text(consumers).splitlines())) <= 80


@pytest.mark.parametrize("report", list(reports()), ids=lambda report: report.name)
def test_the_default_period_is_in_the_help(report: Any) -> None:
    result = CliRunner().invoke(kith, ["report", report.name, "--help"], env={"COLUMNS": "250", "TERM": "dumb"})
    assert f"Default: {report.queries[0].default_period()}." in result.output
    assert len({query.default_period() for query in report.queries}) == 1


def answers() -> list[Any]:
    from services.analytics.measures.catalogue import MEASURES as ANALYTICS
    from services.relations.measures.catalogue import MEASURES as RELATIONS

    return [*ANALYTICS, *RELATIONS]


@pytest.mark.parametrize("measure", answers(), ids=lambda measure: measure.name)
def test_every_number_says_its_unit_and_every_label_is_words(measure: Any) -> None:
    """A float without a unit means nothing to a person; money without "minor" in its name misleads."""
    todo, seen = [measure.answer], set()
    while todo:
        model = todo.pop()
        for name, field in model.model_fields.items():
            unit, kind = unit_of(field), str(field.annotation)
            assert unit is not None or "float" not in kind, name
            assert (unit == "minor") == name.endswith("_minor"), name
            assert "_" not in label_of(name, field)
            if (inner := model_of(field)) is not None and inner not in seen:
                seen.add(inner)
                todo.append(inner)


def test_no_cell_of_the_audit_or_of_a_report_is_a_formula_whatever_delimiter_a_reader_takes() -> None:
    attack = 'x;=1+1|"=2+2\t＝3'
    entry: Any = {
        **dict.fromkeys(("time", "tenant", "key", "action", "hash"), "-1+1"),
        "who": attack,
        "sequence": 1,
        "subject": {"consumer_id": attack, "x;=1": ""},
        "fields": [attack],
        "details": {"reason": attack},
    }

    class Reported(BaseModel):
        items: list[dict[str, Any]]

    report = Reported(items=[{"name": attack, "amounts": {attack: 1}, "n": -5}])
    for text in (audit_csv([entry]), as_csv(report)):
        for delimiter in ",;|\t":
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
                runs = [cell for cell in row if cell.lstrip(' "')[:1] in tuple("=+@＝") or cell[:2] == "-1"]
                assert runs == [], (delimiter, row)


@given(st.lists(st.text("a\r\n,;\"'=\x0b\u2028 ", max_size=9), min_size=1, max_size=3))
@example(["Bob\rAnn,1"])
def test_csv_that_is_read_again_is_what_was_written(texts: list[str]) -> None:
    class Reported(BaseModel):
        items: list[dict[str, Any]]

    report = as_csv(Reported(items=[{"name": text, "n": 1} for text in texts]))
    head, *rows = csv.reader(io.StringIO(report, newline=""))
    assert [[unguarded(row[head.index("name")]), row[head.index("n")]] for row in rows] == [
        [t, "1"] for t in texts
    ]
    names = ("time", "tenant", "who", "key", "action", "hash")
    entries: list[Any] = [
        {**dict.fromkeys(names, text), "sequence": 1, "subject": {}, "fields": [], "details": {}} for text in texts
    ]
    head, *rows = csv.reader(io.StringIO(audit_csv(entries), newline=""))
    assert [unguarded(row[head.index("who")]) for row in rows] == texts
    assert [len(row) for row in rows] == [len(head)] * len(texts)


def test_every_csv_has_its_line_ends_quoted() -> None:
    """Python's writer quotes the characters of its own line end only: it needs both."""
    for folder in ("services", "shared"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text()
            assert text.count("csv.writer(") == text.count('lineterminator="\\r\\n"'), file


@pytest.mark.parametrize("unit", ["fraction", "days", "rate", "degrees", "points", None])
def test_zero_has_no_sign(unit: Any) -> None:
    assert not shown(-0.0000001, unit).startswith("-")
    assert shown(-12.5, unit).startswith("-1")
