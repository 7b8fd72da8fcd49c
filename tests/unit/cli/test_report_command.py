"""How `kith report` shows answers, without servers."""

import csv
import io
from typing import Any

import pytest
from typer.testing import CliRunner

from services.analytics.measures.ranking import concentration, top_providers
from services.cli.__main__ import app as kith
from services.cli.report import reports
from services.cli.report_view import as_csv, told
from services.relations.measures.facts import Orders
from services.relations.measures.geography import Geography, Region
from services.relations.measures.lifetime import Lifetime
from services.relations.measures.rfm import rfm, scored
from shared.measures.cohorts import Cohorts, cohorts
from shared.measures.days import Span, day_named
from shared.measures.visits import by_day
from tests.unit.measures.test_orders import END, shop

KEPT = cohorts(
    by_day([("ann", [day_named("2026-01-05"), day_named("2026-02-01")]), ("bob", [day_named("2026-02-03")])]),
    Span(day_named("2026-01-01"), day_named("2026-03-01")),
    "month",
    day_named("2026-03-01"),
)


def shown(found: Any) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in told("What is it?", found, {}, 200) if line.strip()]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_cohorts_are_a_table_of_buckets_and_long_rows_of_csv() -> None:
    lines = shown(KEPT)
    # Percentages, where bare fractions were shown.
    assert ["2026-01-01", "1", "100.0%", "100.0%"] in lines
    assert ["2026-02-01", "1", "100.0%", "–"] in lines
    assert ["Average", "100.0%", "100.0%"] in lines
    assert as_csv(KEPT).splitlines() == [
        "cohort,size,offset,active,retention",
        "2026-01-01,1,0,1,1.0",
        "2026-01-01,1,1,1,1.0",
        "2026-02-01,1,0,1,1.0",
    ]


def test_sums_by_currency_become_columns() -> None:
    place: dict[str, Any] = {"region": None, "city": None, "lat": None, "lon": None}
    place |= {"consumers": 1, "providers": 1, "relations": 2}
    found = Geography(
        located=1,
        items=[
            Region(country='France, "Sud"', amount_minor={"EUR": 1234567}, **place),
            Region(country="[red]Kenya", amount_minor={"KES": 5}, **place),
        ],
    )
    first, second = rows(as_csv(found))
    assert (first["country"], first["amount_minor.EUR"], first["amount_minor.KES"]) == (
        'France, "Sud"',
        "1234567",
        "",
    )
    assert (second["country"], second["amount_minor.EUR"], second["amount_minor.KES"]) == ("[red]Kenya", "", "5")
    words = [word for line in shown(found) for word in line]
    assert "12,345.67" in words, "in major units"
    assert "[red]Kenya" in words, "what upstream wrote is text, not markup"


def test_an_answer_without_items_is_one_row() -> None:
    found = concentration([5, 5])
    assert rows(as_csv(found)) == [
        {
            "currency": "",
            "providers": "2",
            "left_out": "0",
            "below_zero": "0",
            "total_count": "10",
            "total_minor": "",
            "gini": "0.0",
            "top_ten_share": "1.0",
            "top_tenth_share": "0.5",
            "half": "1",
        }
    ]
    assert ["Gini", "coefficient", "0"] in shown(found)


def test_nothing_found_is_said_and_csv_keeps_its_head() -> None:
    nothing = top_providers({}, 5)
    assert as_csv(nothing) == "provider_id,count,amount_minor,share\n"
    assert ["Nothing", "was", "found."] in shown(nothing)
    empty = Cohorts(unit="week", running=True, average=[], items=[])
    assert ["Last", "bucket", "still", "runs", "yes"] in shown(empty)


def test_rfm_shows_its_map_with_the_most_recent_on_top() -> None:
    found = rfm(scored(shop(1), Orders(None, False), END))
    lines = shown(found)
    head = lines.index(["F1", "F2", "F3", "F4", "F5"])
    grid = [[int(word) for word in line[1:]] for line in lines[head + 2 : head + 7]]
    assert [line[0] for line in lines[head + 2 : head + 7]] == ["R5", "R4", "R3", "R2", "R1"]
    assert grid[::-1] == found.grid


def test_notes_are_shown() -> None:
    found = Lifetime(
        currency=None,
        consumers=3,
        repeaters=0,
        horizon_weeks=52,
        active=None,
        expected_orders=None,
        expected_value_minor=None,
        orders_model=None,
        spend_model=None,
        notes=["No model: it needs more."],
        items=[],
    )
    assert ["No", "model:", "it", "needs", "more."] in shown(found)
    assert as_csv(found).startswith("consumer_id,orders,last,")


@pytest.mark.parametrize("report", list(reports()), ids=lambda report: report.name)
def test_every_report_explains_its_options(report: Any) -> None:
    result = CliRunner().invoke(kith, ["report", report.name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    assert report.question in result.output
    for name in [*report.fields, "tenant", "json", "csv"]:
        assert f"--{name.replace('_', '-')}" in result.output


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["cohorts", "--unit", "year"], "--unit"),
        (["activity", "--to", "21.11.2026"], "--to"),
        (["activity", "--method", "exact", "--kind", "view"], "--method"),
        (["lifetime", "--horizon-weeks", "many"], "--horizon-weeks"),
        (["rfm", "--tenant", "No Such"], "--tenant"),
        (["rfm", "--json", "--csv"], "--csv"),
        (["rfm", "--from", "2026-11-02", "--to", "2026-11-02"], "--to"),
    ],
)
def test_a_bad_option_is_named(arguments: list[str], option: str) -> None:
    result = CliRunner().invoke(kith, ["report", *arguments], env={"KITH_MONGO": "mongodb://127.0.0.1:1"})
    assert result.exit_code == 2
    assert option in result.output


def test_it_needs_the_address_of_mongodb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KITH_MONGO", raising=False)
    result = CliRunner().invoke(kith, ["report", "rfm"])
    assert "KITH_MONGO is not set" in str(result.exception)
