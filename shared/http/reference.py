"""The pages that every service serves about itself, without internet: ``/docs``, and ``/problems/NAME``.

``/docs`` is Swagger UI over ``/openapi.json``. Its files come from the package fastapi-swagger; FastAPI's own page
would load them from the internet.
"""

import base64
import hashlib
import html
import re
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from shared.http.problems.kind import ProblemType
from shared.http.problems.lookup import TYPES
from shared.http.scopes import public
from shared.http.static_files import File, answer, file

_STYLE = (
    "html{color-scheme:light dark;font:1.05rem/1.6 system-ui,sans-serif}"
    "body{max-width:44rem;margin:3rem auto;padding:0 1rem}"
    "h1{font-size:1.7rem;line-height:1.25}h2{font-size:1.1rem;margin:1.6rem 0 .3rem}"
    "p{margin:.3rem 0}code{font:.9em ui-monospace,monospace}"
    "td,th{padding:.25rem 1rem .25rem 0;text-align:left;vertical-align:top}.status{opacity:.7}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: No script, and only the style of these pages.
_TEXT_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; frame-ancestors 'none'"
#: Swagger UI uses data: URLs for its arrows, and makes requests to this service only.
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="/docs/icon.png"><link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body><div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
_OF_THE_PACKAGE = {
    "swagger-ui.css": "swagger-ui.css",
    "swagger-ui-bundle.js": "swagger-ui-bundle.js",
    "icon.png": "favicon-32x32.png",
}


def add_reference(app: FastAPI) -> None:
    """Add the pages. They need no credential, because they contain nothing but the source code does."""
    page = file("docs.html", _PAGE.format(title=html.escape(app.title)).encode())

    @app.get("/docs", include_in_schema=False)
    @public
    async def docs(request: Request) -> Any:
        return answer(page, request, {"Content-Security-Policy": _DOCS_POLICY})

    @app.get("/docs/{name}", include_in_schema=False)
    @public
    async def part(name: str, request: Request) -> Any:
        if name not in _OF_THE_PACKAGE and name != "start.js":
            raise HTTPException(404)
        return answer(_file(name), request, {})

    @app.get("/problems", include_in_schema=False)
    @public
    async def problems() -> Response:
        return _text("Problems", _list())

    @app.get("/problems/{name}", include_in_schema=False)
    @public
    async def problem_type(name: str) -> Response:
        if name not in TYPES:
            raise HTTPException(404)
        return _text(TYPES[name].title, _page(TYPES[name]))


@cache
def _file(name: str) -> File:
    if name == "start.js":
        return file(name, _START.encode())
    return file(name, (files("fastapi_swagger") / "resources" / _OF_THE_PACKAGE[name]).read_bytes())


def _text(title: str, body: str) -> Response:
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>{body}</body></html>\n"
    )
    headers = {"Content-Security-Policy": _TEXT_POLICY, "Cache-Control": "no-cache"}
    return HTMLResponse(page, headers=headers)


def _page(kind: ProblemType) -> str:
    status = f"HTTP status {kind.status}. " if kind.status else ""
    return (
        f"<h1>{html.escape(kind.title)}</h1>"
        f'<p class="status">{status}<code>{kind.uri}</code></p>'
        f"<h2>What happened</h2><p>{_inline(kind.happened)}</p>"
        f"<h2>What to do now</h2><p>{_inline(kind.now)}</p>"
        '<p><a href="/problems">All problems</a> · <a href="/docs">The API of this service</a></p>'
    )


def _list() -> str:
    rows = "".join(
        f'<tr><td>{kind.status or ""}</td><td><a href="{kind.uri}">{html.escape(kind.title)}</a></td></tr>'
        for kind in TYPES.values()
    )
    return (
        "<h1>Problems</h1>"
        "<p>The pages that <code>type</code> of an <code>application/problem+json</code> answer links to.</p>"
        f"<table><tr><th>Status</th><th>Problem</th></tr>{rows}</table>"
    )


def _inline(markdown: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(markdown))
