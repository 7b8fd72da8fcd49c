"""Nothing in a request's path waits in a pool of threads that all tenants share without turns."""

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest

from shared.access.guard import Access
from shared.contracts.services import SERVICES
from shared.http.caller import SCOPES, Caller
from tests.support.paths import ROOT
from tests.support.routes import Found, bare, every_route

FOLDERS = [ROOT / "shared", *(ROOT / "services" / name for name in SERVICES)]
#: Functions that always use asyncio's or Starlette's own pool.
SHARED = {
    "to_thread",
    "run_in_threadpool",
    "iterate_in_threadpool",
    "BackgroundTask",
    "FileResponse",
    "StaticFiles",
}
#: They make iterators that do not block.
ASYNCHRONOUS = ("each", "stream.events")


def faults(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        last = called.rpartition(".")[2]
        at = f"{path.relative_to(ROOT)}:{node.lineno}: {called}"
        if last in SHARED:
            yield at
        if last == "run_in_executor" and ast.unparse(node.args[0]) == "None":
            yield f"{at} without a pool of its own"
        if last == "run_sync" and not any(each.arg == "limiter" for each in node.keywords):
            yield f"{at} without a limiter of its own"
        pieces = node.args[0] if last == "StreamingResponse" else None
        if pieces is not None and not (isinstance(pieces, ast.Call) and ast.unparse(pieces.func) in ASYNCHRONOUS):
            yield f"{at} of what may be an iterator that blocks"


def test_no_source_uses_a_shared_pool() -> None:
    assert [fault for folder in FOLDERS for path in sorted(folder.rglob("*.py")) for fault in faults(path)] == []


def test_what_is_looked_for_is_found(tmp_path: Path) -> None:
    source = tmp_path / "shared.py"
    source.write_text(
        "asyncio.to_thread(f)\nloop.run_in_executor(None, f)\nto_thread.run_sync(f)\nrun_in_threadpool(f)\n"
        "StreamingResponse(pieces)\nloop.run_in_executor(pool, f)\nto_thread.run_sync(f, limiter=mine)\n"
        "StreamingResponse(each(pieces))\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{__name__}.ROOT", tmp_path)
        assert [fault.split(":")[1] for fault in faults(source)] == ["1", "2", "3", "4", "5"]


class Anybody:
    async def caller(self, _: str) -> Caller:
        return Caller("acme", frozenset(SCOPES), key="1")


APPS = bare(Access(Anybody(), Anybody()))


@pytest.mark.parametrize("found", every_route(), ids=str)
def test_no_route_uses_a_shared_pool(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the route answers over nothing, it has begun where it works."""
    used: list[str] = []
    run_sync = anyio.to_thread.run_sync

    async def noted(function: Any, *arguments: Any, limiter: Any = None, **options: Any) -> Any:
        if limiter is None:
            used.append(f"anyio: {function}")
        return await run_sync(function, *arguments, limiter=limiter, **options)

    monkeypatch.setattr(anyio.to_thread, "run_sync", noted)

    async def answer() -> int:
        loop = asyncio.get_running_loop()
        in_executor = loop.run_in_executor

        def checked(executor: Any, function: Any, *arguments: Any) -> Any:
            if executor is None:
                used.append(f"asyncio: {function}")
            return in_executor(executor, function, *arguments)

        monkeypatch.setattr(loop, "run_in_executor", checked)
        transport = httpx.ASGITransport(APPS[found.service], raise_app_exceptions=False)
        headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}
        async with httpx.AsyncClient(transport=transport, base_url="http://kith", headers=headers) as client:
            path = re.sub(r"\{\w+\}", "x", found.path)
            return (await client.request(found.method, path, content=b"{}")).status_code

    assert asyncio.run(answer()) not in (401, 403)
    assert used == []
