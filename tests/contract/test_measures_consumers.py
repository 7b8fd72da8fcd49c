"""Activity, growth and cohorts of both services on a real MongoDB: equal to pandas over the raw events."""

from functools import partial
from typing import Any

import pandas as pd
import pytest
from pymongo.database import Database

from services.analytics.api import create_app as analytics_app
from services.analytics.measures import catalogue
from services.analytics.measures import source as analytics_source
from services.analytics.measures.source import Measures as AnalyticsMeasures
from services.analytics.queries import AnalyticsQueries
from services.relations.measures import source as relations_source
from shared.measures.computing import here
from shared.measures.visits import by_day
from tests.support.analytics_driver import Driver, History, fact
from tests.support.builders import OPEN
from tests.support.measures_world import NOW, World, ask, chosen, left

VISITS: list[tuple[str, dict[str, str]]] = [
    ("analytics", {}),
    ("relations", {}),
    ("relations", {"kind": "purchase"}),
    ("relations", {"category": "café"}),
    ("relations", {"category": "café", "kind": "view"}),
    ("relations", {"provider_id": "p4"}),
    ("relations", {"provider_id": "p4", "category": "garage"}),
]


each_way = pytest.mark.parametrize(("service", "filters"), VISITS, ids=str)


def filtered(world: World, filters: dict[str, str]) -> pd.DataFrame:
    table = chosen(world.table, filters)
    return table.iloc[:0] if filters.get("category") == "garage" else table


@each_way
def test_activity(world: World, service: str, filters: dict[str, str]) -> None:
    found = ask(getattr(world, service), "activity", from_="2026-09-01", to="2026-11-22", **filters)
    table = filtered(world, filters)
    days = pd.date_range("2026-09-01", "2026-11-21")
    assert [item["day"] for item in found["items"]] == [str(day.date()) for day in days]
    for day, item in zip(days, found["items"], strict=True):
        counts = [
            table[(table["day"] > day - pd.Timedelta(days=window)) & (table["day"] <= day)]["consumer"].nunique()
            for window in (1, 7, 30)
        ]
        assert [item["dau"], item["wau"], item["mau"]] == counts
    assert found["consumers"] == table[table["day"].between(days[0], days[-1])]["consumer"].nunique()


def test_activity_by_sketches_is_close_and_exact_for_a_day(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = ask(world.analytics, "activity", method="exact", from_="2026-09-01")
    found = ask(world.analytics, "activity", method="sketch", from_="2026-09-01")
    assert (exact["method"], found["method"]) == ("exact", "sketch")
    assert found["relative_error"] == pytest.approx(0.01625)
    for one, other in zip(exact["items"], found["items"], strict=True):
        assert other["dau"] == one["dau"]
        # So few are counted without error.
        assert (other["wau"], other["mau"]) == (one["wau"], one["mau"])
    assert found["consumers"] == exact["consumers"]
    assert ask(world.analytics, "activity")["method"] == "exact"
    monkeypatch.setattr(catalogue, "EXACT_VISITS", 10)
    assert ask(world.analytics, "activity")["method"] == "sketch"


@each_way
@pytest.mark.parametrize("unit", ["week", "month"])
def test_lifecycle_and_cohorts(world: World, service: str, filters: dict[str, str], unit: str) -> None:
    table = filtered(world, filters).copy()
    period = {"week": "W-SUN", "month": "M"}[unit]
    table["bucket"] = table["day"].dt.to_period(period)
    grown = ask(getattr(world, service), "lifecycle", unit=unit, from_="2026-06-10", to="2026-11-22", **filters)
    buckets = pd.period_range("2026-06-10", "2026-11-21", freq=period)
    assert [item["bucket"] for item in grown["items"]] == [str(bucket.start_time.date()) for bucket in buckets]
    members = {bucket: set(rows["consumer"]) for bucket, rows in table.groupby("bucket")}
    for bucket, item in zip(buckets, grown["items"], strict=True):
        now, before = members.get(bucket, set()), members.get(bucket - 1, set())
        ever = set(table[table["bucket"] < bucket]["consumer"])
        expected = [now, now - ever, now & before, (now & ever) - before, before - now]
        names = ["active", "new", "returning", "resurrected", "lost"]
        assert [item[name] for name in names] == [len(part) for part in expected]
    assert [item["complete"] for item in grown["items"]] == [True] * (len(buckets) - 1) + [False]

    kept = ask(getattr(world, service), "cohorts", unit=unit, from_="2026-06-10", to="2026-11-22", **filters)
    table["first"] = table.groupby("consumer")["bucket"].transform("min")
    expected_rows = {}
    for first, rows in table[table["first"].isin(buckets)].groupby("first"):
        sizes = [rows[rows["bucket"] == bucket]["consumer"].nunique() for bucket in buckets if bucket >= first]
        expected_rows[str(first.start_time.date())] = sizes
    assert {item["cohort"]: item["active"] for item in kept["items"]} == expected_rows
    assert kept["running"] is True


@pytest.mark.parametrize("most", [1, 7, 60])
def test_many_visits_are_read_in_portions(world: World, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    asked = [
        (getattr(world, service), name, params)
        for service, params in (("analytics", {}), ("relations", {"category": "café"}))
        for name in ("activity", "lifecycle", "cohorts")
    ]
    at_once = [ask(app, name, from_="2026-05-01", **params) for app, name, params in asked]
    monkeypatch.setattr(analytics_source, "PORTION", most)
    monkeypatch.setattr(relations_source, "by_day", partial(by_day, most=most))
    assert [ask(app, name, from_="2026-05-01", **params) for app, name, params in asked] == at_once


def test_partial_counts_that_cancel_out_are_no_visit(mongo_database: Database[dict[str, Any]]) -> None:
    """After partitions are added, a fact may come through one and go through another."""
    history = History()
    history.state("r1", fact("p1", "view", "2026-11-20T23:59:59Z"), "ann", partition=0)
    history.state("r2", fact("p1", "view", "2026-11-19T10:00:00Z"), "bob", partition=0)
    history.state("r3", fact("p2", "view", "2026-11-21T00:00:00Z"), "bob", partition=1)
    history.state("r1", None, "ann", partition=1)
    driver = Driver()
    for log in history.logs.values():
        driver.feed(log)
    for name, documents in driver.stored.items():
        mongo_database[name].insert_many(documents.values())
    assert mongo_database["aggregates"].count_documents({"by": "consumer", "key": "ann"}) == 2
    clock = lambda: NOW  # noqa: E731
    measures = here(AnalyticsMeasures(mongo_database, str, str, clock).of)
    app = analytics_app(AnalyticsQueries(mongo_database), list, measures, access=OPEN)
    for method in ("exact", "sketch"):
        found = ask(app, "activity", from_="2026-11-19", method=method)
        assert [(item["dau"], item["wau"]) for item in found["items"]] == [(1, 1), (0, 1), (1, 1)]
        assert found["consumers"] == 1
    top = ask(app, "top-providers", from_="2026-11-19")
    assert {item["provider_id"]: item["count"] for item in top["items"]} == {"p1": 1, "p2": 1}
    grown = ask(app, "lifecycle", unit="day", from_="2026-11-19")
    assert [(item["new"], item["returning"], item["resurrected"], item["lost"]) for item in grown["items"]] == [
        (1, 0, 0, 0),
        (0, 0, 0, 1),
        (0, 0, 1, 0),
    ]


def test_tenants_do_not_see_each_other(world: World) -> None:
    table = left(world.events, "acme")
    for app in (world.analytics, world.relations):
        found = ask(app, "activity", "acme", from_="2026-06-01")
        assert found["consumers"] == table[table["day"] >= "2026-06-01"]["consumer"].nunique()
        assert ask(app, "activity", "nobody")["consumers"] == 0
    # Its events came without a profile: no provider of it has a category.
    assert ask(world.relations, "revenue", "acme", category="café")["totals"] == []
