"""Lists that come page by page: older ones are appended, a refresh keeps them, and another filter starts again."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, Route, expect

from shared.access.apps.schema import RECEIPTS
from tests.browser.portal_site import Portal, added, over, sign_in
from tests.browser.site import Watched
from tests.conftest import Addresses
from tests.support.receiver import receiver
from tests.support.waiting import wait_equal

PAGE, ALL = 20, 45
#: Before anything that a service dates itself.
FIRST = datetime.now(UTC) - timedelta(days=2)
#: Of a number: something that happened so many minutes after the first.
Happen = Callable[[int], None]


@pytest.fixture(scope="module")
def site(servers: Addresses) -> Iterator[Portal]:
    with over(servers) as opened:
        yield opened


def at(number: int) -> datetime:
    return FIRST + timedelta(minutes=number)


def refreshed(page: Page) -> None:
    """The page has asked for everything again, as it does every five seconds."""
    for _ in range(2):  # the first may have been under way
        page.evaluate("document.getElementById('live').textContent = ''")
        expect(page.locator("#live")).to_have_text("Up to date")


def about(page: Page, panel: str) -> list[str]:
    return page.locator(f"{panel} tbody tr td:nth-child(3)").all_inner_texts()


def pages_are_appended_and_kept(page: Page, panel: str, happen: Happen, names: list[str], chosen: str) -> None:
    """``names``: what the list is about, latest first; ``happen`` adds one to the front. ``chosen`` is a filter
    that leaves out none."""
    rows, older = page.locator(f"{panel} tbody tr"), page.locator(panel).get_by_role("button", name="Show older")
    expect(rows).to_have_count(PAGE)
    older.click()
    expect(rows).to_have_count(2 * PAGE)
    assert about(page, panel) == names[: 2 * PAGE]
    expect(older).to_be_focused()
    happen(ALL)
    refreshed(page)
    assert about(page, panel) == names[: 2 * PAGE], "whoever reads older ones is not sent back"
    older.click()
    expect(rows).to_have_count(ALL)
    expect(older).to_have_count(0)
    assert about(page, panel) == names
    page.locator(panel).get_by_role("button", name=chosen, exact=True).click()
    newest = rows.first.locator("td").nth(1)
    expect(newest).to_contain_text(str(ALL))
    expect(rows).to_have_count(PAGE)
    happen(ALL + 1)
    expect(newest).to_contain_text(str(ALL + 1))
    expect(rows).to_have_count(PAGE)


def test_older_receipts_are_appended_and_kept(watched: Watched, site: Portal) -> None:
    page, made = watched.page, site.approved()

    def happen(number: int) -> None:
        site.erased(made, f"c{number}", at(number))

    for number in range(ALL):
        happen(number)
    wait_equal(lambda: site.database[RECEIPTS].count_documents({"app": made.app.id}), ALL)
    sign_in(page, site, made.registration_token)
    names = [f"c{number}" for number in reversed(range(ALL))]
    expect(page.locator("#receipts tbody tr").first).to_contain_text(names[0])
    pages_are_appended_and_kept(page, "#receipts", happen, names, "Waiting")


def test_older_deliveries_are_appended_and_kept(watched: Watched, site: Portal) -> None:
    page, made = watched.page, site.approved()
    with receiver() as there:
        sign_in(page, site, made.registration_token)
        added(page, there.url)
        name = page.locator("[data-log]").get_attribute("data-log")
        assert name is not None

        def happen(number: int) -> None:
            site.attempted(name, number, at(number))

        for number in range(ALL):
            happen(number)
        names = [f"provider:p{number}" for number in reversed(range(ALL))]
        expect(page.locator("#deliveries tbody tr").first).to_contain_text(names[0])
        pages_are_appended_and_kept(page, "#deliveries", happen, names, "Delivered")
        # What has failed is no longer there: the next refresh begins again.
        refused: list[str] = []

        def refuse(route: Route) -> None:
            """The question for older ones, and all after it: a refresh before it must not take the button away."""
            if refused or "cursor=" in route.request.url:
                refused.append(route.request.url)
                route.fulfill(status=403, json={"detail": "not now"})
            else:
                route.continue_()

        page.route("**/deliveries?*", refuse)
        watched.failures_expected = True
        page.locator("#deliveries").get_by_role("button", name="Show older").click()
        expect(page.locator("#deliveries .failed")).to_contain_text("not now")
        page.unroute("**/deliveries?*")
        expect(page.locator("#deliveries tbody tr")).to_have_count(PAGE)
        # Older ones that do not come this time hold up no refresh.
        page.route("**/deliveries?*cursor=*", lambda route: route.fulfill(status=503, json={"detail": "away"}))
        with page.expect_response(lambda response: "cursor=" in response.url):
            page.locator("#deliveries").get_by_role("button", name="Show older").click()
        page.unroute("**/deliveries?*cursor=*")
        happen(ALL + 2)
        expect(page.locator("#deliveries tbody tr").first).to_contain_text(f"p{ALL + 2}")
