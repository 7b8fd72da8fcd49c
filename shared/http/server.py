"""What the answers of all HTTP services share: security headers, and errors as problem+json (RFC 9457)."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from shared.contracts.errors import NoRoom, NotPrepared, TooSlow, Unavailable, WrongMasterKey
from shared.contracts.fault_path import HIDDEN, meant, safe_path
from shared.contracts.wording import in_words
from shared.http.parameters import BadParameter
from shared.http.problems.client import NO_SUCH_PATH
from shared.http.problems.kind import ProblemType
from shared.http.problems.lookup import of_status
from shared.http.problems.server import NO_ROOM, QUERY_TOO_SLOW, WRONG_MASTER_KEY

PROBLEM_JSON = "application/problem+json"

#: On every answer. No answer of an API is a page, so a browser must not run, frame or store any of it.
SECURITY_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

TOO_SLOW = "the query took too long and was ended; ask for less: a shorter period, one kind, a smaller page"

#: Of the faults of a request that an answer names. A megabyte can have a hundred thousand.
_MOST_FAULTS = 20

_log = logging.getLogger(__name__)


class Problem(BaseModel):
    """Why a request failed (RFC 9457)."""

    type: str = Field(
        description="What kind of problem it is: the path of a page of this service, which says what to do now."
    )
    title: str = Field(description="The kind of problem in a few words.")
    status: int = Field(description="The HTTP status again.")
    detail: str = Field(description="What went wrong with this request, for a person.")


class ClientGone(Exception):
    """The client has closed the connection; nobody waits for the answer."""


class Refusal(HTTPException):
    """An HTTPException with a kind of problem. Without one it has the general kind of its status."""

    def __init__(self, kind: ProblemType, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(kind.status, detail, dict(headers or {}))
        self.kind = kind


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    *,
    kind: ProblemType | None = None,
    **members: object,
) -> Response:
    """A problem+json response, by default of the general ``kind`` of its status. ``members`` are further members
    of the problem."""
    kind = kind or of_status(status)
    body = {"type": kind.uri, "title": kind.title, "status": status, "detail": detail, **members}
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(content, status, dict(headers or {}), PROBLEM_JSON)


def json_response(content: Any, status: int = 200) -> Response:
    """An answer in JSON, for routes whose answer is known to fit its model: it is not validated again. Times must
    be timezone-aware; they are written in RFC 3339."""
    body = orjson.dumps(content, option=orjson.OPT_UTC_Z)
    return Response(body, status, media_type="application/json")


def problems(details: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """``details`` (status → when it is answered) as the ``responses`` of a route, documented as problems."""
    return {
        status: {
            "description": detail,
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, detail in details.items()
    }


#: Of routes that take a body.
BODY_FAILURES = problems(
    {
        400: "The body is not JSON in UTF-8.",
        422: "A parameter or the body is malformed; detail names it.",
        503: "A server is unavailable. Retry after the seconds in Retry-After.",
    }
)


def extend_openapi(app: FastAPI, schemas: Mapping[str, Mapping[str, Any]]) -> None:
    """Add component schemas to the app's OpenAPI document, for routes that reference them."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        known = document.setdefault("components", {}).setdefault("schemas", {})
        for name, schema in schemas.items():
            known.setdefault(name, schema)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error with a problem: unknown paths and methods, bad parameters, Unavailable, crashes."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _bad_parameters)
    app.add_exception_handler(BadParameter, _bad_parameter)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(WrongMasterKey, _wrong_master_key)
    app.add_exception_handler(ClientGone, _gone)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _crash)
    extend_openapi(app, {"Problem": Problem.model_json_schema()})


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail, kind = error.detail, error.kind if isinstance(error, Refusal) else None
    if error.status_code == 404 and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "there is nothing at this path; /docs and /openapi.json describe the paths that there are"
        kind = NO_SUCH_PATH
    headers = error.headers
    if error.status_code == 405:
        detail = f"this path does not take the method {request.scope.get('kith.method', request.method)}"
        headers = {**(headers or {}), "Allow": ", ".join(_allowed(request))}
    return problem(error.status_code, detail, headers, kind=kind)


def _allowed(request: Request) -> list[str]:
    """The methods that the path takes. The router's own list is that of one route, and without HEAD, which is
    answered wherever there is GET."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(dict(request.scope))[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def declared_names(app: FastAPI) -> frozenset[str]:
    """The names of all members and parameters that the app's OpenAPI document declares."""
    if not hasattr(app.state, "declared_names"):
        found: set[str] = set()
        _collect(app.openapi(), found)
        app.state.declared_names = frozenset(found)
    names: frozenset[str] = app.state.declared_names
    return names


def _collect(part: Any, found: set[str]) -> None:
    if isinstance(part, dict):
        if isinstance(properties := part.get("properties"), dict):
            found.update(properties)
        if "in" in part and isinstance(name := part.get("name"), str):
            found.add(name)
    for each in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _collect(each, found)


async def _bad_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    declared = declared_names(request.app)
    errors: list[dict[str, str]] = []
    found = error.errors()
    for item in found[:_MOST_FAULTS]:
        # The first part of the location is where it was sent (query, path, header), the rest its name.
        # Nothing is left of a body as a whole.
        path, unknown = item["loc"][1:], item["type"] == "extra_forbidden"
        if not unknown and path[-1:] == (HIDDEN,):
            path = path[:-1]  # by which pydantic means that it is the key that is at fault
        # To look for what was meant takes time, which a body of many unknown names would take for each.
        hint = meant(str(path[-1]), declared) if unknown and len(errors) < 5 else ""
        errors.append({"field": safe_path(path, declared) or "body", "detail": in_words(item) + hint})
    detail = "; ".join(f"{item['field']}: {item['detail']}" for item in errors)
    if len(found) > _MOST_FAULTS:
        detail += f" (and {len(found) - _MOST_FAULTS} more)"
    return problem(422, detail, errors=errors)


async def _gone(_: Request, __: Exception) -> Response:
    # Nobody receives it. The status is that of nginx's logs.
    return Response(status_code=499)


async def _bad_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, BadParameter)
    return problem(400, str(error), errors=[{"field": error.name, "detail": error.detail}])


async def _unavailable(_: Request, error: Exception) -> Response:
    _log.warning("unavailable", extra={"reason": str(error)})
    if isinstance(error, TooSlow):
        return problem(503, TOO_SLOW, {"Retry-After": "30"}, kind=QUERY_TOO_SLOW)
    if isinstance(error, NoRoom):
        return problem(503, str(error), kind=NO_ROOM)
    if isinstance(error, NotPrepared):
        return problem(503, str(error), {"Retry-After": "30"})
    return problem(503, "A server that the request needs is unavailable; try again later", {"Retry-After": "5"})


async def _wrong_master_key(_: Request, error: Exception) -> Response:
    _log.error("personal data cannot be opened", extra={"reason": str(error)})
    return problem(503, str(error), kind=WRONG_MASTER_KEY)


async def _crash(_: Request, __: Exception) -> Response:
    # After this answer the exception goes on to uvicorn, which logs it with its traceback. The answer is made
    # outside of every middleware, so it adds the headers itself.
    return problem(500, "the service has a fault; its log contains the traceback", SECURITY_HEADERS)
