"""The page and its parts: files of this package, kept in memory, under ``/dashboard/``."""

import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from shared.access.guard import Access
from shared.contracts.services import SERVICES
from shared.http.caller import Denied
from shared.http.scopes import any_parameter, public
from shared.http.server import json_response
from shared.http.static_files import File, answer, file

#: What a browser may do with the page: what its own files do, and ask the APIs at ``{origins}``.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{origins}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def load() -> dict[str, File]:
    """The files by path, such as ``charts/series.js``."""
    return {
        name: file(name, part.read_bytes())
        for name, part in _walk(files("services.analytics.dashboard") / "static", "")
    }


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for part in folder.iterdir():
        found += _walk(part, f"{prefix}{part.name}/") if part.is_dir() else [(prefix + part.name, part)]
    return found


def add_pages(
    app: FastAPI,
    relations_port: int,
    relations_url: str | None = None,
    intelligence_port: int = SERVICES["intelligence"].port,
    intelligence_url: str | None = None,
) -> None:
    """Add the page. The browser asks the relations API at ``relations_url``, by default at ``relations_port`` of
    this machine, and the intelligence API likewise. What the request says of the host is not believed: whoever can
    forge it, or fill a cache with it, would receive the readers' keys."""
    loaded = load()
    addresses = {
        name: (url or f"http://127.0.0.1:{port}").rstrip("/")
        for name, url, port in (
            ("relations", relations_url, relations_port),
            ("intelligence", intelligence_url, intelligence_port),
        )
    }
    policy = POLICY.format(origins="".join(f" {_origin(url)}" for url in addresses.values()))

    # The page holds no data; what it asks for, it asks for with the reader's credential.
    @app.get("/", include_in_schema=False)
    @app.get("/dashboard", include_in_schema=False)
    # The page keeps its filter in its own address, and reads it there.
    @public
    @any_parameter
    async def root() -> Any:
        return RedirectResponse("/dashboard/", 307)

    @app.get("/dashboard/config.json", include_in_schema=False)
    @public
    async def config() -> Any:
        return Response(json.dumps(addresses), media_type="application/json")

    @app.get("/dashboard/session.json", include_in_schema=False)
    @public
    async def session(request: Request) -> Any:
        """Who the page's credential is, so that the page offers what it may see, and nothing else. Answers without
        one, too: then the page asks for one."""
        access: Access = request.app.state.access
        try:
            caller = await access.admit(request)
        except Denied as error:
            if error.status not in (401, 403):
                raise
            return json_response({"caller": None, "detail": error.detail})
        told = {
            "tenant": caller.tenant,
            "chooses_tenant": not caller.bound,
            "name": caller.name,
            "scopes": sorted(caller.scopes),
            "masks": list(caller.masks),
        }
        return json_response({"caller": told, "detail": None})

    @app.get("/dashboard/{path:path}", include_in_schema=False)
    @public
    @any_parameter
    async def page(path: str, request: Request) -> Any:
        if (found := loaded.get(path or "index.html")) is None:
            raise HTTPException(404)
        return answer(found, request, {"Content-Security-Policy": policy})


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])
