"""Every number of the overview is the one that pandas computes from the raw events; a new event moves the page."""

import math
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.site import Site, Watched, rows
from tests.support.builders import event
from tests.support.measures_world import CAFES, NOW, left, moving

FIRST, END = pd.Timestamp("2026-08-24"), pd.Timestamp("2026-11-22")
DAYS = pd.date_range(FIRST, END, inclusive="left")


def period(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["day"] >= FIRST) & (table["day"] < END)]


def by_day(table: pd.DataFrame) -> list[list[float | str]]:
    """Day, relations, consumers, ratings, mean rating, EUR, USD."""
    found: list[list[float | str]] = []
    for day in DAYS:
        facts = table[table["day"] == day]
        amounts = [int(facts[facts["currency"] == currency]["amount"].sum()) for currency in ("EUR", "USD")]
        mean = facts["rating"].mean()
        counts = [len(facts), facts["consumer"].nunique(), facts["rating"].count()]
        found.append([day.date().isoformat(), *counts, "" if pd.isna(mean) else mean, *amounts])
    return found


def numbers(found: list[list[str]], columns: int | None = None) -> list[list[float | str]]:
    """The cells as numbers, where they are; the first stays a text."""

    def number(text: str) -> float | str:
        try:
            return float(text)
        except ValueError:
            return text

    return [[row[0], *map(number, row[1:columns])] for row in found]


def opened(page: Page, site: Site, **more: str) -> None:
    page.goto(site.page(**more))
    expect(page.locator("#live")).to_have_text("Live")
    for part in ("#top-providers", "#ratings", "#rising", "#cohorts", "#rfm"):
        expect(page.locator(f"{part} table, {part} .note, {part} .failed").first).to_be_visible()
    expect(page.locator("#activity-data table")).to_have_count(1)


def test_the_figures_and_days(page: Page, site: Site) -> None:
    opened(page, site)
    table = period(left(site.world.events))
    tile = {
        name: page.locator(f"#tile-{name} data").get_attribute("value")
        for name in ("count", "amount-EUR", "amount-USD", "rating", "consumers")
    }
    money = table.groupby("currency")["amount"].sum()
    last = table[table["day"] == table["day"].max()]
    assert tile["count"] == str(len(table))
    assert tile["amount-EUR"] == str(int(money["EUR"]))
    assert tile["amount-USD"] == str(int(money["USD"]))
    assert float(tile["rating"] or 0) == pytest.approx(table["rating"].mean())
    assert tile["consumers"] == str(last["consumer"].nunique())
    assert numbers(rows(page.locator("#series-data"))) == [pytest.approx(row, abs=1e-9) for row in by_day(table)]


def test_the_line_is_drawn_through_the_numbers(page: Page, site: Site) -> None:
    opened(page, site)
    for measure, column in (("count", 1), ("consumers", 2), ("amount", 5)):
        page.locator(f"#series button[data-value={measure}]").click()
        drawn = page.locator("#series path.s0").get_attribute("d") or ""
        points = [tuple(map(float, point.split(","))) for point in drawn.replace("M", "L").split("L")[1:]]
        assert len(points) == len(DAYS)
        # Height above the lowest tick, as a share of the highest point: the shape of the numbers.
        values = [float(row[column]) for row in by_day(period(left(site.world.events)))]
        zero, floor, roof = (
            float(page.locator(f"#series .grid{which}").get_attribute("y1") or 0)
            for which in (".zero", ">> nth=0", ">> nth=-1")
        )
        assert (min(values) < 0) == (zero < floor)
        assert all(roof - 0.1 <= y <= floor + 0.1 for _, y in points), "refunds are drawn, too"
        top = max(range(len(values)), key=values.__getitem__)
        scale = values[top] / (zero - points[top][1])
        assert [(zero - y) * scale for _, y in points] == pytest.approx(values, abs=max(values) / 200)


def test_a_kind_and_a_category(page: Page, site: Site) -> None:
    opened(page, site, kind="purchase", category="café")
    table = period(left(site.world.events))
    table = table[(table["kind"] == "purchase") & table["provider"].isin(CAFES)]
    assert page.locator("#tile-count data").get_attribute("value") == str(len(table))
    shown = rows(page.locator("#series-data"))
    assert [[row[0], row[1], row[5]] for row in shown] == [
        [d, str(n), str(eur)] for d, n, _, _, _, eur, _ in by_day(table)
    ]
    assert {row[2] for row in shown} == {"–"}, "distinct consumers are not known by kind"
    ranked = (
        table.groupby("provider")
        .size()
        .reset_index(name="n")
        .sort_values(["n", "provider"], ascending=[False, True])
    )
    assert [(p, int(n)) for p, n, *_ in rows(page.locator("#top-providers"))] == list(
        ranked.itertuples(index=False, name=None)
    )
    daily = [table[table["day"] == day]["consumer"].nunique() for day in DAYS]
    assert [int(row[1]) for row in rows(page.locator("#activity-data"))] == daily


def test_active_consumers(page: Page, site: Site) -> None:
    opened(page, site)
    everything = left(site.world.events)

    def within(day: pd.Timestamp, days: int) -> int:
        facts = everything[(everything["day"] > day - pd.Timedelta(days=days)) & (everything["day"] <= day)]
        return int(facts["consumer"].nunique())

    expected = [[d.date().isoformat(), within(d, 1), within(d, 7), within(d, 30)] for d in DAYS]
    assert numbers(rows(page.locator("#activity-data")), 4) == expected


def test_lists(page: Page, site: Site) -> None:
    opened(page, site)
    table, everything = period(left(site.world.events)), left(site.world.events)
    counts = table.groupby("provider").size()
    assert {row[0]: int(row[1]) for row in rows(page.locator("#top-providers"))} == counts.to_dict()
    rated = table.dropna(subset=["rating"]).groupby("provider")["rating"]
    overall = table["rating"].mean()
    bayes = (rated.sum() + 10 * overall) / (rated.count() + 10)
    shown = rows(page.locator("#ratings"))
    assert [row[0] for row in shown] == bayes.sort_values(ascending=False).index.tolist()
    assert [float(row[1]) for row in shown] == pytest.approx(bayes.sort_values(ascending=False).tolist())
    assert {row[0]: int(row[3]) for row in shown} == rated.count().to_dict()
    # Equal spans: the data begins long before, so the whole period is compared with as many days.
    assert everything["day"].min() < FIRST - (END - FIRST)
    expected = moving(everything, str(FIRST.date()), str(END.date()), (END - FIRST).days)
    shown = rows(page.locator("#rising"))
    assert [row[0] for row in shown] == expected["provider_id"].tolist()
    assert [[int(cell) for cell in row[1:3]] for row in shown] == expected[
        ["count", "baseline"]
    ].to_numpy().tolist()
    assert [float(row[3]) for row in shown] == pytest.approx(expected["ratio"].tolist())
    ratios: Any = page.locator("#rising tbody td:last-child").all_inner_texts()
    assert [float(text.removeprefix("× ")) for text in ratios] == pytest.approx(
        expected["ratio"].tolist(), abs=0.00501
    )


def test_what_falls_is_not_among_the_rising(page: Page, site: Site) -> None:
    ids: list[str] = []

    def answers(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        for item, ratio in zip(found["items"], (0.9, 1, None), strict=False):
            item["ratio"] = ratio
            ids.append(item["provider_id"])
        route.fulfill(response=answer, json=found)

    page.route("**/v1/measures/rising*", answers)
    opened(page, site)
    shown = rows(page.locator("#rising"))
    assert shown[0][0] == ids[2]
    assert shown[0][3] == "new"
    assert not {ids[0], ids[1]} & {row[0] for row in shown}
    expect(page.locator("#rising caption")).to_contain_text(f"{len(shown)} providers")


def test_retention(page: Page, site: Site) -> None:
    page.goto(site.page().replace("from=2026-08-24", "from=2026-05-01"))
    expect(page.locator("#cohorts table")).to_be_visible()
    table = left(site.world.events)
    month = table["day"].dt.year * 12 + table["day"].dt.month
    first = month.groupby(table["consumer"]).transform("min")
    last, expected = NOW.year * 12 + NOW.month, []
    for cohort in sorted(first[first >= 2026 * 12 + 5].unique()):
        those = table[first == cohort]
        size = those["consumer"].nunique()
        active = [those[month[those.index] == m]["consumer"].nunique() for m in range(cohort, last + 1)]
        year, number = divmod(cohort - 1, 12)
        expected.append([f"{year}-{number + 1:02}-01", size, *active])
    shown = [[row[0], *(int(cell) for cell in row[1:] if cell)] for row in rows(page.locator("#cohorts"))[:-1]]
    assert len(expected) > 1
    assert shown == expected
    percents: Any = page.locator("#cohorts tbody tr").first.locator("td").all_inner_texts()[1:]
    assert percents == [f"{round(100 * n / expected[0][1])}%" for n in expected[0][2:]]


def quintile(values: "pd.Series[int]") -> "pd.Series[int]":
    """The score of each value, 1 to 5, by its middle rank among all."""
    return 1 + (5 * (values.rank(method="average") - 0.5) // len(values)).astype(int)


def frequency(orders: "pd.Series[int]") -> "pd.Series[int]":
    """1 for one order; those with more by quartile, 2 to 5."""
    several = orders[orders > 1]
    places = (several.rank(method="average") - 0.5) / len(several)
    return (1 + (4 * places.reindex(orders.index).fillna(0)).apply(math.ceil)).astype(int)


def test_kinds_of_customers(page: Page, site: Site) -> None:
    opened(page, site)
    table = period(left(site.world.events))
    euro = table[table["currency"] == "EUR"]
    orders = euro[euro["amount"] >= 0]
    grid = rows(page.locator("#rfm"))
    assert [row[0] for row in grid] == ["5", "4", "3", "2", "1"]
    assert sum(int(cell) for row in grid for cell in row[1:]) == orders["consumer"].nunique()
    recency = -(END - pd.Timedelta(days=1) - orders.groupby("consumer")["day"].max()).dt.days
    cells = pd.crosstab(quintile(recency), frequency(orders.groupby("consumer").size())).reindex(
        index=range(5, 0, -1), columns=range(1, 6), fill_value=0
    )
    assert [[int(cell) for cell in row[1:]] for row in grid] == cells.to_numpy().tolist()
    segments = rows(page.locator("#segments"))
    assert sum(int(row[1]) for row in segments) == orders["consumer"].nunique()
    buyers = euro[euro["consumer"].isin(orders["consumer"])]
    assert sum(int(row[5]) for row in segments) == buyers["amount"].sum()


def test_a_new_event_moves_the_page(page: Page, site: Site) -> None:
    opened(page, site)
    count, money = (
        int(page.locator(f"#tile-{name} data").get_attribute("value") or 0) for name in ("count", "amount-EUR")
    )
    ranking = {row[0]: int(row[1]) for row in rows(page.locator("#top-providers"))}
    data = {
        "relation_id": "new",
        "consumer_id": "c99",
        "provider_id": "p3",
        "kind": "purchase",
        "amount": 777,
        "currency": "EUR",
    }
    site.add(event("relation.recorded", "new-1", "2026-11-21T11:00:00Z", data))
    expect(page.locator("#tile-count data")).to_have_attribute("value", str(count + 1))
    expect(page.locator("#tile-amount-EUR data")).to_have_attribute("value", str(money + 777))
    last = numbers(rows(page.locator("#series-data")))[-1]
    assert last == by_day(period(left(site.world.events)))[-1]
    provider = page.locator("#top-providers tr", has=page.get_by_role("link", name="p3", exact=True)).locator(
        "td data"
    )
    expect(provider).to_have_attribute("value", str(ranking["p3"] + 1))
    site.add(
        event("relation.retracted", "new-2", "2026-11-21T11:30:00Z", {"relation_id": "new", "consumer_id": "c99"})
    )
    expect(page.locator("#tile-count data")).to_have_attribute("value", str(count))
    expect(page.locator("#tile-amount-EUR data")).to_have_attribute("value", str(money))
    assert numbers(rows(page.locator("#series-data"))) == [
        pytest.approx(row, abs=1e-9) for row in by_day(period(left(site.world.events)))
    ]


def test_lists_follow_what_happened_while_the_stream_was_cut(watched: Watched, site: Site) -> None:
    watched.failures_expected = True
    page = watched.page
    opened(page, site)
    count = page.locator("#tile-count data").get_attribute("value") or "0"
    ranking = {row[0]: int(row[1]) for row in rows(page.locator("#top-providers"))}
    place = {"relation_id": "away", "consumer_id": "c98"}
    site.analytics.stop()
    expect(page.locator("#live")).to_have_text("Not live, trying again …")
    site.add(
        event(
            "relation.recorded", "away-1", "2026-11-21T11:00:00Z", {**place, "provider_id": "p3", "kind": "view"}
        )
    )
    site.analytics.start()
    provider = page.locator("#top-providers tr", has=page.get_by_role("link", name="p3", exact=True)).locator(
        "td data"
    )
    expect(provider).to_have_attribute("value", str(ranking["p3"] + 1))
    expect(page.locator("#tile-count data")).to_have_attribute("value", str(int(count) + 1))
    site.add(event("relation.retracted", "away-2", "2026-11-21T11:30:00Z", place))
    expect(page.locator("#tile-count data")).to_have_attribute("value", count)


def test_nothing_jumps_and_nothing_is_asked_elsewhere(watched: Watched, site: Site) -> None:
    for width in (1280, 380):
        watched.page.set_viewport_size({"width": width, "height": 900})
        opened(watched.page, site)
        watched.page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        assert sum(shift[0] for shift in watched.shifts) < 0.01, watched.shifts
        assert watched.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    hosts = {url.split("/")[2] for url in watched.asked}
    assert hosts == {f"127.0.0.1:{server.port}" for server in (site.analytics, site.relations)}
