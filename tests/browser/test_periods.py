"""Periods: weeks and months, times that are not over, all time, and periods in which nothing happened."""

from datetime import timedelta

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from tests.browser.site import Site, rows
from tests.support.measures_world import NOW, left

TODAY = NOW.date().isoformat()


@pytest.fixture(autouse=True)
def today(page: Page) -> None:
    """For the page, too, today is the last day of the market; its timers run on."""
    page.clock.set_fixed_time(NOW)


def between(site: Site, first: str, last: str, tenant: str = "default") -> pd.DataFrame:
    table = left(site.world.events, tenant)
    return table[(table["day"] >= first) & (table["day"] <= last)]


def buckets(table: pd.DataFrame, first: str, last: str, unit: str) -> list[list[float | str]]:
    """Name, relations, consumers a day, ratings, mean rating, EUR and USD of each week or month of the period."""
    days = pd.Series(pd.date_range(first, last))
    found: list[list[float | str]] = []
    for _, those in days.groupby(days.dt.to_period("W-SUN" if unit == "week" else "M")):
        facts = table[table["day"].isin(those)]
        consumers = facts.groupby("day")["consumer"].nunique().reindex(those, fill_value=0).mean()
        ends = [those.iloc[at].date().isoformat() for at in (0, -1)]
        mean = facts["rating"].mean()
        money = [int(facts[facts["currency"] == currency]["amount"].sum()) for currency in ("EUR", "USD")]
        name = f"{ends[0]} – {ends[1]}" if unit == "week" else ends[0][:7]
        counts = [len(facts), consumers, int(facts["rating"].count())]
        found.append([name, *counts, "" if pd.isna(mean) else mean, *money])
    return found


@pytest.mark.parametrize(
    ("first", "unit", "title"),
    [("2026-05-01", "week", "Week by week"), ("2024-02-10", "month", "Month by month")],
)
def test_long_periods_are_drawn_by_week_and_month(
    page: Page, site: Site, first: str, unit: str, title: str
) -> None:
    page.goto(f"{site.url}/dashboard/?view=overview&from={first}&to={TODAY}")
    expect(page.locator("#series-title")).to_have_text(title)
    shown = rows(page.locator("#series-data"))
    expected = buckets(between(site, first, TODAY), first, TODAY, unit)
    assert [row[0] for row in shown] == [row[0] for row in expected]
    for row, wanted in zip(shown, expected, strict=True):
        numbers = [float(cell) if cell else "" for cell in row[1:]]
        assert numbers == [pytest.approx(one, abs=1e-9) if one != "" else "" for one in wanted[1:]], row[0]
    names = page.locator("#series-data tbody th").evaluate_all("all => all.map(one => one.textContent)")
    # Both ends are cut: the first by the period, the last by today.
    assert [name for name in names if "(" in name] == [
        f"{expected[0][0]} (part of the {unit})",
        f"{expected[-1][0]} (so far)",
    ]
    expect(page.locator("#series .chart circle.open.u0")).to_have_count(2)
    drawn = page.locator("#series path.s0").get_attribute("d") or ""
    assert drawn.count("L") == len(expected) - 3, "whole ones are joined by a line"
    expect(page.locator("#activity .body")).to_contain_text(f"means of the {unit}'s days")


def test_the_running_day_is_drawn_as_unfinished(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/dashboard/?view=overview&period=7")
    expect(page.locator("#activity-data table")).to_have_count(1)
    for part, lines in (("#series", 1), ("#activity", 3)):
        expect(page.locator(f"{part} .chart circle.open")).to_have_count(lines)
        dashes = page.locator(f"{part} .chart path.unfinished").evaluate_all(
            "all => all.map(one => getComputedStyle(one).strokeDasharray)"
        )
        assert len(dashes) == lines
        assert "none" not in dashes
        expect(page.locator(f"{part} .legend")).to_contain_text("not complete yet")
    expect(page.locator("#series-data tbody th").last).to_have_text(f"{TODAY} (so far)")
    page.locator("#series svg[tabindex]").focus()
    page.keyboard.press("End")
    expect(page.locator("#series .readout")).to_contain_text(f"{TODAY} (so far): relations")

    # A period of days that are over has none of it.
    page.goto(f"{site.url}/dashboard/?view=overview&from=2026-11-10&to=2026-11-16")
    expect(page.locator("#activity-data table")).to_have_count(1)
    expect(page.locator("#series path.s0, #activity path.s0")).to_have_count(2)
    expect(page.locator("path.unfinished, circle.open")).to_have_count(0)
    expect(page.locator("main")).not_to_contain_text("not complete yet")


@pytest.mark.parametrize("tenant", ["default", "acme"])
def test_all_time_is_from_the_first_day_of_the_data_until_today(page: Page, site: Site, tenant: str) -> None:
    table = left(site.world.events, tenant)
    first, count = table["day"].min().date().isoformat(), str(len(table))
    address = "" if tenant == "default" else f"&tenant={tenant}"
    page.goto(f"{site.url}/dashboard/?view=overview{address}")
    expect(page.locator("#tile-count data")).to_be_visible()
    page.get_by_label("Period").select_option("all")
    expect(page.locator("#tile-count data")).to_have_attribute("value", count)
    expect(page.get_by_label("From", exact=True)).to_have_value(first)
    expect(page.get_by_label("To", exact=True)).to_have_value(TODAY)
    assert "period=all" in page.url
    # So it is on the map, by the same link and after a reload.
    page.locator("nav a", has_text="Map").click()
    expect(page.locator("#places table")).to_be_visible()
    page.reload()
    expect(page.locator("#places table")).to_be_visible()
    assert sum(int(row[2]) for row in rows(page.locator("#places"))) == len(table)
    expect(page.get_by_label("From", exact=True)).to_have_value(first)
    page.go_back()
    expect(page.locator("#tile-count data")).to_have_attribute("value", count)
    page.go_back()
    expect(page.get_by_label("Period")).to_have_value("30")


def test_all_time_of_old_data_ends_with_it(page: Page, site: Site) -> None:
    """A period has ten years at most. Counted from today they would be empty."""
    page.clock.set_fixed_time(NOW + timedelta(days=12 * 366))
    table = left(site.world.events, "default")
    first, last = (day.date().isoformat() for day in (table["day"].min(), table["day"].max()))
    page.goto(f"{site.url}/dashboard/?view=overview")
    page.locator("#nothing").get_by_role("button", name="All time").click()
    expect(page.locator("#tile-count data")).to_have_attribute("value", str(len(table)))
    expect(page.get_by_label("From", exact=True)).to_have_value(first)
    expect(page.get_by_label("To", exact=True)).to_have_value(last)
    expect(page.locator("#cut")).to_be_hidden()


def test_all_time_says_where_it_is_not_all(page: Page, site: Site) -> None:
    table = left(site.world.events, "default")
    first = table["day"].min().date()
    later = NOW + timedelta(days=3_600)
    page.clock.set_fixed_time(later)
    from_ = (later - timedelta(days=3_659)).date()
    assert first < from_ <= table["day"].max().date()
    page.goto(f"{site.url}/dashboard/?view=overview&period=all")
    expect(page.locator("#cut")).to_contain_text(f"begins on {first}. Shown is what is from {from_} on")
    shown = table[table["day"] >= from_.isoformat()]
    expect(page.locator("#tile-count data")).to_have_attribute("value", str(len(shown)))


def test_all_time_before_there_is_anything(page: Page, site: Site) -> None:
    page.goto(f"{site.url}/dashboard/?view=overview&period=all&tenant=nobody")
    expect(page.locator("#nothing")).to_contain_text("Nothing is known of the tenant nobody yet.")
    expect(page.locator("#nothing")).to_contain_text("import a file (kith import)")
    expect(page.locator("#nothing button")).to_have_count(0)
    expect(page.locator("#series")).to_be_hidden()
    page.goto(f"{site.url}/dashboard/?view=relationships&tenant=nobody")
    expect(page.locator("#ties")).to_contain_text("import a file (kith import)")


@pytest.mark.parametrize("view", ["overview", "map"])
@pytest.mark.parametrize(
    ("from_", "to", "where", "nearest"),
    [
        ("2019-03-01", "2019-03-31", "ends before the first", "first"),
        ("2027-01-01", "2027-01-31", "begins after the last", "last"),
    ],
)
def test_a_period_without_anything_says_where_the_data_is(
    page: Page, site: Site, view: str, from_: str, to: str, where: str, nearest: str
) -> None:
    table = left(site.world.events)
    first, last = (day.date() for day in (table["day"].min(), table["day"].max()))
    page.goto(f"{site.url}/dashboard/?view={view}&from={from_}&to={to}")
    notice = page.locator("#nothing")
    expect(notice).to_contain_text(f"Relations are known from {first} to {last}; this period {where}.")
    # One notice, and not a page of panels that all say the same.
    expect(page.locator("main > section:visible, main > .figures:visible")).to_have_count(1)
    begin, end = (first, first + timedelta(29)) if nearest == "first" else (last - timedelta(29), last)
    notice.get_by_role("button", name=f"Show {begin} to {end}", exact=True).click()
    expect(page.get_by_label("From", exact=True)).to_have_value(str(begin))
    expect(page.get_by_label("To", exact=True)).to_have_value(str(end))
    expect(notice).to_be_hidden()
    count = len(between(site, str(begin), str(end)))
    if view == "overview":
        expect(page.locator("#tile-count data")).to_have_attribute("value", str(count))
    else:
        expect(page.locator("#places table")).to_be_visible()
        assert sum(int(row[2]) for row in rows(page.locator("#places"))) == count
    page.go_back()
    expect(notice).to_contain_text(where)
    notice.get_by_role("button", name="All time").click()
    expect(page.get_by_label("From", exact=True)).to_have_value(str(first))
    expect(notice).to_be_hidden()


def test_an_empty_day_amid_the_data_and_a_kind_that_never_was(page: Page, site: Site) -> None:
    table = left(site.world.events)
    days = set(table["day"].dt.date)
    first = min(days)
    hole = next(day for at in range(1, 900) if (day := first + timedelta(at)) not in days)
    page.goto(f"{site.url}/dashboard/?view=overview&from={hole}&to={hole}")
    expect(page.locator("#nothing")).to_contain_text("this period lies between them")
    page.locator("#nothing").get_by_role("button", name="Show the latest").click()
    expect(page.get_by_label("To", exact=True)).to_have_value(str(max(days)))
    # A day by itself: its point is in the middle of the line, and its name whole.
    page.get_by_label("From", exact=True).fill(str(max(days)))
    page.keyboard.press("Tab")
    expect(page.locator("#tile-count .note")).to_have_text("on 1 day")
    name = page.locator("#series .chart text").last
    expect(name).to_have_attribute("text-anchor", "middle")
    assert 300 < float(name.get_attribute("x") or 0) < 600
    page.get_by_label("Kind", exact=True).fill("gift_card")
    page.keyboard.press("Enter")
    expect(page.locator("#nothing")).to_contain_text("Relations of kind gift card are not known at any time.")
    page.locator("#nothing").get_by_role("button", name="All kinds and categories").click()
    expect(page.locator("#tile-count data")).to_be_visible()
    expect(page.get_by_label("Kind", exact=True)).to_have_value("")
