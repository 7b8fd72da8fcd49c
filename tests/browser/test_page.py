"""What holds for the whole page: filter and address, keys, a stream that is cut, keyboard, contrast."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from services.analytics.dashboard.live import BEAT_SECONDS
from shared.access.guard import Access
from shared.contracts.services import SERVICES
from shared.http.caller import SCOPES, Caller, unauthorized
from tests.browser.site import Site, Watched, assert_contrast, rows
from tests.support.credentials import RecordsAtOnce
from tests.support.measures_world import left

VIEWS = ("overview", "relationships", "map")
READY = {"overview": "#rfm table", "relationships": "#why-events table", "map": "#places table"}


#: Of every word in the map of customers: in how many lines it is, and how far out of its cell, in pixels.
WORDS = """() => [...document.querySelectorAll('#rfm td')].flatMap(cell => {
  const found = [], box = cell.getBoundingClientRect();
  const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    for (const word of walker.currentNode.textContent.matchAll(/\\S+/g)) {
      const range = document.createRange();
      range.setStart(walker.currentNode, word.index);
      range.setEnd(walker.currentNode, word.index + word[0].length);
      const at = range.getBoundingClientRect();
      const lines = new Set([...range.getClientRects()].map(r => Math.round(r.top))).size;
      found.push([word[0], lines, Math.max(box.left - at.left, at.right - box.right)]);
    }
  }
  return found;
})"""


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_every_text_has_the_contrast_of_wcag_aa(watched: Watched, site: Site, view: str, colours: Any) -> None:
    page = watched.page
    page.emulate_media(color_scheme=colours)
    page.goto(site.page(view))
    expect(page.locator(READY[view])).to_be_visible()
    assert_contrast(page)


def test_the_colours_can_be_chosen_and_stay(page: Page, site: Site) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(site.page())
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_label("Colours: as the system").click()
    page.get_by_label("Colours: light").click()
    expect(root).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(root).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("view", VIEWS)
def test_380_pixels_are_enough(watched: Watched, site: Site, view: str) -> None:
    watched.page.set_viewport_size({"width": 380, "height": 800})
    watched.page.goto(site.page(view))
    expect(watched.page.locator(READY[view])).to_be_visible()
    assert watched.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert watched.page.evaluate(
        "[...document.querySelectorAll('svg text')].every(t => t.getBoundingClientRect().height > 8)"
    )
    assert sum(shift[0] for shift in watched.shifts) < 0.01, watched.shifts


@pytest.mark.parametrize("width", [380, 700, 1280])
def test_no_word_of_a_cell_is_broken(page: Page, site: Site, width: int) -> None:
    """Names of classes stay whole and within their cells in the map of customers."""
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(site.page())
    expect(page.locator("#rfm table")).to_be_visible()
    words = page.evaluate(WORDS)
    assert "hibernating" in [word for word, _, _ in words]
    assert [(word, lines, over) for word, lines, over in words if lines != 1 or over > 0.5] == []


def test_the_address_bar_holds_the_filter(page: Page, site: Site) -> None:
    page.goto(site.page())
    expect(page.locator("#tile-count data")).to_be_visible()
    everything = page.locator("#tile-count data").get_attribute("value")
    table = left(site.world.events)
    table = table[(table["day"] >= "2026-08-24") & (table["day"] <= "2026-11-21")]
    page.get_by_label("Kind", exact=True).fill("review")
    page.keyboard.press("Enter")
    reviews = str((table["kind"] == "review").sum())
    expect(page.locator("#tile-count data")).to_have_attribute("value", reviews)
    assert "kind=review" in page.url
    page.get_by_label("From", exact=True).fill("2026-10-01")
    page.keyboard.press("Tab")
    later = table[(table["kind"] == "review") & (table["day"] >= "2026-10-01")]
    expect(page.locator("#tile-count data")).to_have_attribute("value", str(len(later)))
    assert "from=2026-10-01" in page.url
    page.reload()
    expect(page.get_by_label("Kind", exact=True)).to_have_value("review")
    expect(page.locator("#tile-count data")).to_have_attribute("value", str(len(later)))
    page.go_back()
    page.go_back()
    expect(page.get_by_label("Kind", exact=True)).to_have_value("")
    expect(page.locator("#tile-count data")).to_have_attribute("value", everything or "")
    page.get_by_label("Period").select_option("7")
    expect(page).to_have_url(re.compile(r"period=7"))
    page.get_by_label("Tenant").fill("acme")
    page.keyboard.press("Enter")
    page.get_by_label("From", exact=True).fill("2026-08-24")
    page.get_by_label("To", exact=True).fill("2026-11-21")
    page.keyboard.press("Tab")
    other = left(site.world.events, "acme")
    other = other[(other["day"] >= "2026-08-24") & (other["day"] <= "2026-11-21")]
    expect(page.locator("#tile-count data")).to_have_attribute("value", str(len(other)))


def test_a_period_that_ends_today_goes_on_at_midnight(page: Page, site: Site) -> None:
    page.clock.install(time="2026-11-20T22:00:00Z")
    page.goto(f"{site.url}/dashboard/?view=overview&period=7")
    last = page.get_by_label("To", exact=True)
    expect(last).to_have_value("2026-11-20")
    table = left(site.world.events)

    def relations(first: str, to: str) -> str:
        return str(((table["day"] >= first) & (table["day"] <= to)).sum())

    expect(page.locator("#tile-count data")).to_have_attribute("value", relations("2026-11-14", "2026-11-20"))
    page.clock.fast_forward("02:05:00")
    expect(last).to_have_value("2026-11-21")
    expect(page.locator("#tile-count data")).to_have_attribute("value", relations("2026-11-15", "2026-11-21"))


def test_what_cannot_be_answered_is_said(watched: Watched, site: Site) -> None:
    watched.failures_expected = True
    watched.page.goto(site.page().replace("from=2026-08-24", "from=1990-01-01"))
    expect(watched.page.locator("#figures .failed")).to_contain_text("3,660 is the most")
    expect(watched.page.locator("#live")).to_have_text("Not live")


def test_without_a_mouse(page: Page, site: Site) -> None:
    page.goto(site.page())
    expect(page.locator("#rfm table")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.locator("#series svg[tabindex]").focus()
    page.keyboard.press("Home")
    first, *_, last = rows(page.locator("#series-data"))
    expect(page.locator("#series .readout")).to_have_text(f"{first[0]}: relations {first[1]}")
    page.keyboard.press("End")
    expect(page.locator("#series .readout")).to_have_text(f"{last[0]}: relations {last[1]}")
    seen = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.closest('section, form, nav, .bar')?.id || 'bar'"))
        place = "document.activeElement.outerHTML.slice(0, 200)"
        style = page.evaluate(f"[getComputedStyle(document.activeElement).outlineStyle, {place}]")
        assert style[0] != "none" or style[1].startswith("<body"), style
    assert seen >= {"series", "top-providers", "activity", "cohorts", "rfm", "segments", "filter"}
    page.locator("nav a", has_text="Map").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_title("Map – Kith")


class OneKey:
    """Whoever has the key may do everything for the tenant ``default``."""

    async def caller(self, text: str) -> Caller:
        if text != "kith_right":
            raise unauthorized("the key is not known")
        return Caller("default", frozenset(SCOPES), name="ada", key="kith_r")


class Silent(RecordsAtOnce):
    """Remembers nothing. Where personal data is shown it must be told, so there has to be one."""

    def record(self, *acts: object) -> None: ...


def test_a_key_is_asked_for_once_and_kept_in_the_tab(watched: Watched, site: Site) -> None:
    watched.failures_expected = True
    page = watched.page
    with site.guarded_by(Access(OneKey(), audit=Silent())):
        page.goto(site.page())
        expect(page.get_by_role("dialog")).to_be_visible()
        page.get_by_label("API key or token", exact=True).fill("kith_wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#ask-why")).to_contain_text("not known")
        page.get_by_label("API key or token", exact=True).fill("kith_right")
        page.keyboard.press("Enter")
        expect(page.locator("#tile-count data")).to_be_visible()
        expect(page.locator("#rfm table")).to_be_visible()
        page.reload()
        expect(page.locator("#rfm table")).to_be_visible()
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_link_can_bring_the_key(watched: Watched, site: Site) -> None:
    with site.guarded_by(Access(OneKey(), audit=Silent())):
        watched.page.goto(site.page() + "#key=kith_right")
        expect(watched.page.locator("#rfm table")).to_be_visible()
        assert "kith_right" not in watched.page.url
        assert "kith_right" not in " ".join(watched.asked)
        assert watched.page.evaluate("localStorage.length + document.cookie.length") == 0


def test_the_page_says_when_the_stream_is_cut_and_comes_back(watched: Watched, site: Site) -> None:
    watched.failures_expected = True
    page = watched.page
    page.goto(site.page())
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    expect(page.locator("#rfm table")).to_be_visible()
    count = page.locator("#tile-count data").get_attribute("value") or ""
    site.analytics.stop()
    expect(page.locator("#live")).to_have_text("Not live, trying again …")
    assert page.locator("#tile-count data").get_attribute("value") == count, "what was known stays"
    site.analytics.start()
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#tile-count data")).to_have_attribute("value", count)
    assert BEAT_SECONDS < 25, "the page gives a silent stream up after 25 s"


def test_a_view_that_cannot_be_loaded_says_so(watched: Watched, site: Site) -> None:
    watched.failures_expected = True
    page = watched.page
    page.goto(site.page())
    expect(page.locator("#rfm table")).to_be_visible()
    page.route("**/views/map.js", lambda route: route.abort())
    page.locator("nav a", has_text="Map").click()
    expect(page.locator("main")).to_contain_text("The page cannot be loaded")
    expect(page.locator("main .waiting")).to_have_count(0)
    page.unroute("**/views/map.js")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#places table")).to_be_visible()


def test_beyond_the_quota_it_asks_again(watched: Watched, site: Site) -> None:
    watched.failures_expected = True
    page, refused = watched.page, set[str]()

    def answers(route: Route) -> None:
        if route.request.url in refused:
            route.continue_()
            return
        refused.add(route.request.url)
        headers = {"Retry-After": "0", "Access-Control-Allow-Origin": site.url}
        route.fulfill(status=429, json={"detail": "too many"}, headers=headers)

    page.route("**/v1/measures/**", answers)
    page.goto(site.page())
    expect(page.locator("#rfm table")).to_be_visible()
    expect(page.locator("#cohorts table")).to_be_visible()
    assert len(refused) >= 5
    expect(page.locator("main")).not_to_contain_text("too many")


def test_the_page_may_only_do_what_it_does(page: Page, site: Site) -> None:
    answer = page.goto(site.page())
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    ports = (site.relations.port, site.intelligence.port, SERVICES["webhooks"].port)
    origins = " ".join(f"http://127.0.0.1:{port}" for port in ports)
    assert f"connect-src 'self' {origins};" in policy
