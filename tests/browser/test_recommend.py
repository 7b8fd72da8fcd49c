"""The page of recommendations, against what the service answers: who comes next, why, who is similar."""

from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.site import Site, assert_contrast, rows
from tests.support.plain_http import request


def answered(site: Site, path: str) -> dict[str, Any]:
    found: dict[str, Any] = request("GET", f"http://127.0.0.1:{site.intelligence.port}{path}").json()
    return found


@pytest.mark.parametrize(("side", "id", "far"), [("consumer", "c01", "provider"), ("provider", "p4", "consumer")])
def test_who_comes_next_and_why(page: Page, site: Site, side: str, id: str, far: str) -> None:
    page.goto(site.page("recommend", **{side: id}))
    expect(page.locator("#because .via")).to_be_visible()
    next_ones = answered(site, f"/v1/recommendations?{side}_id={id}&limit=12")
    expected = next_ones["items"]
    shown = rows(page.locator("#next"))
    assert [row[0] for row in shown] == [item[f"{far}_id"] for item in expected]
    assert [float(row[1]) for row in shown] == pytest.approx([item["score"] for item in expected])
    page.locator("#next tbody button").nth(1).click()
    expect(page.locator("#because h3 data")).to_have_attribute("value", str(expected[1][f"{far}_id"]))
    terms = rows(page.locator("#because .terms"))
    assert [row[0] for row in terms] == ["walk"]
    points = [float(row[3]) for row in rows(page.locator("#because .via"))]
    assert sum(points) == pytest.approx(expected[1]["score"]) == float(terms[0][1])
    similar = answered(site, f"/v1/similar?{side}_id={id}&limit=12")
    alike = similar["items"]
    assert [row[0] for row in rows(page.locator("#similar"))] == [item[f"{side}_id"] for item in alike]
    for part, found in (("next", next_ones), ("similar", similar)):
        shown_of = f"The first 12 of {found['candidates']} " if found["candidates"] > 12 else ""
        expect(page.locator(f"#{part} caption")).to_contain_text(shown_of)
    assert_contrast(page)


def test_without_an_id_it_offers_some_and_lists_communities(page: Page, site: Site) -> None:
    page.goto(site.page("recommend"))
    expect(page.locator("#next table")).to_be_visible()
    expect(page.locator("#communities table")).to_be_visible()
    found = answered(site, "/v1/communities?limit=200")["items"]
    expect(page.locator("#communities caption")).to_contain_text(f"{len(found)} communit")
    assert [row[0] for row in rows(page.locator("#communities"))] == [item["id"] for item in found]
    page.locator("#next tbody button").first.click()
    expect(page.locator("#because .via")).to_be_visible()


def test_who_is_unknown_gets_the_reason_and_the_popular_ones(page: Page, site: Site) -> None:
    page.goto(site.page("recommend", consumer="nobody"))
    expect(page.locator("#next .note")).to_contain_text("Nobody with this id has a relationship")
    expect(page.locator("#next")).to_contain_text("most popular")
    assert rows(page.locator("#next"))


def test_popular_providers_with_few_consumers_are_no_zeros(page: Page, site: Site) -> None:
    def few(route: Route) -> None:
        answer = route.fetch()
        found = answer.json()
        found["popular"][-1] |= {"relationships": "few", "score": 0.0}
        route.fulfill(response=answer, json=found)

    page.route("**/v1/recommendations?*", few)
    page.goto(site.page("recommend", consumer="nobody"))
    expect(page.locator("#next")).to_contain_text("most popular")
    expected = answered(site, "/v1/recommendations?consumer_id=nobody&limit=12")["popular"]
    numbers = [row[1] for row in rows(page.locator("#next"))]
    assert numbers == [*(str(item["relationships"]) for item in expected[:-1]), "fewer than 5"]


def test_the_page_is_in_the_menu_and_lists_whom_to_call(page: Page, site: Site) -> None:
    page.goto(site.page("overview"))
    page.get_by_role("link", name="Recommendations").click()
    page.get_by_role("button", name="Provider", exact=True).click()
    page.locator("#whom").fill("p4")
    page.keyboard.press("Enter")
    expect(page.locator("#calls table")).to_be_visible()
    expected = answered(site, "/v1/next?provider_id=p4&limit=12")["items"]
    assert [row[0] for row in rows(page.locator("#calls"))] == [item["consumer_id"] for item in expected]
    page.locator("#currency").fill("eur")
    page.keyboard.press("Enter")
    expect(page.locator("#calls thead")).not_to_contain_text("weights")
    expect(page.locator("#calls thead")).to_contain_text("Value, EUR")
    in_money = answered(site, "/v1/next?provider_id=p4&limit=12&currency=EUR")["items"]
    assert [float(row[2]) for row in rows(page.locator("#calls"))] == pytest.approx(
        [item["expected_value_minor"] for item in in_money]
    )
    # For a consumer there is nobody to call; and nothing is wider than a narrow window.
    page.set_viewport_size({"width": 380, "height": 800})
    page.goto(site.page("recommend", consumer="c01"))
    expect(page.locator("#because .via")).to_be_visible()
    expect(page.locator("#calls")).to_be_hidden()
    wider = """() => [...document.querySelectorAll('html, .panel')]
        .filter((part) => part.scrollWidth > part.clientWidth).map((part) => part.id || part.tagName)"""
    assert page.evaluate(wider) == []
