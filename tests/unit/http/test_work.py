"""Blocking work of requests: no cost delays another, no tenant another one, and it ends with its client."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from shared.access.guard import Access, CallerOf
from shared.access.routes import secure
from shared.contracts.limits import Most
from shared.http.caller import SCOPES, Caller
from shared.http.costs import Cost, costs
from shared.http.limits import Limits
from shared.http.scopes import needs
from shared.http.server import add_problem_handlers
from shared.runtime.interruption import Interrupted, current
from tests.support.waiting import PATIENCE_SECONDS

READ = "relations:read"
Message = MutableMapping[str, Any]


class Keys:
    """``kith_a/1`` is the key 1 of the tenant a."""

    async def caller(self, text: str) -> Caller:
        tenant, _, key = text.removeprefix("kith_").partition("/")
        return Caller(tenant, frozenset(SCOPES), key=key)


class Numbers(BaseModel):
    n: int


class World:
    """An app with a route of each cost, which blocks for the tenant a until it is let go."""

    def __init__(self, limits: Limits) -> None:
        self.go_on, self.began = threading.Event(), list[str]()
        self.ended: list[str] = []
        self.changed = threading.Condition()
        self.app = FastAPI()
        add_problem_handlers(self.app)
        secure(self.app, Access(Keys(), limits=limits))
        for cost in Cost:
            self._add(cost)

        @self.app.get("/unsaid")
        @needs(READ)
        def unsaid() -> Numbers:
            return Numbers(n=len(threading.current_thread().name.split("_")[0]))

    def _add(self, cost: Cost) -> None:
        @self.app.get(f"/{cost.value}")
        @needs(READ)
        @costs(cost)
        def route(caller: CallerOf) -> dict[str, str]:
            self.note(self.began, caller.tenant)
            if caller.tenant == "a":
                self._wait()
            return {"thread": threading.current_thread().name.partition("_")[0]}

        self.app.post(f"/{cost.value}")(route)

    def _wait(self) -> None:
        work = current()
        if work is None:
            assert self.go_on.wait(PATIENCE_SECONDS)
            return
        try:
            with work.during(lambda _: self.go_on.set()):
                assert self.go_on.wait(PATIENCE_SECONDS)
            work.check()
        except Interrupted:
            self.note(self.ended, "a")
            raise

    def note(self, where: list[str], what: str) -> None:
        with self.changed:
            where.append(what)
            self.changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        def wait() -> bool:
            with self.changed:
                return self.changed.wait_for(condition, PATIENCE_SECONDS)

        assert await asyncio.to_thread(wait)

    async def ask(
        self, key: str, path: str, gone: asyncio.Event | None = None, method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body. The client stays until ``gone``."""
        sent: list[Message] = []
        first = True

        async def receive() -> Message:
            nonlocal first
            if first:
                first = False
                return {"type": "http.request", "body": b"", "more_body": False}
            await (gone or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer kith_{key}".encode())],
            "client": ("127.0.0.1", 1),
        }
        app: Callable[..., Awaitable[None]] = self.app
        await app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], headers, b"".join(part.get("body", b"") for part in sent[1:])


def limited(**more: Any) -> Limits:
    usual = Limits.usual()
    names = Limits.__dataclass_fields__
    return Limits(**{name: more.get(name, getattr(usual, name)) for name in names})


@pytest.fixture
def world() -> Any:
    world = World(limited(threads=4, heavy_threads=2, waiting=Most(50, 60, 90), heavy_waiting=Most(3, 5, 90)))
    yield world
    world.go_on.set()


@pytest.mark.parametrize("flooded", Cost)
def test_another_tenant_is_answered_while_one_does_its_worst(world: World, flooded: Cost) -> None:
    async def run() -> None:
        flood = [asyncio.create_task(world.ask("a/1", f"/{flooded.value}")) for _ in range(30)]
        await world.until(lambda: "a" in world.began)
        for cost in Cost:
            status, _, body = await world.ask("b/1", f"/{cost.value}")
            assert (status, body) == (200, b'{"thread":"%b"}' % cost.value.encode())
        # Work of another cost is not delayed for the tenant itself either.
        if flooded is not Cost.LIST:
            assert (await world.ask("a/1", "/unsaid"))[0] == 200
        world.go_on.set()
        await asyncio.gather(*flood)

    asyncio.run(run())


def test_who_has_too_much_waiting_gets_429_and_nobody_else_does(world: World) -> None:
    async def run() -> None:
        flood = [asyncio.create_task(world.ask(f"a/{number % 2}", "/query")) for number in range(20)]
        refused = list(asyncio.as_completed(flood))
        first = await refused[0]
        assert first[0] == 429
        assert first[1]["retry-after"].isdigit()
        assert b"queries waiting" in first[2]
        assert (await world.ask("b/1", "/query"))[0] == 200
        world.go_on.set()
        answers = [first, *[await each for each in refused[1:]]]
        # One runs, and five wait: three of one credential at most.
        assert [status for status, _, _ in answers].count(200) == 6

    asyncio.run(run())


def test_what_waits_for_a_client_that_has_gone_does_not_begin(world: World) -> None:
    async def run() -> None:
        first = asyncio.create_task(world.ask("a/1", "/query"))
        await world.until(lambda: world.began == ["a"])
        gone = asyncio.Event()
        waiting = asyncio.create_task(world.ask("a/1", "/query", gone))
        gone.set()
        assert (await waiting)[0] == 499
        world.go_on.set()
        assert (await first)[0] == 200
        # Its place is free again, and nothing of it is left.
        assert (await world.ask("a/1", "/query"))[0] == 200
        assert world.began == ["a", "a"]

    asyncio.run(run())


@pytest.mark.parametrize("cost", [Cost.LIST, Cost.QUERY, Cost.MEASURE])
def test_what_runs_for_a_client_that_has_gone_is_ended(world: World, cost: Cost) -> None:
    async def run() -> None:
        gone = asyncio.Event()
        running = asyncio.create_task(world.ask("a/1", f"/{cost.value}", gone))
        await world.until(lambda: world.began == ["a"])
        gone.set()
        assert (await running)[0] == 499
        await world.until(lambda: world.ended == ["a"])

    asyncio.run(run())


def test_what_writes_is_finished_though_its_client_has_gone(world: World) -> None:
    async def run() -> None:
        gone = asyncio.Event()
        gone.set()
        writing = asyncio.create_task(world.ask("a/1", "/list", gone, "POST"))
        await world.until(lambda: world.began == ["a"])
        world.go_on.set()
        assert (await writing)[0] == 200
        assert not world.ended

    asyncio.run(run())


def test_an_answer_of_the_model_is_written_where_it_is_made(world: World) -> None:
    assert asyncio.run(world.ask("b/1", "/unsaid"))[2] == b'{"n":4}'
