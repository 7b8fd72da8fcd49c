"""What a request says of the host that it was sent to is reflected nowhere: whoever forges it, or fills a cache
with it, could lead readers and their keys elsewhere."""

import asyncio
import re
import threading
from typing import Any, cast

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from shared.access.guard import Access
from shared.http import serving as http
from shared.local.processes import free_ports
from tests.support.routes import Found, bare, every_route
from tests.support.waiting import PATIENCE_SECONDS

EVIL = "evil-host.example"
FORGED = {
    "Host": f"{EVIL}:666",
    "X-Forwarded-Host": EVIL,
    "X-Forwarded-Server": EVIL,
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Scheme": "gopher",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": f"/{EVIL}",
    "X-Forwarded-For": EVIL,
    "X-Original-URL": f"/{EVIL}",
    "X-Rewrite-URL": f"/{EVIL}",
    "X-Original-Host": EVIL,
    "Forwarded": f"host={EVIL};proto=gopher;for={EVIL}",
    "Origin": f"https://{EVIL}",
    "Referer": f"https://{EVIL}/",
    # Power Query rejects relative links, and gets the address of its connection.
    "User-Agent": "Microsoft.Data.Mashup",
}
REFLECTED = re.compile(rf"{EVIL}|gopher|:666\b", re.IGNORECASE)
APPS = bare(Access(open=True))


def ask(app: FastAPI, method: str, path: str) -> httpx.Response:
    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kith", headers=FORGED) as client:
            return await client.request(method, path)

    return asyncio.run(answer())


@pytest.mark.parametrize("found", every_route(), ids=str)
@pytest.mark.parametrize("path", ["x", "default", "swagger-ui.css", "app.js"])
def test_no_route_reflects_the_host(found: Found, path: str) -> None:
    if "{" not in found.path and path != "x":
        return
    check(ask(APPS[found.service], found.method, re.sub(r"\{[\w:]+\}", path, found.path)))


def test_no_answer_to_what_is_no_route_reflects_the_host() -> None:
    for app in APPS.values():
        for method, path in (("GET", "/nothing"), ("GET", "/docs/"), ("PUT", "/openapi.json"), ("GET", "//x/..")):
            check(ask(app, method, path))


def check(answer: httpx.Response) -> None:
    assert not REFLECTED.search(answer.text), answer.text[:500]
    assert not REFLECTED.search(str(answer.headers.multi_items())), answer.headers


def test_a_running_server_does_not_believe_what_is_forwarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn would, of every process on the machine."""
    seen: list[tuple[object, ...]] = []
    app = bare(Access(open=True))["analytics"]

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append((scope["scheme"], scope["client"][0]))
        await app(scope, receive, send)

    made: list[uvicorn.Server] = []
    real = http._Server.__init__

    def kept(self: http._Server, config: uvicorn.Config) -> None:
        real(self, config)
        made.append(self)

    monkeypatch.setattr(http._Server, "__init__", kept)
    [port] = free_ports(1)
    # In a thread, where serve leaves the signal handlers of the tests alone.
    thread = threading.Thread(target=http.serve, args=(cast(Any, watched), "127.0.0.1", port))
    thread.start()
    try:
        transport = httpx.HTTPTransport(retries=20)
        with httpx.Client(transport=transport, trust_env=False, timeout=PATIENCE_SECONDS) as client:
            for path in ("/health/live", "/dashboard/", "/dashboard/config.json", "/openapi.json"):
                check(
                    client.get(f"http://127.0.0.1:{port}{path}", headers={**FORGED, "X-Forwarded-Proto": "https"})
                )
    finally:
        made[0].should_exit = True
        thread.join(PATIENCE_SECONDS)
    assert set(seen) == {("http", "127.0.0.1")}
