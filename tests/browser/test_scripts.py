"""Names and ids of every script on the page, and the page of recommendations with names and a learned model."""

import json
import math
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from services.intelligence.evaluation.tenant import read_tenant
from services.intelligence.learning.learn import learn
from services.intelligence.models import Models
from tests.browser.site import Site, rows
from tests.browser.test_recommend import answered
from tests.support.measures_world import NOW

HEBREW, ARABIC = (
    "\u05e7\u05e4\u05d4 \u05dc\u05d5\u05de\u05df",
    "\u0645\u0642\u0647\u0649 \u0627\u0644\u0646\u0648\u0631",
)
#: Where the text of a part begins and ends, of the nodes that hold it.
EXTENT = """(part, wanted) => { const found = [], walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) { const node = walker.currentNode, at = node.textContent.indexOf(wanted);
        if (at < 0) continue;
        const range = document.createRange(); range.setStart(node, at); range.setEnd(node, at + wanted.length);
        const box = range.getBoundingClientRect(); found.push([box.left, box.right]); }
    return found[0] ?? null; }"""


@pytest.fixture(scope="module")
def named(site: Site) -> Iterator[Site]:
    """Some have names, written from right to left."""
    database = site.world.database
    names = {"providers": {"p4": HEBREW, "p3": ARABIC}, "consumers": {"c01": HEBREW, "c02": ARABIC}}
    for collection, of in names.items():
        for id, name in of.items():
            where = {"tenant": "default", f"{collection[:-1]}_id": id}
            change = {"name": name} if collection == "providers" else {"personal": {"name": name}}
            database[collection].update_one(where, {"$set": change})
    site.advise()
    yield site
    for collection in names:
        database[collection].update_many({}, {"$unset": {"name": "", "personal": ""}})


def assert_before(part: Locator, *texts: str) -> None:
    """The texts stand side by side in the order of the page, which is read from left to right."""
    found = [part.evaluate(EXTENT, text) for text in texts]
    assert None not in found, (texts, part.text_content())
    for (_, right), (left, _) in pairwise(found):
        assert right <= left + 1, (texts, found)


def test_a_name_from_right_to_left_leaves_the_order_of_what_is_around_it(page: Page, named: Site) -> None:
    page.goto(named.page("relationships", provider="p4"))
    heading = page.locator("#graph-title")
    expect(heading).to_contain_text(HEBREW)
    assert_before(heading, "Strongest ties", HEBREW, "p4")
    # In the drawing, too, it is a text of its own, and so is what is left of a longer one.
    expect(page.locator("#graph .centre text")).to_have_text(f"\u2068{HEBREW}\u2069")
    page.goto(named.page("relationships", consumer="c02"))
    expect(heading).to_contain_text(ARABIC)
    assert_before(heading, "Strongest ties", ARABIC, "c02")
    # An id from right to left, beside what is known of it.
    page.goto(named.page("recommend", consumer=f"{HEBREW} 12"))
    expect(page.locator("#next .note")).to_be_visible()
    assert_before(page.locator("#next-title"), "Providers for", HEBREW)
    expect(page.locator("#whom")).to_have_attribute("dir", "auto")


def test_categories_and_places_keep_their_numbers(page: Page, named: Site) -> None:
    one = {
        **dict.fromkeys(("consumers", "providers", "inside", "outside"), 12),
        "strongest": [],
        "categories": [{"name": HEBREW, "providers": 3}, {"name": ARABIC, "providers": 2}],
        "places": [{"name": ARABIC.split()[0], "providers": 4}],
    }
    as_of = {"at": "2026-11-21T10:00:00+00:00", "positions": {}}
    answer = {"items": [{**one, "id": str(n)} for n in range(25)], "modularity": 0.5, "as_of": as_of}

    def answers(route: Route) -> None:
        route.fulfill(body=json.dumps(answer), headers={"Access-Control-Allow-Origin": named.url})

    page.route("**/v1/communities*", answers)
    page.goto(named.page("recommend"))
    cells = page.locator("#communities tbody tr").first.locator("td")
    expect(cells.nth(3)).to_have_text(f"{HEBREW} (3), {ARABIC} (2)")
    page.set_viewport_size({"width": 1900, "height": 900})
    assert_before(cells.nth(4), ARABIC.split()[0], "(4)")
    # Not all are shown at once, and the caption has their number.
    expect(page.locator("#communities caption")).to_contain_text("25 communities")
    expect(page.locator("#communities tbody tr")).to_have_count(20)
    page.get_by_role("button", name="Show 5 more").click()
    expect(page.locator("#communities tbody tr")).to_have_count(25)


def test_consumers_have_names_where_the_key_may_see_them(page: Page, named: Site) -> None:
    page.goto(named.page("recommend", provider="p4"))
    expect(page.locator("#calls table")).to_be_visible()
    expect(page.locator("#next-title")).to_contain_text(HEBREW)
    called = answered(named, "/v1/next?provider_id=p4&limit=12")
    all_of = f"The first 12 of {called['candidates']} consumers" if called["candidates"] > 12 else "consumer"
    expect(page.locator("#calls caption")).to_contain_text(all_of)
    names = {"c01": HEBREW, "c02": ARABIC}
    listed = [item["consumer_id"] for item in called["items"]]
    shown = page.locator("#calls tbody th").all_inner_texts()
    assert [text.split("\n")[0] for text in shown] == [names.get(id, id) for id in listed]
    page.goto(named.page("recommend", consumer="c01"))
    expect(page.locator("#next-title")).to_contain_text(HEBREW)
    expect(page.locator("#similar table")).to_be_visible()
    alike = answered(named, "/v1/similar?consumer_id=c01&limit=100")["items"]
    assert "c02" in [item["consumer_id"] for item in alike]
    for id, text in zip(
        [item["consumer_id"] for item in alike][:12], page.locator("#similar tbody th").all(), strict=False
    ):
        expect(text).to_contain_text(names.get(id, id))


def test_the_terms_of_a_learned_model_add_up_to_the_score(page: Page, site: Site) -> None:
    database = site.world.database
    models = Models(database)
    models.add("default", learn(*read_tenant(database, "default")).document(), NOW)
    database["models"].update_many({}, {"$set": {"evaluation.accepted": True}})
    models.switch("default")
    site.advise()
    try:
        id = next(
            f"c{n:02}"
            for n in range(40)
            if answered(site, f"/v1/recommendations?consumer_id=c{n:02}")["as_of"]["model"] == "logit:1"
            and answered(site, f"/v1/recommendations?consumer_id=c{n:02}")["items"]
        )
        page.goto(site.page("recommend", consumer=id))
        best = answered(site, f"/v1/recommendations?consumer_id={id}&limit=12")["items"][0]
        expect(page.locator("#because .terms")).to_be_visible()
        terms = rows(page.locator("#because .terms"))
        assert [row[0] for row in terms] == [reason["term"] for reason in best["because"]]
        assert math.fsum(float(row[1]) for row in terms) == pytest.approx(best["score"])
        [walk] = [reason for reason in best["because"] if reason["term"] == "walk"]
        led = rows(page.locator("#because .via"))
        assert [row[0] for row in led][: len(walk["via"])] == [via["provider_id"] for via in walk["via"]]
    finally:
        models.rollback("default")
        site.advise()


def test_kinds_that_are_suggested_are_those_of_the_tenant(page: Page, named: Site) -> None:
    kinds = page.locator("#kinds option")
    page.goto(named.page())
    expect(kinds).not_to_have_count(0)
    # On a page that asks for none, and after a filter that is refused.
    page.goto(named.page("map"))
    page.get_by_label("Tenant").fill("other")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("tenant=other"))
    expect(kinds).to_have_count(0)


@pytest.mark.parametrize("view", ["overview", "relationships", "recommend"])
def test_money_that_iso_does_not_know_says_that_it_is_in_minor_units(page: Page, named: Site, view: str) -> None:
    def answers(route: Route) -> None:
        answer = route.fetch()
        found = answer.text().replace('"EUR"', '"QQQ"')
        route.fulfill(response=answer, body=found)

    # Not the stream of figures, which never ends.
    for path in ("measures/rfm*", "relationships/**", "next*"):
        page.route(f"**/v1/{path}", answers)
    if view == "overview":
        page.goto(named.page())
        expect(page.locator("#segments thead")).to_contain_text("Money, QQQ (minor units)")
    elif view == "relationships":
        page.goto(named.page("relationships", provider="p4"))
        expect(page.locator("#why")).to_contain_text("(minor units)")
    else:
        page.goto(named.page("recommend", provider="p4"))
        page.locator("#currency").fill("EUR")
        page.keyboard.press("Enter")
        expect(page.locator("#calls thead")).to_contain_text("Value, QQQ (minor units)")
