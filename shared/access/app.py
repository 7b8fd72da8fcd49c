"""Builds the HTTP app of a service."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response

from shared.access.guard import Access
from shared.access.head import HeadAsGet
from shared.access.routes import secure
from shared.http.health import add_health
from shared.http.paths import EncodedSlashes
from shared.http.reference import add_reference
from shared.http.scopes import public
from shared.http.server import add_problem_handlers
from shared.http.static_files import File, answer, file


def guarded_app(
    title: str,
    description: str,
    access: Access,
    ready: Callable[[], Sequence[str]],
    *,
    version: str = "1",
    ids_in_paths: bool = False,
    **options: Any,
) -> FastAPI:
    """An app with guarded routes, problems for errors, and health checks. ``ready`` returns the reasons why the
    service is not ready. ``ids_in_paths`` allows slashes in ids, written ``%2F``. ``options`` are FastAPI's."""
    app = FastAPI(
        title=title,
        version=version,
        description=description,
        redirect_slashes=False,
        # FastAPI's own pages load their scripts from the internet; see add_reference.
        docs_url=None,
        redoc_url=None,
        # Added below as an ordinary route: guarded, and without parameters.
        openapi_url=None,
        **options,
    )
    if ids_in_paths:
        app.add_middleware(EncodedSlashes)
    add_problem_handlers(app)
    secure(app, access)
    app.add_middleware(HeadAsGet)
    add_health(app, ready)
    add_reference(app)

    # Made once: anybody may ask for it, again and again.
    @cache
    def document() -> File:
        return file("openapi.json", orjson.dumps(app.openapi()))

    @app.get("/openapi.json", include_in_schema=False)
    @public
    async def openapi(request: Request) -> Response:
        return answer(document(), request, {})

    return app
