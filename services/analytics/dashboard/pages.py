"""The page and its parts: files of this package, kept in memory, under ``/dashboard/``."""

import json
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from shared.access.guard import Access
from shared.contracts.services import SERVICES
from shared.http.caller import Denied
from shared.http.page_files import add_files, load
from shared.http.scopes import any_parameter, public
from shared.http.server import json_response

PACKAGE = "services.analytics.dashboard"


#: The services that the page asks, besides this one.
ASKED = ("relations", "intelligence", "webhooks")


def add_pages(app: FastAPI, **urls: str) -> None:
    """Add the page. The browser asks the API of a service at its URL in ``urls``, by default at its usual port of
    this machine. What the request says of the host is not believed: whoever can forge it, or fill a cache with it,
    would receive the readers' keys."""
    usual = {name: f"http://127.0.0.1:{SERVICES[name].port}" for name in ASKED}
    addresses = {name: url.rstrip("/") for name, url in {**usual, **urls}.items()}

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

    add_files(app, "/dashboard", load(PACKAGE), addresses.values())
