"""The map: bubbles where consumers and providers are, with the numbers of the raw events."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.site import Site, rows
from tests.support.measures_world import PLACES, left


def test_places_of_consumers(page: Page, site: Site) -> None:
    page.goto(site.page("map"))
    page.locator("#map button[data-value=city]").click()
    expect(page.locator("#places")).to_contain_text("Nairobi")
    table = left(site.world.events)
    table = table[(table["day"] >= "2026-08-24") & (table["day"] <= "2026-11-21")]
    names = {
        consumer: ", ".join(place[part] for part in ("city", "region", "country") if part in place)
        for consumer, place in PLACES.items()
    }
    where = table["consumer"].map(lambda consumer: names.get(consumer, "unknown"))
    amounts = table.groupby([where, "currency"])["amount"].sum()
    expected = {
        place: [
            facts["consumer"].nunique(),
            len(facts),
            *(int(amounts.get((place, c), 0)) for c in ("EUR", "USD")),
        ]
        for place, facts in table.groupby(where)
    }
    assert {row[0]: [int(cell) for cell in row[1:]] for row in rows(page.locator("#places"))} == expected
    bubbles = {
        (bubble.get_attribute("aria-label") or "").split(":")[0]: [
            float(bubble.get_attribute(name) or 0) for name in ("cx", "cy")
        ]
        for bubble in page.locator("#map .bubble").all()
    }
    placed = {names[c]: p for c, p in PLACES.items() if "lat" in p and c in set(table["consumer"])}
    assert placed
    assert bubbles == {name: pytest.approx([180 + p["lon"], 90 - p["lat"]]) for name, p in placed.items()}
    expect(page.locator("#map-note")).to_contain_text("Without coordinates")


def test_the_world_and_the_places_of_providers(page: Page, site: Site) -> None:
    page.goto(site.page("map"))
    page.locator("#map button[data-value=provider]").click()
    expect(page.locator("#places tbody tr")).to_have_count(1)
    expect(page.locator("#map .bubble")).to_have_count(1)
    page.locator("#map button[data-value=world]").click()
    view = [float(part) for part in (page.locator("#map svg").get_attribute("viewBox") or "").split()]
    assert view[2] >= 360
    assert len(page.locator("#map .land").get_attribute("d") or "") > 50_000
