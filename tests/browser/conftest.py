"""Debian's Chromium, by Playwright, on the dashboard over a known market."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.site import Site, Watched
from tests.conftest import Addresses
from tests.support.databases import fresh_databases
from tests.support.waiting import PATIENCE_SECONDS

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# Otherwise what a test expects of a page has to come about within five seconds.
expect.set_options(timeout=PATIENCE_SECONDS * 1000)


# Per module: while it is there, Playwright's loop runs in this thread, and other tests could run none.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        missing = "there is no Chromium for the browser tests: apt-get install chromium"
        # .ci/run sets it: there they are never left out.
        (pytest.fail if os.environ.get("KITH_TEST_BROWSER") == "required" else pytest.skip)(missing)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield started
        finally:
            started.close()


@pytest.fixture(scope="module")
def site(servers: Addresses) -> Iterator[Site]:
    with fresh_databases(servers) as made, Site(made(), made()).open() as opened:
        yield opened


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A page 1,280 pixels wide. At the end it must have had nothing to complain about."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en", timezone_id="UTC")
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    found = Watched(context.new_page())
    try:
        yield found
    finally:
        context.close()
    network = "Failed to load resource", "net::ERR"
    said = [text for text in found.said if not (found.failures_expected and any(n in text for n in network))]
    assert said == []


@pytest.fixture
def page(watched: Watched) -> Page:
    return watched.page
