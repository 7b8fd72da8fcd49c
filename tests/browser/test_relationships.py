"""The graph of the strongest ties, and why one of them is strong, against the raw events."""

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from services.relations.strength import month_of
from tests.browser.site import Site, rows
from tests.support.builders import STRENGTH
from tests.support.measures_world import NOW, left


def weights(table: pd.DataFrame) -> "pd.Series[float]":
    """What each fact weighs now: its kind's weight, halved every six months."""

    def weight(fact: "pd.Series[float]") -> float:
        months = (NOW.year - fact["time"].year) * 12 + NOW.month - fact["time"].month
        return float(STRENGTH.weights.get(fact["kind"], 1.0) * 0.5 ** (months / STRENGTH.half_life))

    assert month_of(NOW) == "2026-11"
    return table.apply(weight, axis=1)


def strengths(table: pd.DataFrame) -> "pd.Series[float]":
    return weights(table).groupby([table["consumer"], table["provider"]]).sum()


def test_the_ties_of_a_provider_and_why(page: Page, site: Site) -> None:
    table = left(site.world.events)
    page.goto(site.page("relationships", provider="p4"))
    expect(page.locator("#why-events table")).to_be_visible()
    expected = strengths(table[table["provider"] == "p4"]).droplevel(1).sort_values(ascending=False)
    shown = rows(page.locator("#ties"))
    assert [float(row[1]) for row in shown] == pytest.approx(expected.tolist()[: len(shown)])
    counts = table[table["provider"] == "p4"].groupby("consumer").size()
    for consumer, strength, count, _ in shown:
        assert float(strength) == pytest.approx(expected[consumer])
        assert int(count) == counts[consumer]
    edges = page.locator("#graph .edge")
    assert [edge.get_attribute("data-id") for edge in edges.all()] == [row[0] for row in shown]
    widths = [float(line.get_attribute("stroke-width") or 0) for line in page.locator("#graph .edge .seen").all()]
    assert widths == sorted(widths, reverse=True)

    # An edge, by the keyboard.
    edges.nth(2).focus()
    page.keyboard.press("Enter")
    consumer = shown[2][0]
    expect(page.locator("#why h3")).to_have_text(f"{consumer} and p4")
    assert f"with={consumer}" in page.url
    pair = table[(table["consumer"] == consumer) & (table["provider"] == "p4")]
    by_kind = weights(pair).groupby(pair["kind"]).sum()
    kinds = {row[0]: row[1:] for row in rows(page.locator("#why-kinds"))}
    assert {kind: int(cells[0]) for kind, cells in kinds.items()} == pair.groupby("kind").size().to_dict()
    for kind, (_, strength, share) in kinds.items():
        assert float(strength) == pytest.approx(by_kind[kind])
        assert float(share) == pytest.approx(by_kind[kind] / by_kind.sum())
    evidence = rows(page.locator("#why-events"))
    heaviest = weights(pair).sort_values(ascending=False).tolist()[: len(evidence)]
    assert [float(row[3]) for row in evidence] == pytest.approx(heaviest)
    known = {f"{one.source} {one.id}" for one in site.world.events}
    assert all(row[4] in known for row in evidence), "each names the event that said so"

    # A link to it says the same.
    page.goto(page.url)
    expect(page.locator("#why h3")).to_have_text(f"{consumer} and p4")


def test_from_node_to_node(page: Page, site: Site) -> None:
    page.goto(site.page("relationships", consumer="c01"))
    node = page.locator("#graph .node.provider").first
    provider = node.get_attribute("data-id")
    node.click()
    expect(page.locator("#graph-title")).to_have_text(f"Strongest ties of provider {provider}")
    page.go_back()
    expect(page.locator("#graph-title")).to_have_text("Strongest ties of consumer c01")
    page.locator("#of").fill("nobody")
    page.keyboard.press("Enter")
    expect(page.locator("#graph .note").first).to_contain_text("Nothing is known")


def test_without_an_id_it_begins_with_the_top_provider(page: Page, site: Site) -> None:
    page.goto(site.page("relationships"))
    expect(page.locator("#why-events table")).to_be_visible()
    table = left(site.world.events)
    # The page has no period: its first list is of all time.
    table = table[table["day"] <= "2026-11-21"]
    counts = table.groupby("provider").size()
    assert {row[0]: int(row[1]) for row in rows(page.locator("#start"))} == counts.to_dict()
    expect(page.locator("#of")).to_have_value(min(counts[counts == counts.max()].index))
