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


#: The names of a drawing that cover one another, or its edge, in pixels.
COVERED = """svg => {
  const all = [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
  const edge = svg.getBoundingClientRect(), found = [];
  for (const [at, [name, box]] of all.entries()) {
    if (box.left < edge.left || box.right > edge.right || box.top < edge.top || box.bottom > edge.bottom)
      found.push(name);
    for (const [other, there] of all.slice(at + 1))
      if (box.left < there.right - 2 && there.left < box.right - 2 && box.top < there.bottom - 2
          && there.top < box.bottom - 2) found.push(`${name} and ${other}`);
  }
  return found;
}"""


@pytest.mark.parametrize("width", [380, 1280])
def test_bubbles_and_ties_bear_names_that_cover_nothing(page: Page, site: Site, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(site.page("map"))
    expect(page.locator("#places")).to_contain_text("Nairobi")
    assert set(page.locator("#map svg .place").all_text_contents()) == {"Lyon", "Nairobi"}
    assert page.locator("#map svg").evaluate(COVERED) == []
    assert page.locator("#map svg .place").first.evaluate("one => one.getBoundingClientRect().height") > 8
    page.locator("#map button[data-value=world]").click()
    assert page.locator("#map svg").evaluate(COVERED) == []
    page.goto(site.page("relationships", provider="p4"))
    expect(page.locator("#why-events table")).to_be_visible()
    expect(page.locator("#graph .node:not(.centre) text")).to_have_count(16)
    assert page.locator("#graph .graph svg").evaluate(COVERED) == []
