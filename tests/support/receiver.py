"""A receiver of webhooks that answers as it is told, in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.waiting import PATIENCE_SECONDS

#: Of a request: its headers and body. Returns a status, or a response.
Rule = Callable[["Received"], Any]


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """``rule`` decides on each answer; by default 200."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    rule: Rule = lambda _: 200

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        found = Received(request.path, headers, await request.read())
        self.received.append(found)
        answer = self.rule(found)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return web.Response(status=answer, text="heard") if isinstance(answer, int) else answer

    @property
    def ids(self) -> list[str]:
        return [each.headers["webhook-id"] for each in self.received]


@contextmanager
def receiver(ssl: Any = None) -> Iterator[Receiver]:
    """A receiver on a free port of this machine."""
    found, started = Receiver(), threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> web.AppRunner:
        app = web.Application(client_max_size=10**7)
        app.router.add_route("*", "/{path:.*}", found.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl)
        await site.start()
        [(_, port)] = runner.addresses
        found.url = f"{'https' if ssl else 'http'}://127.0.0.1:{port}/hook"
        started.set()
        return runner

    def work() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert started.wait(PATIENCE_SECONDS)
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_SECONDS)
