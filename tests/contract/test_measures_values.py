"""Providers, ratings, money and places of both services on MongoDB: equal to pandas over the raw events."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.analytics_driver import get
from tests.support.measures_world import PLACES, World, ask, chosen, moving

TODAY = pd.Timestamp("2026-11-21")


@pytest.mark.parametrize(
    "filters", [{}, {"kind": "purchase"}, {"category": "café"}, {"kind": "refund", "category": "café"}], ids=str
)
def test_providers(world: World, filters: dict[str, str]) -> None:
    table = chosen(world.table, filters)
    recent = table[table["day"].between("2026-10-01", "2026-11-21")]
    span: dict[str, Any] = {"from_": "2026-10-01", "to": "2026-11-22", "limit": 100, **filters}
    counts = recent.groupby("provider").size()
    top = ask(world.analytics, "top-providers", **span)
    assert {item["provider_id"]: item["count"] for item in top["items"]} == counts.to_dict()
    assert top["total_count"] == len(recent)
    euros = recent[recent["currency"] == "EUR"].groupby("provider")["amount"].sum()
    money = ask(world.analytics, "top-providers", measure="amount", currency="EUR", **span)
    assert {item["provider_id"]: item["amount_minor"] for item in money["items"]} == euros[euros != 0].to_dict()

    del span["limit"]
    spread = ask(world.analytics, "concentration", **span)
    values = counts.to_numpy()
    gini = np.abs(values[:, None] - values[None, :]).mean() / (2 * values.mean())
    assert spread["gini"] == pytest.approx(gini)
    assert spread["top_ten_share"] == 1
    assert spread["providers"] == len(counts)


@pytest.mark.parametrize(
    "filters", [{}, {"kind": "purchase"}, {"category": "café"}, {"kind": "refund", "category": "café"}], ids=str
)
def test_rising_and_falling(world: World, filters: dict[str, str]) -> None:
    span: dict[str, Any] = {"from_": "2026-10-01", "to": "2026-11-22", "limit": 100, **filters}
    expected = moving(chosen(world.table, filters), "2026-10-01", "2026-11-22", 30)
    up = ask(world.analytics, "rising", baseline_days=30, minimum=1, **span)
    assert (up["days"], up["baseline_days"]) == (52, 30)
    assert up["items"] == records(expected)
    least = int((expected["count"] + expected["baseline"]).median())
    down = ask(world.analytics, "rising", baseline_days=30, minimum=least, direction="falling", **span)
    listed = expected[(expected["count"] + expected["baseline"] >= least) & (expected["baseline"] > 0)]
    assert down["items"] == records(listed.sort_values(["at_most", "provider_id"]))


def test_a_provider_without_a_baseline_has_no_ratio(world: World) -> None:
    first = world.table.groupby("provider")["day"].min().max()
    to = first + pd.Timedelta(days=1)
    expected = moving(world.table, str(first.date()), str(to.date()), 400)
    assert (expected["baseline"] == 0).any()
    found = ask(
        world.analytics, "rising", from_=first.date(), to=to.date(), baseline_days=400, minimum=1, limit=100
    )
    assert found["items"] == records(expected)


def records(table: pd.DataFrame) -> list[Any]:
    """The rows as an answer has them; what is not there is null."""
    return [
        pytest.approx({name: None if pd.isna(value) else value for name, value in row.items()})
        for row in table.to_dict("records")
    ]


@pytest.mark.parametrize("filters", [{}, {"kind": "review"}, {"category": "café"}], ids=str)
def test_ratings(world: World, filters: dict[str, str]) -> None:
    rated = chosen(world.table, filters).dropna(subset=["rating"])
    found = ask(world.analytics, "ratings", weight=7, limit=100, **filters)
    assert found["mean"] == pytest.approx(rated["rating"].mean())
    by_provider = rated.groupby("provider")["rating"]
    expected = (by_provider.sum() + 7 * rated["rating"].mean()) / (by_provider.size() + 7)
    assert {item["provider_id"]: item["bayesian"] for item in found["items"]} == pytest.approx(expected.to_dict())
    assert {item["provider_id"]: item["mean"] for item in found["items"]} == pytest.approx(
        by_provider.mean().to_dict()
    )
    spread = ask(world.relations, "rating-distribution", **filters)
    assert {item["rating"]: item["count"] for item in spread["items"]} == rated["rating"].value_counts().to_dict()
    assert spread["positive"] == pytest.approx((rated["rating"] >= 4).mean())


MONEY: list[dict[str, str]] = [{}, {"kind": "purchase"}, {"category": "café"}, {"provider_id": "p4"}]


each_money = pytest.mark.parametrize("filters", MONEY, ids=str)


@each_money
def test_revenue(world: World, filters: dict[str, str]) -> None:
    table = chosen(world.table, filters)
    paid = table[table["day"].between("2026-03-01", "2026-11-21")].dropna(subset=["amount"])
    found = ask(world.relations, "revenue", from_="2026-03-01", to="2026-11-22", unit="month", **filters)
    months = paid["day"].dt.to_period("M")
    for items, groups in ((found["totals"], ["currency"]), (found["items"], [months, "currency"])):
        parts = [amounts for _, amounts in paid.groupby(groups)["amount"]]
        assert [item["net_minor"] for item in items] == [amounts.sum() for amounts in parts]
        assert [item["gross_minor"] for item in items] == [amounts[amounts >= 0].sum() for amounts in parts]
        assert [item["refunds_minor"] for item in items] == [-amounts[amounts < 0].sum() for amounts in parts]
        assert [item["orders"] for item in items] == [(amounts >= 0).sum() for amounts in parts]
    if not filters:
        # Analytics, which adds up differences, has come to the same.
        counted = get(
            world.analytics, "/v1/aggregates", {"from": "2026-03-01", "to": "2026-11-22", "limit": "1000"}
        )
        for item in found["totals"]:
            sums = [bucket["amount"].get(item["currency"], 0) for bucket in counted.json()["items"]]
            assert sum(sums) == item["net_minor"]


@each_money
def test_repeat_and_rfm(world: World, filters: dict[str, str]) -> None:
    table = chosen(world.table, filters)
    table = table[(table["currency"] == "EUR") | (table["currency"].isna() & (filters.get("kind") is not None))]
    orders = table[table["amount"] >= 0]
    counts = orders.groupby("consumer").size()
    found = ask(world.relations, "repeat", currency="EUR", **filters)
    assert (found["consumers"], found["repeaters"]) == (len(counts), (counts > 1).sum())
    gaps = orders.groupby("consumer")["time"].diff().dropna() / pd.Timedelta(days=1)
    assert found["median_days"] == pytest.approx(gaps.median())
    listed = ask(world.relations, "rfm-consumers", currency="EUR", from_="2020-01-01", limit=1000, **filters)
    last = (TODAY - orders.groupby("consumer")["day"].max()).dt.days
    money = table[table["consumer"].isin(counts.index)].groupby("consumer")["amount"].sum()
    assert {item["consumer_id"]: item["recency_days"] for item in listed["items"]} == last.to_dict()
    assert {item["consumer_id"]: item["orders"] for item in listed["items"]} == counts.to_dict()
    assert {item["consumer_id"]: item["money_minor"] for item in listed["items"]} == money.to_dict()
    classes = ask(world.relations, "rfm", currency="EUR", from_="2020-01-01", **filters)
    sizes = pd.Series([item["segment"] for item in listed["items"]]).value_counts()
    assert {item["segment"]: item["consumers"] for item in classes["items"]} == sizes.to_dict()


def test_lifetime(world: World) -> None:
    found = ask(world.relations, "lifetime", kind="purchase", currency="EUR", limit=1000)
    bought = world.table[(world.table["kind"] == "purchase") & (world.table["currency"] == "EUR")]
    days = bought.groupby("consumer")["day"].nunique()
    assert {item["consumer_id"]: item["orders"] for item in found["items"]} == days.to_dict()
    assert (found["consumers"], found["repeaters"]) == (len(days), (days > 1).sum())
    last = bought.groupby("consumer")["day"].max().dt.strftime("%Y-%m-%d")
    assert {item["consumer_id"]: item["last"] for item in found["items"]} == last.to_dict()


@pytest.mark.parametrize("level", ["country", "region", "city"])
def test_geography(world: World, level: str) -> None:
    names = ["country", "region", "city"][: ["country", "region", "city"].index(level) + 1]
    table = world.table.copy()
    table["place"] = [tuple(PLACES.get(id, {}).get(name) for name in names) for id in table["consumer"]]
    found = ask(world.relations, "geography", level=level)
    assert {tuple(item[name] for name in names): item["relations"] for item in found["items"]} == table.groupby(
        "place"
    ).size().to_dict()
    assert {tuple(item[name] for name in names): item["consumers"] for item in found["items"]} == table.groupby(
        "place"
    )["consumer"].nunique().to_dict()
