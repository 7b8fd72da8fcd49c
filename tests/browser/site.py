"""The dashboard over a known market, served on this machine, and what a test reads from the page."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

from playwright.sync_api import Locator, Page
from pymongo.database import Database

from services.analytics.dashboard.figures import FiguresReader
from services.analytics.dashboard.live import add_live
from services.analytics.dashboard.pages import add_pages
from services.intelligence.api import create_app as intelligence_app
from shared.access.guard import Access
from shared.contracts.events import Event
from shared.http.cors import allow_origins
from shared.runtime.protocols import Document, Message
from tests.support.analytics_driver import TOPIC, Driver
from tests.support.builders import OPEN
from tests.support.intelligence import over as intelligence_over
from tests.support.measures_world import NOW, World
from tests.support.relations_driver import MongoKith
from tests.support.serving import Server

#: The days of the market that are looked at: `to` is the last that counts.
PERIOD = "from=2026-08-24&to=2026-11-21"


class Site:
    """Both services over a market that may grow. ``table`` is what pandas makes of the raw events."""

    def __init__(self, database: Database[Document], scratch: Database[Document]) -> None:
        self.world = World(database)
        self._database, self.scratch = database, scratch
        self._position = 0
        reader = FiguresReader(database, str, str, self.clock)
        add_live(self.world.analytics, reader)
        self.analytics, self.relations = Server(self.world.analytics), Server(self.world.relations)
        self.advice = intelligence_app(*intelligence_over(database), list, access=OPEN)
        self.intelligence = Server(self.advice)
        self.url = self.analytics.url
        add_pages(self.world.analytics, relations=self.relations.url, intelligence=self.intelligence.url)
        allow_origins(self.world.relations, [self.url])
        allow_origins(self.advice, [self.url])

    @staticmethod
    def clock() -> datetime:
        return NOW

    @contextmanager
    def open(self) -> Iterator["Site"]:
        with ExitStack() as stack:
            for server in (self.analytics, self.relations, self.intelligence):
                server.start()
                stack.callback(server.stop)
            yield self

    @contextmanager
    def guarded_by(self, access: Access) -> Iterator[None]:
        """Not open to anyone meanwhile."""
        apps = self.world.analytics, self.world.relations, self.advice
        for app in apps:
            app.state.access = access
        try:
            yield
        finally:
            for app in apps:
                app.state.access = OPEN

    def advise(self) -> None:
        """Let intelligence answer from what the database holds now."""
        self.advice = intelligence_app(*intelligence_over(self._database), list, access=OPEN)
        allow_origins(self.advice, [self.url])
        self.intelligence.serve(self.advice)

    def page(self, view: str = "overview", **more: str) -> str:
        further = "".join(f"&{name}={value}" for name, value in more.items())
        return f"{self.url}/dashboard/?view={view}&{PERIOD}{further}"

    def add(self, *events: Event) -> None:
        """These come after everything that is there: what is stored becomes what it would be with them."""
        self.world.events += events
        self.scratch.client.drop_database(self.scratch.name)
        kith, driver = MongoKith(self.scratch), Driver()
        kith.store(self.world.events)
        for partition, records in kith.memory.log.records.items():
            if partition.topic == TOPIC and records:
                driver.feed([Message(TOPIC, r.key, r.value or b"", partition.number, r.headers) for r in records])
        for name, documents in driver.stored.items():
            for document in documents.values():
                self._database[name].replace_one({"_id": document["_id"]}, document, upsert=True)
            self._database[name].delete_many({"_id": {"$nin": list(documents)}})
        self._position += 1
        place = {"_id": f"analytics@1/{TOPIC}/0"}
        self._database["positions"].replace_one(place, {**place, "next": self._position}, upsert=True)


def rows(part: Locator) -> list[list[str]]:
    """The rows of a table: of each cell the exact value behind it, or else its text."""
    script = """body => [...body.querySelectorAll('tbody tr')].map(row => [...row.cells].map(
        cell => cell.querySelector('data')?.value ?? cell.textContent.trim()))"""
    found: list[list[str]] = part.evaluate(script)
    return found


#: Of every text that can be seen: its colour's contrast with what is behind it, by WCAG's formula.
CONTRAST = """() => {
  const channel = v => (v /= 255, v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const parse = text => text.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility({visibilityProperty: true}) || element.closest(':disabled')) continue;
    const style = getComputedStyle(element), inSvg = element instanceof SVGElement;
    const [a, b] = [light(parse(inSvg ? style.fill : style.color)), light(behind(element))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    found.push([text, ratio]);
  }
  return found;
}"""


def assert_contrast(page: Page) -> None:
    """Every text in sight, tables behind charts included, has the contrast of WCAG AA."""
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    found = page.evaluate(CONTRAST)
    assert len(found) > 20
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []


class Watched:
    """What a page says to its developers, and how far its parts move by themselves."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        #: Set by a test that takes a server away: a browser says of each failed request that it failed.
        self.failures_expected = False
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.add_init_script(
            "window.shifts = []; new PerformanceObserver(list => { for (const e of list.getEntries())"
            " if (!e.hadRecentInput) shifts.push([e.value, ...e.sources.map(s => s.node?.id)]) })"
            ".observe({type: 'layout-shift', buffered: true})"
        )

    @property
    def shifts(self) -> list[Any]:
        found: list[Any] = self.page.evaluate("shifts")
        return found
