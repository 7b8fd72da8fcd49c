"""Every panel shows one answer to one filter: refused, late and overtaken answers never stay on the page."""

import re
from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from tests.browser.site import Site, Watched
from tests.support.builders import event
from tests.support.waiting import wait_for

#: Answers whose address matches ``hold`` wait for ``release()``, the last that came first, and ``refuse`` ones are
#: 403. No abort is obeyed, so that what was asked for another filter does arrive. ``release()`` ends when all of
#: them have arrived, those that were still under way when it was called, too.
SCRIPT = """
window.hold = window.refuse = null;
const real = window.fetch, gate = () => ({ open: false, all: [], waiting: [] });
let current = gate();
window.held = () => current.waiting.length;
window.fetch = (url, options = {}) => {
  const { signal, ...rest } = options, mine = current;
  const matches = (pattern) => pattern && new RegExp(pattern).test(url);
  if (matches(window.refuse))
    return Promise.resolve(new Response(JSON.stringify({ detail: 'not for you' }), { status: 403 }));
  if (!matches(window.hold)) return real(url, rest);
  const answer = real(url, rest).then(async (found) => {
    if (!mine.open) await new Promise((resolve) => mine.waiting.push(resolve));
    return found;
  });
  mine.all.push(answer);
  return answer;
};
window.release = async () => {
  const mine = current;
  window.hold = null;
  current = gate();
  mine.open = true;
  mine.waiting.reverse().forEach((resolve) => resolve());
  await Promise.allSettled(mine.all);
  await new Promise((resolve) => setTimeout(resolve, 400));
};
"""


class Source(NamedTuple):
    """A question of a page, by its address, and the bodies of the panels that show its answer."""

    view: str
    asks: str
    bodies: tuple[str, ...]


SOURCES = (
    Source("overview", "/v1/live", ("#figures", "#series .body")),
    Source("overview", "/top-providers", ("#top-providers .body",)),
    Source("overview", "/measures/ratings", ("#ratings .body",)),
    Source("overview", "/measures/rising", ("#rising .body",)),
    Source("overview", "/measures/activity", ("#activity .body",)),
    Source("overview", "/measures/cohorts", ("#cohorts .body",)),
    Source("overview", "/measures/rfm", ("#rfm .body", "#segments .body")),
    Source("map", "/measures/geography", ("#map .body", "#places .body")),
    Source("relationships", "/v1/relationships\\?", ("#graph .body", "#ties .body")),
    Source("relationships", "/v1/relationships/.+/", ("#why .body",)),
    Source("relationships", "/top-providers", ("#start .body",)),
)
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.view} {source.asks}")
#: What shows an answer to anything but the filter that is chosen.
STRAY = (
    "[...document.querySelectorAll('[data-answers]')].filter(e => e.dataset.answers !== main.dataset.filter)"
    ".length"
)


def answered(page: Page, source: Source) -> None:
    for body in source.bodies:
        expect(page.locator(f"{body}[data-answers]")).to_have_count(1)


def texts(page: Page, source: Source) -> list[str]:
    return [page.locator(body).inner_text() for body in source.bodies]


def choose(page: Page, tenant: str) -> None:
    page.get_by_label("Tenant").fill(tenant)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"tenant={tenant}"))


@each_source
def test_a_refused_filter_leaves_nothing_of_the_one_before(watched: Watched, site: Site, source: Source) -> None:
    page = watched.page
    page.add_init_script(SCRIPT)
    page.goto(site.page(source.view))
    answered(page, source)
    page.evaluate("pattern => { window.refuse = pattern }", source.asks)
    choose(page, "acme")
    for body in source.bodies:
        # The first panel of a page that has nothing to begin with says so instead.
        expect(page.locator(body)).to_contain_text(re.compile("Not shown: not for you|Type the id|Choose a tie"))
        assert len(page.locator(body).inner_text()) < 80
    assert page.evaluate(STRAY) == 0


@each_source
def test_a_late_answer_to_another_filter_is_not_shown(watched: Watched, site: Site, source: Source) -> None:
    page = watched.page
    page.add_init_script(SCRIPT)
    page.add_init_script(f"window.hold = {source.asks!r}")
    page.goto(site.page(source.view))
    for body in source.bodies:
        expect(page.locator(body)).to_contain_text(re.compile("Loading|Choose a tie"))
    wait_for("the answer", lambda: page.evaluate("window.held()") > 0)
    page.evaluate("window.hold = null")
    choose(page, "acme")
    answered(page, source)
    shown = texts(page, source)
    page.evaluate("window.release()")
    assert texts(page, source) == shown
    assert page.evaluate(STRAY) == 0


@each_source
def test_a_filter_that_is_not_answered_yet_shows_nothing(watched: Watched, site: Site, source: Source) -> None:
    """Neither of the tenant before, nor of a kind or period before: between question and answer there is none."""
    page = watched.page
    page.add_init_script(SCRIPT)
    page.goto(site.page(source.view))
    answered(page, source)
    page.evaluate("pattern => { window.hold = pattern }", source.asks)
    if source.view == "relationships":
        choose(page, "acme")
    else:
        page.get_by_label("Kind", exact=True).fill("purchase")
        page.keyboard.press("Enter")
    for body in source.bodies:
        expect(page.locator(body)).to_contain_text(re.compile("Loading|Choose a tie"))
    assert page.evaluate(STRAY) == 0
    page.evaluate("window.release()")
    answered(page, source)
    assert page.evaluate(STRAY) == 0


def test_what_a_panel_asks_for_itself_overtakes_nothing(watched: Watched, site: Site) -> None:
    """Controls of a panel: the last one that was chosen counts, whatever comes last."""
    page = watched.page
    page.add_init_script(SCRIPT)
    page.goto(site.page("map"))
    expect(page.locator("#places")).to_contain_text("Nairobi")
    page.evaluate("window.hold = 'side=provider'")
    page.locator("#map button[data-value=provider]").click()
    expect(page.locator("#places")).to_contain_text("Loading")
    page.locator("#map button[data-value=consumer]").click()
    expect(page.locator("#places")).to_contain_text("Nairobi")
    page.evaluate("window.release()")
    expect(page.locator("#places")).to_contain_text("Nairobi")

    page.goto(site.page("relationships", provider="p4"))
    expect(page.locator("#why-events table")).to_be_visible()
    ties = page.locator("#ties tbody button")
    second, third = ties.nth(1).inner_text(), ties.nth(2).inner_text()
    page.evaluate("pattern => { window.hold = pattern }", f"/relationships/{second}/")
    ties.nth(1).click()
    expect(page.locator("#why")).to_contain_text("Loading")
    ties.nth(2).click()
    expect(page.locator("#why h3")).to_have_text(f"{third} and p4")
    page.evaluate("window.release()")
    expect(page.locator("#why h3")).to_have_text(f"{third} and p4")

    page.goto(site.page())
    currency = page.locator("#rfm select")
    expect(currency).to_have_value("EUR")
    expect(page.locator("#rfm")).to_contain_text("with orders only in USD are not counted")
    euro = page.locator("#rfm .body").inner_text()
    page.evaluate("window.hold = 'currency=USD'")
    currency.select_option("USD")
    expect(page.locator("#rfm .body")).to_contain_text("Loading")
    currency.select_option("EUR")
    expect(page.locator("#rfm table")).to_be_visible()
    page.evaluate("window.release()")
    assert page.locator("#rfm .body").inner_text() == euro
    currency.select_option("USD")
    expect(page.locator("#rfm .body")).to_contain_text("in USD")
    expect(page.locator("#segments")).to_contain_text("Money, USD")
    assert "currency=USD" in page.url


def test_a_tenant_that_cannot_be_is_refused_and_shows_nothing(watched: Watched, site: Site) -> None:
    watched.failures_expected = True
    page = watched.page
    for view in ("overview", "relationships", "map"):
        page.goto(site.page(view))
        expect(page.locator("[data-answers]").first).to_be_visible()
        page.get_by_label("Tenant").fill("No Tenant!")
        page.keyboard.press("Enter")
        expect(page.locator("main .failed").first).to_contain_text("Not shown")
        expect(page.locator("[data-answers]")).to_have_count(0)


def test_a_refresh_that_fails_is_said_and_keeps_what_belongs_to_the_filter(watched: Watched, site: Site) -> None:
    watched.failures_expected = True
    page = watched.page
    page.goto(site.page())
    expect(page.locator("#top-providers table")).to_be_visible()
    expect(page.locator("#rfm table")).to_be_visible()
    page.route(
        re.compile("top-providers"),
        lambda route: route.fulfill(status=503, json={"detail": "MongoDB is unavailable"}),
    )
    site.add(event("relation.recorded", "n1", "2026-11-21T10:00:00Z", {**NEW, "relation_id": "n1"}))
    expect(page.locator("#top-providers .stale")).to_contain_text("Not refreshed: MongoDB is unavailable")
    expect(page.locator("#top-providers table")).to_be_visible()
    page.unroute_all()
    site.add(event("relation.recorded", "n2", "2026-11-21T10:01:00Z", {**NEW, "relation_id": "n2"}))
    expect(page.locator("#top-providers .stale")).to_have_count(0)


NEW = {"consumer_id": "c01", "provider_id": "p1", "kind": "view"}
