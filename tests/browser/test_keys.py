"""What a key may see: the pages and panels that are there, names, masks, and what is said of everything else."""

import re
from collections.abc import Sequence

import pytest
from playwright.sync_api import Page, expect

from shared.access.guard import Access
from shared.http.caller import SCOPES, Caller, unauthorized
from tests.browser.site import Site, Watched, rows
from tests.support.credentials import RecordsAtOnce

READ = ("consumers:read", "personal:read", "relations:read", "analytics:read")


class Ring:
    """One key, ``kith_key``, and one token, ``a.b.c``, of the tenant ``default``."""

    def __init__(self, scopes: Sequence[str], masks: Sequence[str] = ()) -> None:
        self.caller_is = Caller("default", frozenset(scopes), tuple(masks), "ada", "kith_k")
        self.good = True

    async def caller(self, text: str) -> Caller:
        if text not in ("kith_key", "a.b.c") or not self.good:
            raise unauthorized("the key is not known")
        return self.caller_is


class Acts(RecordsAtOnce):
    """An audit that remembers."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    def record(self, *acts: object) -> None:
        self.seen += [dict(act.subject) for act in acts]  # type: ignore[attr-defined]


def opened(page: Page, site: Site, view: str, **more: str) -> None:
    page.goto(site.page(view, **more) + "#key=kith_key")


@pytest.fixture(scope="module")
def named(site: Site) -> Site:
    """The market, with names."""
    names = {"p4": "Bäckerei Roth", "p1": "Garage Frei"}
    providers, consumers = (site.world.database[name] for name in ("providers", "consumers"))
    for id, name in names.items():
        assert providers.update_one({"_id": f"default:{id}"}, {"$set": {"name": name}}).matched_count == 1
    person = {"$set": {"personal": {"name": "Jana Ammann"}}}
    assert consumers.update_one({"_id": "default:c01"}, person).matched_count == 1
    return site


@pytest.mark.parametrize(
    ("scopes", "pages"),
    [
        (("analytics:read",), ["Overview"]),
        (("relations:read",), ["Relationships", "Map"]),
        (("metrics:read",), ["Operations"]),
        (("admin",), ["Operations"]),
        (("analytics:read", "relations:read"), ["Overview", "Relationships", "Map"]),
        (("intelligence:read",), ["Recommendations"]),
        (("webhooks:manage",), ["Webhooks"]),
        (tuple(SCOPES), ["Overview", "Relationships", "Recommendations", "Map", "Webhooks", "Operations"]),
    ],
)
def test_only_pages_that_the_key_may_see_are_offered(
    watched: Watched, site: Site, scopes: tuple[str, ...], pages: list[str]
) -> None:
    page = watched.page
    # The site has no routes for operators.
    watched.failures_expected = True
    with site.guarded_by(Access(Ring(scopes), audit=Acts())):
        page.goto(f"{site.url}/dashboard/#key=kith_key")
        expect(page.locator("nav a:visible")).to_have_count(len(pages))
        assert page.locator("nav a:visible").all_inner_texts() == pages
        expect(page.locator("nav a[aria-current]")).to_have_text(pages[0])
        expect(page.get_by_label("Tenant")).to_be_hidden()
        expect(page.locator("#who")).to_have_text("ada · default")
        for name, view in (("Overview", "overview"), ("Map", "map"), ("Operations", "operations")):
            if name not in pages:
                page.goto("about:blank")
                asked = len(watched.asked)
                page.goto(site.page(view) + "#key=kith_key")
                expect(page.locator("main")).to_contain_text(f"{name} is not for this key")
                expect(page.locator("main")).to_contain_text("It needs the scope")
                assert not [url for url in watched.asked[asked:] if "/v1/" in url], "it is not asked for either"
                break


def test_a_key_that_sees_nothing_is_told_so(watched: Watched, site: Site) -> None:
    with site.guarded_by(Access(Ring(("events:write",)), audit=Acts())):
        opened(watched.page, site, "overview")
        expect(watched.page.locator("main")).to_contain_text("This key sees no page")
        expect(watched.page.locator("main")).to_contain_text("events:write")


def test_an_address_about_another_tenant_shows_nothing_of_this_one(watched: Watched, site: Site) -> None:
    page = watched.page
    with site.guarded_by(Access(Ring(READ), audit=Acts())):
        opened(page, site, "overview", tenant="acme")
        expect(page.locator("main")).to_contain_text("the tenant acme; the key is for default")
        expect(page.locator("[data-answers]")).to_have_count(0)
        assert not [url for url in watched.asked if "/v1/" in url]
        page.get_by_role("link", name="Show default").click()
        expect(page.locator("#tile-count data")).to_be_visible()
        assert "tenant=" not in page.url


def test_without_relations_read_the_overview_has_what_analytics_knows(watched: Watched, named: Site) -> None:
    page = watched.page
    with named.guarded_by(Access(Ring(("analytics:read",)), audit=Acts())):
        opened(page, named, "overview")
        expect(page.locator("#rising table")).to_be_visible()
        expect(page.locator("#cohorts table")).to_be_visible()
        expect(page.locator("#rfm, #segments")).to_have_count(0)
        expect(page.locator("#top-providers a")).to_have_count(0)
        assert "p4" in [row[0] for row in rows(page.locator("#top-providers"))]
        expect(page.locator("main")).not_to_contain_text("Bäckerei")
        page.get_by_label("Kind", exact=True).fill("purchase")
        page.keyboard.press("Enter")
        expect(page.locator("#activity")).to_contain_text("needs the scope relations:read")
        expect(page.locator("#tile-count data")).to_be_visible()
        assert not [url for url in watched.asked if f":{named.relations.port}/" in url]


def test_names_stand_for_ids_and_ids_stay_within_reach(watched: Watched, named: Site) -> None:
    page, acts = watched.page, Acts()
    with named.guarded_by(Access(Ring(READ), audit=acts)):
        opened(page, named, "overview")
        for part in ("#top-providers", "#rising", "#ratings"):
            link = page.locator(f"{part} tr", has_text="Bäckerei Roth").get_by_role("link")
            expect(link).to_have_attribute("title", "Bäckerei Roth (p4)")
            expect(link.locator("small")).to_have_text("p4")
        link = page.locator("#top-providers tr", has_text="Bäckerei Roth").get_by_role("link")
        link.click()
        expect(page.locator("#graph-title")).to_have_text("Strongest ties of provider Bäckerei Roth (p4)")
        expect(page.locator("#start")).to_contain_text("Garage Frei")
        expect(page.locator("#why-events table")).to_be_visible()
        assert acts.seen.count({"consumer_id": "c01"}) <= 1
        opened(page, named, "relationships", consumer="c01")
        expect(page.locator("#graph-title")).to_have_text("Strongest ties of consumer Jana Ammann (c01)")
        expect(page.locator("#why h3")).to_contain_text("Jana Ammann")
        assert {"consumer_id": "c01"} in acts.seen, "the audit knows whose name was shown"


@pytest.mark.parametrize(
    ("scopes", "masks"),
    [
        (("relations:read", "analytics:read"), ()),
        (("relations:read", "analytics:read", "consumers:read"), ()),
        (READ, ("personal.name",)),
        (READ, ("personal.*",)),
        (READ, ("personal",)),
    ],
)
def test_consumers_names_are_for_keys_that_may_see_them(
    watched: Watched, named: Site, scopes: tuple[str, ...], masks: tuple[str, ...]
) -> None:
    page, acts = watched.page, Acts()
    with named.guarded_by(Access(Ring(scopes, masks), audit=acts)):
        opened(page, named, "relationships", consumer="c01")
        expect(page.locator("#graph-title")).to_have_text("Strongest ties of consumer c01")
        expect(page.locator("#why-events table")).to_be_visible()
        expect(page.locator("main")).not_to_contain_text("Jana")
        expect(page.locator("#ties, #start").first).to_contain_text(re.compile("Garage Frei|Bäckerei Roth"))
        assert acts.seen == [], "what is not shown is not asked for"


@pytest.mark.parametrize(
    "masks",
    [
        ("amount", "amount_minor", "money", "money_minor", "value"),
        ("provider_id",),
        ("rating_sum", "rating_count", "mean", "bayesian"),
        ("count", "consumers", "relations", "strength"),
        ("grid", "segment", "retention", "days"),
        ("items",),
        ("total", "evidence", "kinds", "lat"),
        ("first", "last", "day", "time"),
    ],
)
def test_what_is_masked_for_a_key_is_named_and_never_breaks_a_page(
    watched: Watched, site: Site, masks: tuple[str, ...]
) -> None:
    page = watched.page
    # What a service cannot answer with this mask it refuses, and the page says so.
    watched.failures_expected = True
    with site.guarded_by(Access(Ring(READ, masks), audit=Acts())):
        for view, ready in (("overview", "#rfm"), ("relationships", "#graph"), ("map", "#places")):
            opened(page, site, view)
            expect(page.locator(f"{ready} .body .waiting")).to_have_count(0)
            expect(page.locator("main .waiting")).to_have_count(0)
            expect(page.locator("main")).not_to_contain_text(re.compile("NaN|undefined|\\[object"))
        # How far the data goes is masked, too: the page does without.
        page.goto(f"{site.url}/dashboard/?view=overview&period=all#key=kith_key")
        expect(page.get_by_label("Period")).to_have_value("all")
        expect(page.locator("#rfm .body")).to_be_visible()
        expect(page.locator("main .waiting")).to_have_count(0)
        if masks[0] == "amount":
            opened(page, site, "overview")
            expect(page.locator("#tile-amount")).to_contain_text("hidden from this key")
            expect(page.locator("main")).not_to_contain_text("€")


@pytest.mark.parametrize(
    ("scopes", "sides", "levels"),
    [
        (("relations:read",), [], ["Countries", "Regions", "Cities"]),
        (("relations:read", "consumers:read"), ["Consumers", "Providers"], ["Countries", "Regions"]),
        (READ, ["Consumers", "Providers"], ["Countries", "Regions", "Cities"]),
    ],
)
def test_the_map_offers_what_the_key_may_see(
    watched: Watched, site: Site, scopes: tuple[str, ...], sides: list[str], levels: list[str]
) -> None:
    page = watched.page
    with site.guarded_by(Access(Ring(scopes), audit=Acts())):
        opened(page, site, "map")
        expect(page.locator("#places table")).to_be_visible()
        assert page.get_by_label("Places of").get_by_role("button").all_inner_texts() == sides
        assert page.get_by_label("How finely").get_by_role("button").all_inner_texts() == levels
        if sides:
            page.get_by_role("button", name="Providers").click()
            page.get_by_role("button", name="Cities").click()
            expect(page.locator("#places table")).to_contain_text("Lyon")
            page.get_by_role("button", name="Consumers").click()
            expect(page.locator("#places caption")).to_be_visible()


def test_a_key_that_ends_takes_everything_with_it(watched: Watched, site: Site) -> None:
    watched.failures_expected = True
    page, ring = watched.page, Ring(READ)
    with site.guarded_by(Access(ring, ring, audit=Acts())):
        opened(page, site, "overview")
        expect(page.locator("#rfm table")).to_be_visible()
        # What is asked for later than the rest would be refused first, and take the form away.
        expect(page.locator("main .waiting")).to_have_count(0)
        expect(page.locator("#kinds option")).not_to_have_count(0)
        ring.good = False
        page.get_by_label("Period").select_option("90")
        expect(page.get_by_role("dialog")).to_be_visible()
        expect(page.locator("#ask-why")).to_contain_text("not known")
        expect(page.locator("[data-answers], #kinds option")).to_have_count(0)
        expect(page.locator("#who")).to_have_text("")
        page.get_by_role("button", name="Not now").click()
        expect(page.locator("main")).to_contain_text("A key is needed")
        ring.good = True
        page.get_by_role("button", name="Enter a key or token").click()
        # A token, with the word that people copy along.
        page.get_by_label("API key or token", exact=True).fill("Bearer a.b.c")
        page.keyboard.press("Enter")
        expect(page.locator("#tile-count data")).to_be_visible()


def test_a_403_is_said_and_not_asked_for_again(watched: Watched, site: Site) -> None:
    watched.failures_expected = True
    page = watched.page
    page.clock.install()
    page.route(
        re.compile("/v1/(live|measures)"), lambda route: route.fulfill(status=403, json={"detail": "no more"})
    )
    page.goto(site.page())
    expect(page.locator("#figures .failed")).to_contain_text("Not shown: no more")
    expect(page.locator("#live")).to_have_text("Not live")
    expect(page.locator("#cohorts .failed")).to_contain_text("no more")
    asked = len([url for url in watched.asked if "/v1/" in url])
    page.clock.fast_forward("00:10:00")
    expect(page.locator("#figures .failed")).to_contain_text("Not shown: no more")
    assert len([url for url in watched.asked if "/v1/" in url]) == asked
