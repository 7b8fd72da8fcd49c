"""No route of any service is open to whoever has no credential, or lacks its scope."""

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI

from shared.access.guard import Access
from shared.access.routes import GuardedRoute
from shared.http.caller import SCOPES, Caller, unauthorized
from shared.http.scopes import UNSAID, need_of
from tests.support.routes import PUBLIC, Found, api_routes, bare, every_route


class Scopes:
    """A bearer's text is the scopes that it has."""

    async def caller(self, text: str) -> Caller:
        if text == "nobody":
            raise unauthorized("not known")
        return Caller("acme", frozenset(text.split(",")) - {"-"})


#: Routes that need further scopes, by their parameters: see test_scopes_of_data.
DEPENDS = {"/v1/measures/geography"}
ACCESS = Access(tokens=Scopes())
APPS = bare(ACCESS)
each_route = pytest.mark.parametrize("found", every_route(), ids=str)


def ask(app: FastAPI, found: Found, bearer: str | None) -> httpx.Response:
    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://kith", headers=headers) as client:
            return await client.request(found.method, re.sub(r"\{\w+\}", "x", found.path))

    return asyncio.run(answer())


def scopes_of(found: Found) -> tuple[str, ...]:
    [route] = [
        route
        for route in api_routes(APPS[found.service])
        if route.path_format == found.path and found.method in (route.methods or ())
    ]
    scopes = need_of(route.endpoint).scopes
    assert scopes
    assert set(scopes) <= set(SCOPES)
    return scopes


@each_route
def test_it_refuses_whoever_has_no_credential(found: Found) -> None:
    app = APPS[found.service]
    if found.path in PUBLIC:
        assert ask(app, found, None).status_code not in (401, 403)
        return
    for bearer in (None, "nobody"):
        answer = ask(app, found, bearer)
        assert answer.status_code == 401, found
        assert answer.headers["www-authenticate"].startswith("Bearer ")


@each_route
def test_it_refuses_whoever_lacks_its_scope_and_names_it(found: Found) -> None:
    if found.path in PUBLIC:
        return
    scopes = scopes_of(found)
    for scope in scopes:
        answer = ask(APPS[found.service], found, ",".join([*(SCOPES.keys() - {scope}), "-"]))
        assert answer.status_code == 403, found
        assert scope in answer.json()["detail"]
    if found.path in DEPENDS:
        return
    # With these alone, whatever happens then is not for lack of a right.
    assert ask(APPS[found.service], found, ",".join(scopes)).status_code not in (401, 403)


def test_every_route_says_what_it_needs() -> None:
    for service, app in APPS.items():
        for route in api_routes(app):
            assert isinstance(route, GuardedRoute), (service, route.path)
            assert need_of(route.endpoint) is not UNSAID, (service, route.path)


def test_every_service_documents_what_its_routes_need() -> None:
    for app in APPS.values():
        for path, item in app.openapi()["paths"].items():
            for operation in item.values():
                assert operation["security"] == [] if path in PUBLIC else operation["security"][0]["apiKey"]
                assert path in PUBLIC or {"401", "403", "429", "503"} <= set(operation["responses"])
