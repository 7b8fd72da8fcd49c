"""The developer portal: signing in, secrets, endpoints with their log, and the code to copy, which is run."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import orjson
import pytest
from playwright.sync_api import Page, expect

from services.webhooks.delivery import retry_policy
from services.webhooks.messages.signing import signatures
from shared.access.apps.model import MOST_SECRETS, Limits
from shared.local.processes import free_ports
from tests.browser.portal_site import Portal, added, over, sign_in
from tests.browser.site import Watched, assert_contrast, rows
from tests.conftest import Addresses
from tests.support.receiver import receiver
from tests.support.waiting import PATIENCE_SECONDS, wait_for

HOSTILE = '<img src=x onerror="document.title=1">&amp;Bonus'
COLOURS: list[Literal["light", "dark"]] = ["light", "dark"]
WIDER = """() => [...document.querySelectorAll('html, .panel')]
    .filter(part => part.scrollWidth > part.clientWidth).map(part => part.id || part.tagName)"""


@pytest.fixture(scope="module")
def site(servers: Addresses) -> Iterator[Portal]:
    with over(servers) as opened:
        yield opened


def test_only_a_token_that_is_known_signs_in(watched: Watched, site: Portal) -> None:
    watched.failures_expected = True
    page, made = watched.page, site.approved()
    sign_in(page, site, "kith_something_else")
    expect(page.get_by_role("alert")).to_contain_text("no registration token")
    assert not [url for url in watched.asked if "/register/" in url], "a text of another form is sent nowhere"
    page.get_by_label("Registration token").fill(made.registration_token[:-4] + "____")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("Registration token").fill(made.registration_token)
    page.keyboard.press("Enter")
    expect(page.locator("#app-title")).to_have_text("Bonus")
    expect(page.locator("#state")).to_have_text("approved")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Registration token")).to_be_focused()
    expect(page.locator("main")).not_to_contain_text(made.app.id)
    page.reload()
    expect(page.get_by_label("Registration token")).to_be_visible()
    # A link brings the token behind its #, and it leaves the address bar.
    page.goto(f"{site.url}#key={made.registration_token}")
    expect(page.locator("#app-title")).to_have_text("Bonus")
    assert page.url == site.url


def test_what_the_tenant_has_decided_is_seen_without_loading_again(watched: Watched, site: Portal) -> None:
    page, made = watched.page, site.registered("relations:read", "webhooks:manage", name=HOSTILE)
    sign_in(page, site, made.registration_token)
    expect(page.locator("#app-title")).to_have_text(HOSTILE)
    expect(page.locator("main img")).to_have_count(0)
    expect(page.locator("#state")).to_have_text("pending")
    expect(page.locator("#no-endpoints")).to_contain_text("as soon as the tenant has approved it")
    scopes = [row[:3:2] for row in rows(page.locator("#scopes"))]
    assert scopes == [["relations:read", "not granted"], ["webhooks:manage", "not granted"]]
    expect(page.locator("#scopes")).to_contain_text("see what consumers who have agreed have done")
    site.agreed(made, "ada", "bob")
    site.sent_events(made, 412)
    approved = site.registry.approve(made.app)
    expect(page.locator("#state")).to_have_text("approved")
    expect(page.locator("#endpoints")).to_be_visible()
    expect(page.locator("#tile-events dd")).to_have_text("412 of 10,000")
    page.reload()
    expect(page.locator("#tile-consented data")).to_have_attribute("value", "2")
    expect(page.locator("#tile-endpoints dd")).to_have_text("0 of 20")
    watched.failures_expected = True
    site.registry.suspend(approved, "it asked <too> often")
    expect(page.locator("#state")).to_have_text("suspended")
    expect(page.locator("#app")).to_contain_text("The reason: it asked <too> often")
    expect(page.locator("#endpoints")).to_be_hidden()


def test_a_secret_is_shown_once_and_two_are_the_most(watched: Watched, site: Portal) -> None:
    # Services know a new secret after two seconds: until then they refuse tokens of it.
    watched.failures_expected = True
    page, made = watched.page, site.approved()
    sign_in(page, site, made.registration_token)
    page.get_by_role("button", name="Create a secret").click()
    text = page.locator("#fresh-secret .code").inner_text()
    assert site.registry.client(made.app.id, text) is not None
    expect(page.locator("#secrets tbody tr")).to_have_count(MOST_SECRETS)
    expect(page.get_by_role("button", name="Create a secret")).to_be_disabled()
    page.get_by_role("button", name="I have kept it").click()
    assert text not in page.content()
    page.reload()
    expect(page.locator("#secrets tbody tr")).to_have_count(MOST_SECRETS)
    assert text not in page.content()
    # The first press only asks.
    end = page.locator("#secrets tbody tr", has_text=made.secret.id).get_by_role("button")
    end.click()
    expect(end).to_have_text("Really end it?")
    assert site.registry.client(made.app.id, made.secret_text) is not None
    end.click()
    expect(page.locator("#secrets tbody tr")).to_have_count(1)
    assert site.registry.client(made.app.id, made.secret_text) is None
    assert site.registry.client(made.app.id, text) is not None
    expect(page.locator("#secrets-said")).to_contain_text(made.secret.id)


def test_endpoints_are_tested_disabled_and_what_was_given_up_is_sent_again(watched: Watched, site: Portal) -> None:
    # Faster than a person, it sends more requests in a second than the application may; the page waits then.
    watched.failures_expected, page = True, watched.page
    other = site.approved(name="Other")
    made = site.approved(limits=Limits())
    with receiver() as there:
        sign_in(page, site, made.registration_token)
        secret = added(page, there.url)
        assert secret.startswith("whsec_")
        assert secret not in page.content()
        expect(page.locator("#tile-endpoints dd")).to_have_text("1 of 20")
        page.get_by_role("button", name=f"Test: {there.url}").click()
        expect(page.locator("#deliveries tbody tr")).to_contain_text(["webhook.test"])
        expect(page.locator("#deliveries tbody tr").first).to_contain_text("200 heard")
        [found] = there.received
        id, at = found.headers["webhook-id"], int(found.headers["webhook-timestamp"])
        assert signatures(id, at, found.body, [secret]) == found.headers["webhook-signature"]

        name = page.locator("[data-log]").get_attribute("data-log")
        assert name is not None
        late = site.gave_up(name)
        expect(page.locator("#deliveries tbody tr")).to_have_count(2)
        expect(page.locator("#deliveries")).to_contain_text("500 <b>it is</b> broken")
        page.get_by_role("button", name="Given up", exact=True).click()
        page.get_by_role("button", name=f"Send again {late}").click()
        expect(page.locator("#deliveries-said")).to_have_text("1 delivery will be sent again.")
        wait_for("the second delivery", lambda: len(there.received) == 2)
        page.get_by_role("group", name="Outcome").get_by_role("button", name="Delivered").click()
        expect(page.locator("#deliveries tbody tr")).to_have_count(2)

        page.get_by_role("button", name=f"Disable: {there.url}").click()
        expect(page.locator("#endpoints tbody")).to_contain_text("disabled by request")
        expect(page.locator("#disabled-endpoints")).to_contain_text("1 endpoint disabled")
        page.get_by_role("button", name=f"Enable: {there.url}").click()
        expect(page.locator("#endpoints tbody .pill")).to_have_text("enabled")
        new = page.locator("#endpoints").get_by_role("button", name="New secret")
        new.click()
        page.get_by_role("button", name="Really a new one?").click()
        expect(page.locator("#endpoint-secret .code")).to_contain_text("whsec_")
        # Nobody else's are in sight.
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Registration token").fill(other.registration_token)
        page.keyboard.press("Enter")
        expect(page.locator("#endpoints")).to_contain_text("None of yours yet")
        expect(page.locator("main")).not_to_contain_text(there.url)


def test_what_an_application_is_told_is_seen_and_sent_again_after_one_failure(
    watched: Watched, site: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By itself nothing is tried again while the test lasts.
    monkeypatch.setattr(retry_policy, "DELAYS", (86_400.0,) * 9)
    watched.failures_expected, page = True, watched.page
    made = site.approved()
    sign_in(page, site, made.registration_token)
    told = page.locator("#receipts tbody tr")
    expect(page.locator("#receipts")).to_contain_text("Nothing yet.")
    site.erased(made, HOSTILE)
    expect(told).to_contain_text("Waiting the application has no webhook endpoint")
    expect(told).to_contain_text(HOSTILE)
    with receiver() as there:
        there.rule = lambda _: 500
        added(page, there.url)
        expect(told).to_contain_text("Queued the endpoint answered 500")
        there.rule = lambda _: 200
        page.get_by_role("button", name="Send again consumer.erased").click()
        expect(page.locator("#receipts-said")).to_have_text("It will be sent again.")
        expect(told.locator(".pill")).to_have_text("Delivered")
        expect(page.locator("#receipts button", has_text="Send again")).to_have_count(0)
        assert len(set(there.ids)) == 1
    page.get_by_role("group", name="State").get_by_role("button", name="Failed").click()
    expect(page.locator("#receipts")).to_contain_text("None is in this state.")


def test_a_link_does_not_sign_in_with_another_application_unasked(watched: Watched, site: Portal) -> None:
    page, one, other = watched.page, site.approved(name="One"), site.approved(name="Other")
    sign_in(page, site, one.registration_token)
    expect(page.locator("#app-title")).to_have_text("One")
    link = f"location.hash = 'key={other.registration_token}'"
    page.evaluate(link)
    expect(page.locator("main")).to_contain_text(f"The link that you have followed is for {other.app.id}.")
    assert page.url == site.url
    page.get_by_role("button", name=f"Stay with {one.app.id}").click()
    expect(page.locator("#app-title")).to_have_text("One")
    # As it is taken from a header, too.
    page.evaluate(link.replace("key=", "key=Bearer%20"))
    page.get_by_role("button", name=f"Sign in with {other.app.id}").click()
    expect(page.locator("#app-title")).to_have_text("Other")
    # Of the same application: nothing to ask.
    page.evaluate(link)
    expect(page.locator("#app-title")).to_have_text("Other")


def test_the_tenant_sees_the_endpoints_of_applications_in_the_dashboard(page: Page, site: Portal) -> None:
    made = site.approved()
    with receiver() as there:
        url = f"{there.url}/{made.app.id}"
        sign_in(page, site, made.registration_token)
        added(page, url)
        name = page.locator("[data-log]").get_attribute("data-log")
        assert name is not None
        late = site.gave_up(name)
        page.goto(site.operators)
        expect(page.locator("nav a:visible")).to_have_text(["Relationships", "Map", "Webhooks"])
        page.get_by_role("button", name=f"Log: {url}").click()
        page.get_by_role("button", name=f"Send again {late}").click()
        wait_for("the delivery", lambda: len(there.received) == 1)
        expect(page.locator("#deliveries tbody tr").first).to_contain_text("200 heard")
        page.get_by_role("button", name=f"Disable: {url}").click()
        row = page.locator("#endpoints tbody tr", has_text=url)
        expect(row).to_contain_text("disabled by request")
        assert_contrast(page)


@contextmanager
def started(argv: list[str], folder: Path, **more: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        argv, cwd=folder, env={**os.environ, **more}, stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def programs() -> dict[str, list[str]]:
    """How each language of the page is run. Node.js need not be there, unless .ci/run has found it."""
    found = {"curl": ["sh"], "Python": [sys.executable]}
    if (node := shutil.which("node")) is not None:
        found["JavaScript"] = [node]
    elif os.environ.get("KITH_TEST_NODE") == "required":
        pytest.fail("there is no Node.js for the code of the portal: apt-get install nodejs")
    return found


def shown(page: Page, task: str, language: str, file: Path) -> None:
    """Write the code that the page shows for a task into a file."""
    page.get_by_role("button", name=task).click()
    page.get_by_role("button", name=language, exact=True).click()
    marks = {"curl": "# ", "Python": '"""', "JavaScript": "// "}
    expect(page.locator(".source")).to_have_text(re.compile(f"^{marks[language]}"))
    expect(page.locator(".source")).to_have_text(
        re.compile("oauth/token" if task.startswith("Get") else "SECRET[^$]*whsec|KITH_WEBHOOK_SECRET")
    )
    file.write_text(page.locator(".source").inner_text())


def test_the_code_to_copy_works_as_it_is_shown(page: Page, site: Portal, tmp_path: Path) -> None:
    made = site.approved()
    site.agreed(made, "o'neil & co", "eve")
    sign_in(page, site, made.registration_token)
    page.get_by_label("Consumer to ask about").fill("o'neil & co")
    for language, program in programs().items():
        file = tmp_path / {"curl": "call.sh", "Python": "call.py", "JavaScript": "call.mjs"}[language]
        shown(page, "Get a token, call an API", language, file)
        environment = {**os.environ, "KITH_CLIENT_SECRET": made.secret_text, "no_proxy": "*"}
        done = subprocess.run(
            [*program, file],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        [relation] = orjson.loads(done.stdout)["items"]
        assert (relation["consumer_id"], relation["kind"]) == ("o'neil & co", "view"), language
    secret = ""
    for language, program in programs().items():
        file = tmp_path / {"curl": "verify.sh", "Python": "receive.py", "JavaScript": "receive.mjs"}[language]
        shown(page, "Verify a webhook", language, file)
        if language == "curl":
            continue
        [port] = free_ports(1)
        url = f"http://127.0.0.1:{port}/"
        secret = added(page, url)
        with started([*program, str(file)], tmp_path, PORT=str(port), KITH_WEBHOOK_SECRET=secret) as process:
            page.get_by_role("button", name=f"Test: {url}").click()
            expect(page.locator("#deliveries-title")).to_contain_text(url)
            expect(page.locator("#deliveries tbody")).to_contain_text("204")
            assert process.stdout is not None
            assert "webhook.test" in process.stdout.readline()
            with socket.create_connection(("127.0.0.1", port), 60) as greedy:
                head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
                with suppress(ConnectionError):
                    greedy.sendall(head + b" " * 3_000_000)
                    assert greedy.recv(100) == b"", "more than a delivery is not taken"
            with socket.create_connection(("127.0.0.1", port), 60) as hasty:
                hasty.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            with socket.create_connection(("127.0.0.1", port), 60) as unsigned:
                unsigned.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
                assert b" 401 " in unsigned.recv(100), "whoever breaks off ends nothing"
        # With another secret the very same delivery is not taken.
        with started(
            [*program, str(file)], tmp_path, PORT=str(port), KITH_WEBHOOK_SECRET="whsec_" + "A" * 43 + "="
        ):
            page.get_by_role("button", name=f"Test: {url}").click()
            expect(page.locator("#deliveries tbody")).to_contain_text("401")
    verified_by_shell(tmp_path / "verify.sh", secret)


def verified_by_shell(file: Path, secret: str) -> None:
    """A delivery that was kept, and one that somebody has changed."""
    body = b'{"type":"webhook.test","data":{"message":"\xc3\xbc"}}'
    (file.parent / "body.json").write_bytes(body)
    parts = {"WEBHOOK_ID": "msg_1", "WEBHOOK_TIMESTAMP": "1790000000", "KITH_WEBHOOK_SECRET": secret}
    good = signatures("msg_1", 1790000000, body, [secret])
    spoilt = f"v1,{'B' if good[3] == 'A' else 'A'}{good[4:]}"
    for signature, status in ((f"v1a,x {good}", 0), (spoilt, 1), ("", 1)):
        environment = {**os.environ, **parts, "WEBHOOK_SIGNATURE": signature}
        done = subprocess.run(["sh", file], cwd=file.parent, env=environment, check=False, capture_output=True)
        assert done.returncode == status, (signature, done)


@pytest.mark.parametrize("colour", COLOURS)
def test_the_portal_is_read_in_both_colours_on_a_phone_and_by_keyboard(
    watched: Watched, site: Portal, colour: Literal["light", "dark"]
) -> None:
    page, made = watched.page, site.approved(name=HOSTILE)
    page.emulate_media(color_scheme=colour)
    with receiver() as there:
        sign_in(page, site, made.registration_token)
        added(page, there.url + "/a-long-path" * 12)
        expect(page.locator("#endpoints table")).to_be_visible()
        page.get_by_role("button", name="Test").click()
        expect(page.locator("#deliveries table")).to_be_visible()
        expect(page.locator(".source")).to_contain_text("def token")
        assert_contrast(page)
        page.set_viewport_size({"width": 380, "height": 800})
        assert page.evaluate(WIDER) == []
    # Everything that can be pressed is reached by the keyboard, in the order of the page.
    page.locator("h1").click()
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
            )
        )
    for name in ("Sign out", "Create a secret", "Given up", "JavaScript", "Copy the code"):
        assert name in seen, name
