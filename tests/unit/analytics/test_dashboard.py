"""The dashboard without a browser or servers: the stream of figures, the files, who may ask from a page."""

import asyncio
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import httpx
import orjson
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from services.analytics.api import create_app as analytics_app
from services.analytics.dashboard import live
from services.analytics.dashboard.figures import DayFigures, Extent, ExtentQuery, Figures, FiguresQuery, Sums
from services.analytics.dashboard.live import Stream, add_live, change
from services.analytics.dashboard.operations import Readings
from services.analytics.dashboard.pages import PACKAGE, add_pages
from services.demo.report import dashboard
from services.relations.api import create_app as relations_app
from services.webhooks.api import create_app as webhooks_app
from shared.access.guard import Access
from shared.access.keys import ApiKeys
from shared.access.keys_memory import MemoryKeys
from shared.access.lookup import FRESH_SECONDS, KeyLookup
from shared.contracts.errors import Unavailable
from shared.contracts.limits import Most
from shared.http import streams
from shared.http.caller import Caller
from shared.http.cors import allow_origins
from shared.http.fair_pool import FairPool
from shared.http.limits import Limits
from shared.http.page_files import load
from shared.http.serving import _Server
from shared.measures.query import BadMeasure
from shared.observability.status import Status
from shared.settings import Settings, portal_origins, urls_for_browsers
from tests.support.analytics_driver import get
from tests.support.builders import OPEN, STRENGTH
from tests.support.measures_world import NOW
from tests.support.raw_http import head, served
from tests.support.waiting import PATIENCE_SECONDS

Json = dict[str, Any]
FIRST = date(2026, 11, 1)


def figures(counts: dict[int, int]) -> Figures:
    """So many relations of 5 cents each on the days of November."""
    sums = [
        DayFigures(
            day=FIRST + timedelta(days=at),
            count=n,
            amount={"EUR": 5 * n},
            rating_count=0,
            rating_sum=0,
            consumers=n,
        )
        for at, n in sorted(counts.items())
        if n
    ]
    count = sum(counts.values())
    total = Sums(count=count, amount={"EUR": 5 * count}, rating_count=0, rating_sum=0)
    return Figures(first=FIRST, last=FIRST + timedelta(days=9), total=total, kinds=["view"], days=sums)


days = st.dictionaries(st.integers(0, 9), st.integers(0, 3))


@given(days, days)
def test_a_change_makes_the_old_figures_the_new_ones(one: dict[int, int], other: dict[int, int]) -> None:
    before, after = (figures(counts).model_dump(mode="json") for counts in (one, other))
    moved = change(before, after)
    if before == after:
        assert moved is None
        return
    assert moved is not None
    known = {day["day"]: day for day in before["days"]}
    assert all(known.get(day["day"]) != day for day in moved["days"]), "only what differs is sent"
    known |= {day["day"]: day for day in moved["days"]}
    days = [day for _, day in sorted(known.items()) if day["count"]]
    assert {**moved, "days": days} == after


class Scripted:
    """Gives one after the other; an exception is raised. Each has a mark of its own."""

    def __init__(self, *given: Figures | Exception) -> None:
        self.given = list(given)

    def mark(self) -> tuple[object, ...]:
        return (len(self.given) > 1 and len(self.given),)

    def extent(self, _: str, __: ExtentQuery) -> Extent:
        return Extent(first=FIRST, last=FIRST)

    def read(self, _: str, __: FiguresQuery) -> Figures:
        found = self.given.pop(0) if len(self.given) > 1 else self.given[0]
        if isinstance(found, Exception):
            raise found
        return found


def heard(
    reader: live.Reader, monkeypatch: pytest.MonkeyPatch, most: int, masks: tuple[str, ...] = ()
) -> list[tuple[str, Any]]:
    """The first events of a stream, and its beats; the process then stops."""
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(live, "BEAT_SECONDS", 0.0)
    found: list[tuple[str, Any]] = []

    async def listen() -> None:
        stream = Stream(
            reader,
            Caller("default", frozenset(), masks),
            FiguresQuery.model_validate({}),
            FairPool("test", 1, Most(1, 1, 1)),
            lambda: len(found) >= most,
        )
        first = await stream.news()
        assert first is not None
        async for event in stream.events(first):
            parts = re.fullmatch(rb"event: (\w+)\ndata: (.*)\n\n", event)
            found.append((parts[1].decode(), orjson.loads(parts[2])) if parts else (event.decode(), None))

    asyncio.run(listen())
    return found


def test_a_stream_gives_everything_and_then_what_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    events = heard(Scripted(figures({1: 2, 2: 1}), figures({1: 2, 2: 4})), monkeypatch, 3)
    assert [name for name, _ in events] == ["figures", "change", ": beat\n\n"]
    assert [day["count"] for day in events[0][1]["days"]] == [2, 1]
    assert [(day["day"], day["count"]) for day in events[1][1]["days"]] == [("2026-11-03", 4)]
    assert events[1][1]["total"]["count"] == 6


def test_while_mongodb_is_away_it_says_so_and_then_gives_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    events = heard(Scripted(figures({1: 2}), Unavailable("away"), figures({1: 2})), monkeypatch, 3)
    assert [name for name, _ in events] == ["figures", "away", "figures"]


def test_what_can_no_longer_be_asked_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    events = heard(Scripted(figures({1: 2}), BadMeasure("category", "has too many")), monkeypatch, 9)
    assert events[-1] == ("failed", {"detail": "category: has too many"})


def test_what_is_masked_for_the_caller_is_masked_in_events(monkeypatch: pytest.MonkeyPatch) -> None:
    events = heard(Scripted(figures({1: 2}), figures({1: 3})), monkeypatch, 2, masks=("amount",))
    for _, data in events:
        assert data["total"]["amount"] == data["days"][0]["amount"] == "•••"
        assert data["masked"] == ["amount"]


NO_STREAM = replace(Limits.usual(), streams=Most(0, 0, 0))


def test_streams_are_bounded_and_what_fails_at_once_is_a_problem() -> None:
    access = Access(open=True, limits=replace(Limits.usual(), streams=Most(1, 1, 1)))
    app = analytics_app(cast(Any, None), list, cast(Any, list), access=access)
    add_live(app, Scripted(BadMeasure("from", "too early")))
    assert get(app, "/v1/live").status_code == 400
    assert get(app, "/v1/live?kind=No+such").status_code == 422
    # What failed has given its place back.
    assert get(app, "/v1/live").status_code == 400
    app = analytics_app(cast(Any, None), list, cast(Any, list), access=Access(open=True, limits=NO_STREAM))
    add_live(app, Scripted(figures({1: 2})))
    full = get(app, "/v1/live")
    assert (full.status_code, full.headers["retry-after"]) == (503, "5")


class Named:
    """A key's text is its name, and everybody may read."""

    async def caller(self, text: str) -> Caller:
        return Caller("default", frozenset({"analytics:read"}), key=text)


def test_no_credential_takes_all_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_LOOK_SECONDS", 0.0)
    limits = replace(Limits.usual(), streams=Most(1, 3, 3))
    app = analytics_app(cast(Any, None), list, access=Access(Named(), limits=limits))
    add_live(app, Scripted(figures({1: 2})))

    async def status(key: str, begun: asyncio.Event) -> int:
        """Of a stream that is read until the process is to stop."""
        found = 0

        async def receive() -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError("nobody sends anything more")

        async def send(message: Any) -> None:
            nonlocal found
            found = message.get("status", found)
            if message["type"] == "http.response.body":
                begun.set()

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/live",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer kith_" + key.encode())],
        }
        await app({**scope, "asgi": {"version": "3.0", "spec_version": "2.4"}}, receive, send)
        return found

    async def ask() -> list[int]:
        streams = []
        for key in ("one", "one", "other"):
            begun = asyncio.Event()
            streams.append(asyncio.create_task(status(key, begun)))
            await begun.wait()
        app.state.stopping = True
        return await asyncio.gather(*streams)

    assert asyncio.run(ask()) == [200, 429, 200]


class Gated(Scripted):
    """Blocks those who read for one tenant until it is let go."""

    def __init__(self) -> None:
        super().__init__(figures({1: 2}))
        self.go_on = threading.Event()

    def read(self, tenant: str, query: FiguresQuery) -> Figures:
        if tenant == "a":
            assert self.go_on.wait(PATIENCE_SECONDS)
        return super().read(tenant, query)


class TenantKeys:
    """A key is tenant and number, as in kith_a-1."""

    async def caller(self, text: str) -> Caller:
        return Caller(text.removeprefix("kith_")[0], frozenset({"analytics:read"}), key=text)


def test_however_many_streams_are_opened_at_once_no_more_are_than_allowed_and_another_tenants_is() -> None:
    reader = Gated()

    async def story() -> None:
        limits = replace(Limits.usual(), streams=Most(4, 6, 8))
        app = analytics_app(cast(Any, None), list, access=Access(TenantKeys(), limits=limits))
        add_live(app, reader)
        async with served(app) as server:
            # All are there before the first has its figures, which none of them gets.
            flood = [await server.open(head("/v1/live", "kith_a-1")) for _ in range(30)]
            refused = [asyncio.create_task(client.answer()) for client in flood]
            while sum(each.done() for each in refused) < 26:
                await asyncio.sleep(0.005)
            assert {(await each)[0] for each in refused if each.done()} == {429}
            other = await server.open(head("/v1/live", "kith_b-1"))
            assert (await other.reader.readuntil(b"\n\n")).startswith(b"HTTP/1.1 200")
            assert sum(each.done() for each in refused) == 26
            reader.go_on.set()
            for each in refused:
                each.cancel()

    asyncio.run(story())


def test_a_stream_ends_when_its_key_is_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "RECHECK_SECONDS", 0.01)
    keys = MemoryKeys()
    issued = ApiKeys(keys, lambda: datetime.now(UTC))
    key, text = issued.create("a", "till", ["analytics:read"])
    _, kept = issued.create("a", "other", ["analytics:read"])

    async def story() -> None:
        app = analytics_app(cast(Any, None), list, access=Access(KeyLookup(keys, fresh_seconds=0.01)))
        add_live(app, Scripted(figures({1: 2})))
        async with served(app) as server:
            ending, going_on = [await server.open(head("/v1/live", each)) for each in (text, kept)]
            for each in (ending, going_on):
                await each.reader.readuntil(b"event: figures")
            issued.revoke(key.prefix)
            # The end of a chunked answer, as it always ends.
            await asyncio.wait_for(ending.reader.readuntil(b"\r\n0\r\n\r\n"), PATIENCE_SECONDS)
            assert not going_on.reader.at_eof()
            again = await server.open(head("/v1/live", text))
            assert (await again.answer())[0] == 401

    asyncio.run(story())


def test_the_two_waits_before_a_stream_ends_are_five_seconds_at_most() -> None:
    assert streams.RECHECK_SECONDS + FRESH_SECONDS < 5


def test_a_process_that_is_told_to_stop_ends_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    import uvicorn

    # Else this process would be ended, with all of its tests, as one that does not stop.
    monkeypatch.setattr("shared.http.serving.end_within", lambda: None)
    app = FastAPI()
    _Server(uvicorn.Config(app, log_config=None)).handle_exit(15, None)
    assert app.state.stopping


@pytest.fixture
def site() -> FastAPI:
    app = analytics_app(cast(Any, None), list, access=OPEN)
    add_pages(app)
    return app


def test_every_file_that_is_named_is_there(site: FastAPI) -> None:
    files = load(PACKAGE)
    for name, file in files.items():
        folder = name.rpartition("/")[0]
        if name.endswith((".js", ".html")):
            text = file.content.decode()
            named = re.findall(r"""(?:from |import\(|href=|src=)["'](?!\?|#)([^"']+)["']""", text)
            for path in named:
                parts = [part for part in f"{folder}/{path}".split("/") if part not in ("", ".")]
                while ".." in parts:
                    at = parts.index("..")
                    del parts[at - 1 : at + 1]
                assert "/".join(parts) in files, f"{name} names {path}"
        answer = get(site, f"/dashboard/{name}")
        assert answer.status_code == 200
        assert answer.content == file.content
        assert get(site, f"/dashboard/{name}", headers={"If-None-Match": file.tag}).status_code == 304


def test_the_page_names_no_other_place_and_holds_no_style_or_script(site: FastAPI) -> None:
    for name, file in load(PACKAGE).items():
        if name != "world.json":
            text = file.content.decode().replace("http://www.w3.org/2000/svg", "")
            assert "://" not in text, name
            assert not re.search(r"<script(?![^>]*src=)|<style| style=|innerHTML|\beval\b", text), name
    for path in ("/dashboard/", "/"):
        assert get(site, path).status_code in (200, 307)


@pytest.mark.parametrize("path", ["../pages.py", "..%2Fpages.py", "charts", "nothing.js", "%2Fetc%2Fpasswd"])
def test_nothing_else_is_given_away(site: FastAPI, path: str) -> None:
    assert get(site, f"/dashboard/{path}").status_code == 404


@pytest.mark.parametrize(
    "host", ["kith.example:8703", "127.0.0.1:8703", "[::1]:8703", "evil.example", "evil;script-src *"]
)
def test_the_policy_names_the_other_apis_whatever_the_request_says_of_the_host(site: FastAPI, host: str) -> None:
    policy = get(site, "/dashboard/", headers={"Host": host}).headers["content-security-policy"]
    assert policy.count(";") == 7
    assert "connect-src 'self' http://127.0.0.1:8702 http://127.0.0.1:8706 http://127.0.0.1:8707;" in policy
    config = get(site, "/dashboard/config.json", headers={"Host": host}).json()
    assert config == {
        "relations": "http://127.0.0.1:8702",
        "intelligence": "http://127.0.0.1:8706",
        "webhooks": "http://127.0.0.1:8707",
    }


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "http://127.0.0.1:8702"),
        ({"host": "0.0.0.0", "relations_port": 9000}, "http://127.0.0.1:9000"),
        ({"host": "::"}, "http://127.0.0.1:8702"),
        ({"host": "::1"}, "http://[::1]:8702"),
        ({"host": "kith.internal", "tls_cert_file": "x.pem"}, "https://kith.internal:8702"),
        ({"host": "0.0.0.0", "relations_url": "https://kith.example/r/"}, "https://kith.example/r/"),
    ],
)
def test_where_browsers_find_the_other_apis_is_a_setting(given: dict[str, Any], address: str) -> None:
    settings = Settings(**given)
    assert urls_for_browsers(settings, ["relations"]) == {"relations": address}


def test_the_relations_api_can_be_elsewhere() -> None:
    app = analytics_app(cast(Any, None), list, access=OPEN)
    add_pages(app, relations="https://kith.example/relations/", intelligence="https://advice.example/")
    assert get(app, "/dashboard/config.json").json() == {
        "relations": "https://kith.example/relations",
        "intelligence": "https://advice.example",
        "webhooks": "http://127.0.0.1:8707",
    }
    policy = get(app, "/dashboard/").headers["content-security-policy"]
    assert "connect-src 'self' https://kith.example https://advice.example http://127.0.0.1:8707;" in policy


@pytest.mark.parametrize(
    ("given", "origins"),
    [
        ({}, ("http://127.0.0.1:8708", "http://localhost:8708")),
        ({"apps_port": 9001, "host": "0.0.0.0"}, ("http://127.0.0.1:9001", "http://localhost:9001")),
        ({"apps_url": "https://apps.kith.example/"}, ("https://apps.kith.example",)),
    ],
)
def test_where_the_developer_portal_is_follows_from_the_settings(given: dict[str, Any], origins: Any) -> None:
    assert portal_origins(Settings(**given)) == origins


def test_a_page_that_is_named_may_do_what_the_api_lets_it() -> None:
    app = webhooks_app(cast(Any, None), list, [], access=OPEN)
    allow_origins(app, ["http://127.0.0.1:8708"], ("GET", "POST"))

    def asked(origin: str, method: str) -> httpx.Response:
        wanted = {
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,content-type",
        }

        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://kith") as client:
                return await client.options("/v1/webhooks/endpoints", headers={"Origin": origin, **wanted})

        return asyncio.run(answer())

    assert asked("http://127.0.0.1:8708", "POST").status_code == 200
    assert asked("http://127.0.0.1:8708", "DELETE").status_code == 400
    assert "access-control-allow-origin" not in asked("http://evil.example", "POST").headers


def test_only_pages_that_are_named_may_ask() -> None:
    app = relations_app(cast(Any, None), STRENGTH, list, lambda: NOW, access=OPEN)
    allow_origins(app, ["http://127.0.0.1:8703"])
    allowed = get(app, "/health/live", headers={"Origin": "http://127.0.0.1:8703"})
    assert allowed.headers["access-control-allow-origin"] == "http://127.0.0.1:8703"
    assert "access-control-allow-credentials" not in allowed.headers
    other = get(app, "/health/live", headers={"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_without_a_setting_no_page_may() -> None:
    app = relations_app(cast(Any, None), STRENGTH, list, lambda: NOW, access=OPEN)
    allow_origins(app, ())
    assert "access-control-allow-origin" not in get(app, "/health/live", headers={"Origin": "http://x"}).headers


class Source:
    """A status each time, or once a failure."""

    def __init__(self, fails: bool) -> None:
        self.fails, self.reads, self.closed = fails, 0, False

    def read(self) -> Status:
        self.reads += 1
        if self.fails:
            raise Unavailable("away")
        return Status(NOW, [], {}, {}, 0, 0)

    def close(self) -> None:
        self.closed = True


def test_a_reading_serves_everyone_for_a_second_and_a_failed_source_is_opened_again() -> None:
    now, sources = 0.0, [Source(True), Source(False)]
    opening: Callable[[], Source] = iter(sources).__next__
    readings = Readings(opening, lambda: now)
    with pytest.raises(Unavailable):
        readings.read()
    assert sources[0].closed
    assert readings.read() is readings.read()
    assert sources[1].reads == 1
    now = 1.5
    readings.read()
    assert sources[1].reads == 2
    readings.close()
    assert sources[1].closed


def test_the_demo_names_the_page() -> None:
    given = dashboard("http://127.0.0.1:8703", {"Authorization": "Bearer kith_x_y"})
    assert given == "http://127.0.0.1:8703/dashboard/#key=kith_x_y"
    assert dashboard("http://k", {"Kith-Tenant": "demo-1"}) == "http://k/dashboard/?tenant=demo-1"
