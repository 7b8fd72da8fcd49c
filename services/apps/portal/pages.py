"""The developer portal and its parts: files of this package, kept in memory, under ``/portal/``.

The apps service serves it, because third parties reach this service anyway: its address is the issuer of their
tokens. So an installation need not show them the dashboard, and no page of theirs shares the origin, and with it
the stored keys, of the tenant's own people. For endpoints it asks the webhooks API, which allows this origin.
"""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import RedirectResponse

from shared.http.page_files import add_files, load
from shared.http.scopes import public

PACKAGE = "services.apps.portal"
#: The services that are named in the code to copy, besides this one; of them the page asks ``webhooks``.
NAMED = ("relations", "webhooks")


def add_portal(app: FastAPI, issuer: str, urls: Mapping[str, str]) -> None:
    """Add the page. ``issuer`` is the public address of this service, ``urls`` are those of the other APIs, by
    service, as browsers find them."""
    addresses = {"apps": issuer, **{name: url.rstrip("/") for name, url in urls.items()}}

    @app.get("/portal", include_in_schema=False)
    @public
    async def root() -> Any:
        return RedirectResponse("/portal/", 307)

    @app.get("/portal/config.json", include_in_schema=False)
    @public
    async def config() -> Any:
        return Response(json.dumps(addresses), media_type="application/json")

    add_files(app, "/portal", load(PACKAGE), [url for name, url in addresses.items() if name == "webhooks"])
