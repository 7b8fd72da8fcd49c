"""What the measures refuse on a real MongoDB, how they read it, and the command that shows them."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pymongo.collection import Collection
from typer.testing import CliRunner

from services.analytics.measures import source as analytics_source
from services.analytics.measures.catalogue import MEASURES as ANALYTICS
from services.cli import report
from services.cli.__main__ import app as kith
from services.relations.measures import source as relations_source
from services.relations.measures.catalogue import MEASURES as RELATIONS
from services.relations.measures.source import Measures as RelationsMeasures
from shared.measures.mongo import aggregated, providers_of
from shared.measures.scale import Scale
from shared.runtime.protocols import Document
from tests.conftest import Addresses
from tests.support.analytics_driver import get
from tests.support.measures_world import NOW, World, ask, chosen


@pytest.mark.parametrize("filters", [{}, {"kind": "purchase"}, {"category": "café"}], ids=str)
def test_of_several_currencies_that_of_most_orders_counts_and_is_told(
    world: World, filters: dict[str, str]
) -> None:
    table = chosen(world.table, filters)
    span: dict[str, Any] = {"from_": "2026-03-01", "to": "2026-11-22", **filters}
    paid = table[table["day"].between("2026-03-01", "2026-11-21")].dropna(subset=["amount"])
    orders = paid[paid["amount"] >= 0]
    numbers = orders.groupby("currency").size()
    assert numbers["EUR"] > numbers["USD"]
    for app, name, asked in (
        (world.analytics, "top-providers", {"measure": "amount"}),
        (world.analytics, "concentration", {"measure": "amount"}),
        (world.relations, "rfm", {}),
        (world.relations, "rfm-consumers", {}),
        (world.relations, "lifetime", {}),
    ):
        if name == "lifetime":
            numbers = table[(table["amount"] >= 0) & (table["day"] < "2026-11-22")].groupby("currency").size()
            asked = {"from_": "1970-01-01"}
        found = ask(app, name, **{**span, **asked})
        assert found["currency"] == "EUR"
        assert found["other_currencies"] == [{"currency": "USD", "orders": numbers["USD"]}]
        chosen_one = ask(app, name, **{**span, **asked, "currency": "EUR"})
        assert chosen_one["other_currencies"] == []
        assert {**chosen_one, "other_currencies": found["other_currencies"]} == found
    those = {currency: set(rows["consumer"]) for currency, rows in orders.groupby("currency")}
    if "kind" not in filters:
        found = ask(world.relations, "rfm", **span)
        assert found["left_out"] == len(those["USD"] - those["EUR"])
    sums = paid.groupby("provider")["currency"].agg(set)
    left_out = ask(world.analytics, "top-providers", measure="amount", currency="USD", **span)["left_out"]
    assert left_out == sum("USD" not in each for each in sums)


def test_the_scale_of_ratings_comes_from_the_data_or_the_setting(world: World) -> None:
    for app, name in ((world.analytics, "ratings"), (world.relations, "rating-distribution")):
        # Whatever the filter: the scale is that of the tenant.
        for asked in ({}, {"category": "café"}, {"from_": "2026-11-01"}):
            assert ask(app, name, **asked)["scale"] == {"lowest": 1, "highest": 5, "source": "data"}
        assert ask(app, name, tenant="nobody")["scale"] is None
        assert ask(app, name, highest=9)["scale"] == {"lowest": 1, "highest": 9, "source": "asked"}
    clock = lambda: NOW  # noqa: E731
    found = RelationsMeasures(world.database, str, clock, scales={"default": (0, 10)}).of("default")
    assert found.scale(None, None) == Scale(lowest=0, highest=10, source="setting")


def test_every_answer_states_its_period(world: World) -> None:
    for app, measures in ((world.analytics, ANALYTICS), (world.relations, RELATIONS)):
        for measure in measures:
            period = ask(app, measure.name, from_="2026-10-05", to="2026-11-02")["period"]
            assert period == {"first": "2026-10-05", "last": "2026-11-01", "zone": "UTC"} or (
                "unit" in measure.query.model_fields and period["first"] <= "2026-10-05"
            )
            default = ask(app, measure.name)["period"]
            assert (default["first"] is None) == (measure.query.default_period() == "all time"), measure.name


def test_what_would_read_too_much_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relations_source, "MAX_FACTS", 100)
    answer = get(world.relations, "/v1/measures/repeat")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "from")
    monkeypatch.setattr(analytics_source, "MAX_VISITS", 100)
    answer = get(world.analytics, "/v1/measures/lifecycle")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "to")
    answer = get(world.analytics, "/v1/measures/activity")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "from")
    monkeypatch.setattr("shared.measures.mongo.MAX_PROVIDERS", 3)
    with pytest.raises(ValueError, match="category: has more than 3 providers"):
        providers_of(world.database["providers"], "default", "café")


def test_the_facts_of_consumers_come_from_the_index_in_order(world: World) -> None:
    wanted = {"tenant": "default", "retracted": False, "time": {"$gte": NOW.replace(year=2020), "$lt": NOW}}
    order = [("consumer_id", -1), ("time", 1), ("_id", 1)]
    plan = world.database["relations"].find(wanted).sort(order).explain()["queryPlanner"]["winningPlan"]
    assert "SORT" not in str(plan).replace("'sortPattern'", "")
    assert "IXSCAN" in str(plan)


@pytest.mark.parametrize("much", [-1, 2])
def test_facts_in_no_order_are_read_by_an_index_or_all(
    world: World, monkeypatch: pytest.MonkeyPatch, much: float
) -> None:
    paths = ["rfm?currency=EUR", "rfm?currency=EUR&category=café", "rfm-consumers?kind=purchase&currency=USD"]
    paths += ["geography?level=city", "geography?side=provider&kind=view"]
    answers = [get(world.relations, f"/v1/measures/{path}").json() for path in paths]
    ways = []
    plain = relations_source.Source._way

    def spied(*given: Any) -> Any:
        ways.append(plain(*given))
        return ways[-1]

    monkeypatch.setattr(relations_source.Source, "_way", staticmethod(spied))
    monkeypatch.setattr(relations_source, "_MUCH", much)
    assert [get(world.relations, f"/v1/measures/{path}").json() for path in paths] == answers
    assert ways == [[("$natural", 1)] if much < 0 else None] * len(paths)


def test_rankings_and_visits_are_answered_by_the_index_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[Mapping[str, Any]]] = []

    def spied(collection: Collection[Document], *stages: Mapping[str, Any]) -> Iterator[Document]:
        asked.append(list(stages))
        return aggregated(collection, *stages)

    monkeypatch.setattr(analytics_source, "aggregated", spied)
    measures = (
        "top-providers",
        "top-providers?kind=view",
        "ratings",
        "rising",
        "cohorts",
        "lifecycle",
        "activity",
    )
    for measure in measures:
        assert get(world.analytics, f"/v1/measures/{measure}").status_code == 200
    # How many consumers a day has is in the documents of the total, a few a day.
    wide = [stages for stages in asked if stages[0]["$match"]["by"] != "total"]
    assert len(wide) >= len(measures)
    for stages in wide:
        command = {"aggregate": "aggregates", "pipeline": stages, "cursor": {}}
        plan = str(world.database.command("explain", command, verbosity="queryPlanner"))
        assert "IXSCAN" in plan, stages
        assert "'stage': 'FETCH'" not in plan, stages
        assert "'stage': 'SORT'" not in plan, stages


def test_the_command_says_what_the_routes_say(
    world: World, servers: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KITH_MONGO", servers.mongo)
    monkeypatch.setenv("KITH_DATABASE", world.database.name)
    monkeypatch.setattr(report, "now", lambda: NOW)
    runner = CliRunner()

    def run(*arguments: str) -> str:
        result = runner.invoke(kith, ["report", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        # What the figures are about goes to stderr, beside CSV.
        return result.stdout

    assert json.loads(run("activity", "--json")) == ask(world.analytics, "activity")
    by_kind = ["cohorts", "--kind", "purchase", "--unit", "month"]
    expected = ask(world.relations, "cohorts", kind="purchase", unit="month")
    assert json.loads(run(*by_kind, "--json")) == expected
    rows = list(csv.DictReader(io.StringIO(run(*by_kind, "--csv"))))
    assert [(row["cohort"], int(row["offset"]), int(row["active"])) for row in rows] == [
        (item["cohort"], offset, active)
        for item in expected["items"]
        for offset, active in enumerate(item["active"])
    ]
    assert run("lifetime", "--tenant", "nobody", "--csv").startswith("consumer_id,orders,last,churn_risk,")
    table = run("top-providers", "--from", "2026-10-01", "--limit", "3")
    best = ask(world.analytics, "top-providers", from_="2026-10-01", limit=3)["items"]
    assert "Who are our most important providers?" in table
    assert [line.split()[:2] for line in table.splitlines() if line.strip().startswith("p")][-3:] == [
        [item["provider_id"], str(item["count"])] for item in best
    ]
    refused = runner.invoke(kith, ["report", "activity", "--method", "exact", "--kind", "view"])
    assert refused.exit_code == 2
    assert "--method" in refused.output
    refused = runner.invoke(kith, ["report", "cohorts", "--from", "soon"])
    assert "must be a day such as 2026-11-21" in refused.output
