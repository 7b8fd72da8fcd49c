"""The page for operators, on real Kafka and MongoDB: what it shows, and that a dead letter can be replayed."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Literal

import pytest
from playwright.sync_api import expect
from pymongo.database import Database

from services.analytics.api import create_app
from services.analytics.dashboard.operations import Readings, add_operations
from services.analytics.dashboard.pages import add_pages
from services.analytics.dashboard.versions import Versions
from services.analytics.queries import AnalyticsQueries
from shared.access.guard import Access
from shared.contracts.errors import InvalidEvent
from shared.http.caller import METRICS_READ, Caller
from shared.kafka.clients import open_publisher
from shared.letters.store import letters_in
from shared.mongo.store import connect
from shared.observability.heartbeat import WORKERS, Heartbeat
from shared.observability.status import Status, StatusReader
from shared.runtime.dead_letters import COLLECTION, document
from shared.runtime.protocols import Document, Message, Partition, Record
from shared.settings import Settings
from shared.versions.generations import Generations
from shared.versions.mongo_registry import MongoRegistry
from tests.browser.site import Watched, assert_contrast, rows
from tests.support.builders import OPEN
from tests.support.serving import Server

COLOURS: list[Literal["light", "dark"]] = ["light", "dark"]


class Installation:
    """Analytics alone, over a log of three messages of which one is stored, a worker, a version that is being
    built, and three open dead letters: one of this tenant, one of another, one of nobody knows whom."""

    def __init__(self, settings: Settings, database: Database[Document]) -> None:
        self.settings, self.database = settings, database
        self.topic = f"{settings.topic_prefix}.relations"
        publisher = open_publisher(settings)
        publisher.send([Message(self.topic, b"default:c1", b"{}", 0) for _ in range(3)]).result()
        publisher.close()
        self.database["positions"].insert_many(
            [
                {"_id": f"relations@1/{self.topic}/0", "next": 1, "owner": "one/1", "moved": datetime.now(UTC)},
                {"_id": f"relations@2/{self.topic}/0", "next": 2},
            ]
        )
        MongoRegistry(database, "relations").replace(Generations(), Generations(building=2, last=2))
        # It goes on giving signs of life: on a slow machine a test takes longer than one lasts.
        self.heartbeat = Heartbeat(database, "relations", "one/1", dict)
        self.heartbeat.beat()
        for offset, value in enumerate(
            (b'{"tenant":"default","type":"relation.recorded"}', b'{"tenant":"acme"}', b"%")
        ):
            record = Record(Partition(self.topic, 1), offset, 1_790_000_000_000 + offset, b"default:c1", value, ())
            letter = document(
                record, InvalidEvent("invalid", "must be a whole number", "data.amount"), "relations"
            )
            database[COLLECTION].insert_one(letter)
        readings = Readings(lambda: StatusReader(settings, database))
        self.app = create_app(AnalyticsQueries(database), list, access=OPEN)
        letters = letters_in(settings, database)
        add_operations(self.app, readings, Versions(database), letters, lambda: open_publisher(settings))
        add_pages(self.app)
        self.server = Server(self.app)
        self.readings = readings
        self.url = f"{self.server.url}/dashboard/?view=operations"

    def status(self) -> Status:
        with StatusReader(self.settings, self.database) as reader:
            return reader.read()


@pytest.fixture
def installation(real_settings: Settings) -> Iterator[Installation]:
    settings = real_settings.model_copy(update={"encryption": "off"})
    assert settings.mongo is not None
    with connect(settings.mongo) as client, ExitStack() as stack:
        found = Installation(settings, client[settings.database])
        stack.callback(found.readings.close)
        for part in (found.heartbeat, found.server):
            part.start()
            stack.callback(part.stop)
        yield found


def test_what_an_operator_sees(watched: Watched, installation: Installation) -> None:
    page = watched.page
    page.goto(installation.url)
    expect(page.locator("#partitions table")).to_be_visible()
    status = installation.status()
    shown = [[row[0], *row[1:4]] for row in rows(page.locator("#partitions"))]
    assert shown == [
        [
            f"{p.service}: {p.topic}/{p.partition}",
            "–" if p.stored is None else str(p.stored),
            str(p.end),
            str(p.lag),
        ]
        for p in status.partitions
    ]
    assert [f"relations: {installation.topic}/0", "1", "3", "2"] in shown
    lags = {row[0]: row[1] for row in rows(page.locator("#lag table").first)}
    assert lags == {service: str(lag) for service, lag in status.lag.items()}
    assert ["one/1", "relations", "alive", "2", "1"] in rows(page.locator("#workers"))
    assert ["relations", "1", "2", "–"] in rows(page.locator("#versions")), "two messages are in version 2"

    # Two more messages are stored: the lag falls, and the throughput shows it.
    installation.database["positions"].update_one(
        {"_id": f"relations@1/{installation.topic}/0"}, {"$set": {"next": 3}}
    )
    cells = page.locator("#lag tbody tr", has_text="relations").first.locator("data")
    expect(cells).to_have_attribute("value", "0")
    expect(page.locator("#throughput-data tbody tr")).not_to_have_count(0)
    rates = [float(row[1]) for row in rows(page.locator("#throughput-data"))]
    assert max(rates) > 0
    page.set_viewport_size({"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert sum(shift[0] for shift in watched.shifts) < 0.01, watched.shifts


def test_a_dead_letter_is_replayed(watched: Watched, installation: Installation) -> None:
    page = watched.page
    page.goto(installation.url)
    letters = page.locator("#letters tbody tr")
    expect(letters).to_have_count(2)
    expect(page.locator("#letters")).not_to_contain_text("/1/1")
    expect(letters.first).to_contain_text("data.amount: must be a whole number")
    assert rows(page.locator("#reasons")) == [["invalid", "2"]]
    id = f"{installation.topic}/1/0"
    page.get_by_role("button", name=f"Show {id}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("data.amount: must be a whole number")
    expect(dialog.locator(".message")).to_contain_text('"type": "relation.recorded"')
    expect(dialog.locator(".failed")).to_have_text("data.amount is not in the message.")
    expect(dialog).to_contain_text(id)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    before = sum(p.end for p in installation.status().partitions if p.topic == installation.topic)
    page.get_by_role("button", name=f"Replay {id}").click()
    expect(page.locator("#letters-said")).to_have_text("1 published again.")
    expect(letters).to_have_count(1)
    assert sum(p.end for p in installation.status().partitions if p.topic == installation.topic) == before + 1
    stored = installation.database[COLLECTION].find_one({"_id": id}) or {}
    assert stored["replays"] == 1
    page.get_by_role("button", name="Replay those shown").click()
    expect(page.locator("#letters")).to_contain_text("None are open.")
    assert installation.database[COLLECTION].count_documents({"replayed_at": None}) == 1, (
        "the other tenant's stays"
    )


def test_a_dead_letter_by_the_keyboard_alone(watched: Watched, installation: Installation) -> None:
    page = watched.page
    page.goto(installation.url)
    id = f"{installation.topic}/1/0"
    show = page.get_by_role("button", name=f"Show {id}")
    show.focus()
    # The list is renewed every few seconds, and the focus stays on what took the button's place.
    handle = show.element_handle()
    assert handle is not None
    page.wait_for_function("button => !button.isConnected", arg=handle)
    expect(show).to_be_focused()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".message")).to_be_visible()
    # Close, copy, the message; then out to the browser's own controls and around, never to the page behind.
    seen = []
    for _ in range(8):
        seen.append(
            page.evaluate(
                "[document.activeElement.textContent.trim() || document.activeElement.ariaLabel,"
                " document.activeElement === document.body || !!document.activeElement.closest('#letter')]"
            )
        )
        page.keyboard.press("Tab")
    assert all(inside for _, inside in seen), seen
    names = [name for name, _ in seen]
    assert names[0] == "Close"
    assert {"Close", f"Copy the letter's id {id}"} <= set(names)
    assert any("relation.recorded" in name for name in names), "a long message can be scrolled"
    # While it is open, the list behind it is renewed; closed, the focus is where it was.
    handle = page.locator(f"#letters button[aria-label='Show {id}']").element_handle()
    page.wait_for_function("button => !button.isConnected", arg=handle)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(show).to_be_focused()


@pytest.mark.parametrize("colours", COLOURS)
def test_every_text_has_the_contrast_of_wcag_aa(
    watched: Watched, installation: Installation, colours: Literal["light", "dark"]
) -> None:
    page = watched.page
    page.emulate_media(color_scheme=colours)
    # A worker that is alive, and one that has been silent for long.
    Heartbeat(installation.database, "relations", "two/1", dict).beat()
    long_ago = {"$set": {"at": datetime(2026, 1, 1, tzinfo=UTC)}}
    assert installation.database[WORKERS].update_one({"owner": "two/1"}, long_ago).modified_count == 1
    installation.database["positions"].insert_one(
        {"_id": f"relations@1/{installation.topic}/1", "next": 0, "owner": "two/1", "moved": datetime.now(UTC)}
    )
    page.goto(installation.url)
    expect(page.locator("#workers .pill.good")).to_have_count(1)
    expect(page.locator("#workers .pill.bad")).to_have_count(1)
    expect(page.locator("#letters tbody tr")).to_have_count(2)
    expect(page.locator("#throughput-data tbody tr")).not_to_have_count(0)
    page.get_by_role("button", name=f"Replay {installation.topic}/1/0").click()
    expect(page.locator("#letters-said")).to_have_text("1 published again.")
    assert_contrast(page)


class Watchman:
    """Whoever may watch, and do nothing."""

    async def caller(self, text: str) -> Caller:
        return Caller("default", frozenset({METRICS_READ}), name=text, key="kith_w")


def test_without_the_scope_admin_dead_letters_stay_hidden(watched: Watched, installation: Installation) -> None:
    watched.failures_expected = True
    installation.app.state.access = Access(Watchman())
    watched.page.goto(installation.url + "#key=kith_watch")
    expect(watched.page.locator("#partitions table")).to_be_visible()
    expect(watched.page.locator("#letters, #reasons")).to_have_count(0)
    assert not [url for url in watched.asked if "dead-letters" in url], "what is not shown is not asked for"
    for colours in COLOURS:
        watched.page.emulate_media(color_scheme=colours)
        assert_contrast(watched.page)
