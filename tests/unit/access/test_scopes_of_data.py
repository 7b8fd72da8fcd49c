"""An answer with data of several scopes needs all of them: one table of routes, parameters and scopes."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from shared.access.guard import Access
from shared.access.lineage import DerivedFrom
from shared.access.query import Parameters
from shared.access.routes import secure
from shared.http.caller import SCOPES, Caller
from shared.http.scopes import Scoped, needs, takes_any_parameter
from shared.measures.query import OfCategory
from tests.support.routes import Found, api_routes, bare
from tests.unit.access.test_routes import ACCESS, APPS, ask

CONSUMERS, PERSONAL, RELATIONS = "consumers:read", "personal:read", "relations:read"
ANALYTICS, INTELLIGENCE, ADMIN = "analytics:read", "intelligence:read", "admin"

#: What is asked, and every scope whose data the answer holds or is chosen by.
TABLE: list[tuple[str, str, set[str]]] = [
    # A profile, and the facts of its consumer.
    ("privacy", "/v1/consumers/x/export", {CONSUMERS, RELATIONS}),
    ("privacy", "/v1/consumers/x/export?purpose=mail", {CONSUMERS, RELATIONS}),
    # Found by a personal field.
    ("relations", "/v1/consumers?email=a@b.c", {CONSUMERS, PERSONAL}),
    ("relations", "/v1/consumers?phone=1&purpose=mail", {CONSUMERS, PERSONAL}),
    # Names of both sides.
    ("relations", "/v1/names?provider_id=p", {RELATIONS}),
    ("relations", "/v1/names?consumer_id=c", {RELATIONS, CONSUMERS}),
    # Consent is data of a profile.
    ("relations", "/v1/consumers/x?purpose=mail", {CONSUMERS}),
    ("relations", "/v1/relations?provider_id=p", {RELATIONS}),
    ("relations", "/v1/relations?provider_id=p&purpose=mail", {RELATIONS, CONSUMERS}),
    ("relations", "/v1/relationships?provider_id=p&purpose=mail", {RELATIONS, CONSUMERS}),
    ("exports", "/v1/export/relations", {RELATIONS}),
    ("exports", "/v1/export/relations?purpose=mail", {RELATIONS, CONSUMERS}),
    ("exports", "/v1/export/relationships?purpose=mail", {RELATIONS, CONSUMERS}),
    ("exports", "/v1/export/consumers?purpose=mail", {CONSUMERS}),
    ("exports", "/odata/v1/Relations?purpose=mail", {RELATIONS, CONSUMERS}),
    ("exports", "/odata/v1/Relations/$count?purpose=mail", {RELATIONS, CONSUMERS}),
    ("exports", "/odata/v1/Relationships?purpose=mail", {RELATIONS, CONSUMERS}),
    ("exports", "/odata/v1/Relations('c:r')?purpose=mail", {RELATIONS, CONSUMERS}),
    # Personal columns.
    ("exports", "/v1/export/consumers?personal=true", {CONSUMERS, PERSONAL}),
    ("exports", "/v1/export/relations?personal=true", {RELATIONS, PERSONAL}),
    # Where consumers live is in their profiles, and their city is personal.
    ("relations", "/v1/measures/geography", {RELATIONS, CONSUMERS}),
    ("relations", "/v1/measures/geography?side=consumer&level=country", {RELATIONS, CONSUMERS}),
    ("relations", "/v1/measures/geography?level=city", {RELATIONS, CONSUMERS, PERSONAL}),
    ("relations", "/v1/measures/geography?side=provider&level=city", {RELATIONS}),
    # A category is data of providers.
    ("analytics", "/v1/measures/top-providers", {ANALYTICS}),
    ("analytics", "/v1/measures/top-providers?category=bar", {ANALYTICS, RELATIONS}),
    ("analytics", "/v1/measures/ratings?category=bar", {ANALYTICS, RELATIONS}),
    ("analytics", "/v1/extent?category=bar", {ANALYTICS, RELATIONS}),
    ("analytics", "/v1/live?category=bar", {ANALYTICS, RELATIONS}),
    ("intelligence", "/v1/recommendations?consumer_id=c", {INTELLIGENCE}),
    ("intelligence", "/v1/recommendations?consumer_id=c&category=bar", {INTELLIGENCE, RELATIONS}),
    # What somebody has done is in their relations.
    ("intelligence", "/v1/recommendations?consumer_id=c&known=true", {INTELLIGENCE, RELATIONS}),
    ("intelligence", "/v1/affinity/c/p", {INTELLIGENCE, RELATIONS}),
    ("intelligence", "/v1/neighbours/consumer/c", {INTELLIGENCE, RELATIONS}),
    ("intelligence", "/v1/paths?from=consumer:c&to=provider:p", {INTELLIGENCE, RELATIONS}),
    ("intelligence", "/v1/next?provider_id=p", {INTELLIGENCE, RELATIONS}),
    ("intelligence", "/v1/next?provider_id=p&purpose=mail", {INTELLIGENCE, RELATIONS, CONSUMERS}),
    ("intelligence", "/v1/recommendations?consumer_id=c&purpose=mail", {INTELLIGENCE, CONSUMERS}),
    # A message holds whatever was sent.
    ("analytics", "/v1/dead-letters/message?id=x", {ADMIN, PERSONAL}),
    ("analytics", "/v1/dead-letters", {ADMIN}),
    ("privacy", "/v1/audit", {ADMIN}),
    ("privacy", "/v1/erasures", {ADMIN}),
    ("privacy", "/v1/erasures/x", {ADMIN}),
]


def answered(service: str, path: str, scopes: set[str]) -> httpx.Response:
    return ask(APPS[service], Found(service, "GET", path), ",".join([*sorted(scopes), "-"]))


@pytest.mark.parametrize(("service", "path", "scopes"), TABLE)
def test_every_scope_whose_data_an_answer_holds_is_needed(service: str, path: str, scopes: set[str]) -> None:
    for scope in scopes:
        refused = answered(service, path, set(SCOPES) - {scope})
        assert (refused.status_code, scope in refused.text) == (403, True), (scope, refused.text)
    # Over nothing, what is not refused fails.
    allowed = answered(service, path, scopes)
    assert allowed.status_code not in (401, 403), allowed.text


#: Parameters that select by data of a scope, wherever they occur.
SELECTS = {"purpose": CONSUMERS, "category": RELATIONS}


def parameters() -> Iterator[tuple[str, str, Any]]:
    for service, app in bare(ACCESS).items():
        for route in api_routes(app):
            if not takes_any_parameter(route.endpoint):
                for name, parameter in Parameters(route.dependant).query.items():
                    yield f"{service} {route.path} {name}", name, parameter


def test_a_parameter_that_selects_by_data_of_another_scope_needs_it() -> None:
    seen = 0
    for place, name, parameter in parameters():
        if name in SELECTS and place.split()[1] not in DATASETS_OF_PROVIDERS:
            assert parameter.scopes == (SELECTS[name],), place
            seen += 1
    assert seen > 15


#: Exports take a category where their own scope is that of providers.
DATASETS_OF_PROVIDERS = {
    f"/v1/export/{name}" for name in ("relations", "relationships", "providers", "aggregates", "consumers")
}


def test_what_a_parameter_needs_is_documented() -> None:
    for app in APPS.values():
        for path, item in app.openapi()["paths"].items():
            for parameter in item.get("get", {}).get("parameters", ()):
                if parameter["name"] in SELECTS and path not in DATASETS_OF_PROVIDERS:
                    assert f"`{SELECTS[parameter['name']]}`" in parameter["description"], (path, parameter)


def test_a_member_of_a_body_that_selects_by_data_of_another_scope_needs_it() -> None:
    seen = 0
    for service, app in APPS.items():
        if service == "webhooks":
            continue  # whose scope is to choose what is sent; masks are held by it itself
        for route in api_routes(app):
            members = {
                name
                for field in route.dependant.body_params
                for name in getattr(field.field_info.annotation, "model_fields", {})
            }
            for name in members & SELECTS.keys():
                assert Parameters(route.dependant).body[name].scopes == (SELECTS[name],), f"{route.path} {name}"
                seen += 1
    assert seen == 2


class Part(BaseModel):
    purpose: Annotated[str | None, DerivedFrom("consent"), Scoped(CONSUMERS)] = None


class Chosen(BaseModel):
    ids: Annotated[list[str], DerivedFrom("consumer_id")] = []
    category: OfCategory = None
    parts: list[Part] = []
    limit: int = 10


class Bearers:
    """A bearer's text is its scopes, then a slash, then its masks; and, after another slash, its purpose."""

    async def caller(self, text: str) -> Caller:
        scopes, masks, purpose = text.split("/")
        named = tuple(name for name in masks.split(",") if name)
        return Caller("acme", frozenset(scopes.split(",")), masks=named, purpose=purpose or None)


ANY = f"{INTELLIGENCE},{RELATIONS},{CONSUMERS}"


@pytest.mark.parametrize(
    ("bearer", "body", "status", "word"),
    [
        (f"{INTELLIGENCE}//", {}, 200, ""),
        (f"{INTELLIGENCE}//", {"category": None, "parts": [], "limit": 3}, 200, ""),
        (f"{INTELLIGENCE}//", {"category": "bar"}, 403, RELATIONS),
        (f"{INTELLIGENCE}//", {"parts": [{"purpose": "mail"}]}, 403, CONSUMERS),
        (f"{ANY}//", {"category": "bar", "parts": [{"purpose": "mail"}], "ids": ["c"]}, 200, ""),
        (f"{ANY}/categories/", {"category": "bar"}, 403, "categories is hidden"),
        (f"{ANY}/consent,categories,consumer_id/", {"limit": 3}, 200, ""),
        (f"{ANY}/consent/", {"parts": [{"purpose": "mail"}]}, 403, "consent is hidden"),
        (f"{ANY}/consumer_id/", {"ids": ["c"]}, 403, "consumer_id is hidden"),
        (f"{ANY}/rating/", {"ids": ["c"], "category": "bar"}, 200, ""),
        (f"{INTELLIGENCE}//", [1], 422, ""),
    ],
)
def test_what_a_body_declares_is_held_before_the_route_runs(
    bearer: str, body: Any, status: int, word: str
) -> None:
    app = FastAPI()
    secure(app, Access(tokens=Bearers()))

    @app.post("/v1/chosen")
    @needs(INTELLIGENCE)
    def chosen(body: Chosen) -> dict[str, int]:
        return {"limit": body.limit}

    async def answer() -> httpx.Response:
        headers = {"Authorization": f"Bearer {bearer}"}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kith", headers=headers) as client:
            return await client.post("/v1/chosen", json=body)

    found = asyncio.run(answer())
    assert (found.status_code, word in found.text) == (status, True), found.text


MAIL = '{"parts": [{"purpose": "mail"}]}'
SPELLINGS = {
    "as it is": (MAIL.encode(), 403),
    "with another name of the encoding": (MAIL.encode(), 403),
    "with spaces": (b" \n" + MAIL.encode() + b"\r\t ", 403),
    "with escapes in the name": (MAIL.replace("parts", r"\u0070arts").encode(), 403),
    "with a byte order mark": (b"\xef\xbb\xbf" + MAIL.encode(), 422),
    "in UTF-16": (MAIL.encode("utf-16"), 422),
    "in UTF-16, without a mark": (MAIL.encode("utf-16-le"), 422),
    "in UTF-32": (MAIL.encode("utf-32-be"), 422),
    "with NaN": (MAIL.replace("{", '{"x": NaN, ', 1).encode(), 422),
    "with Infinity deep within": (MAIL.replace("{", '{"x": [{"y": -Infinity}], ', 1).encode(), 422),
    "with half of a character": (MAIL.replace("{", r'{"x": "\ud800", ', 1).encode(), 422),
    "with a second object": (MAIL.encode() + b"{}", 422),
    "with the member twice": (MAIL.replace("{", '{"parts": [], ', 1).encode(), 422),
    "large": (MAIL.encode() + b" " * 70_000, 403),
    # Readers differ in how deep they read.
    **{
        f"{depth} deep": (MAIL.replace("{", '{"x": ' + "[" * depth + "]" * depth + ", ", 1).encode(), 0)
        for depth in (700, 850, 1000, 1100, 5000)
    },
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_guard_sees_of_a_body_what_the_route_sees(spelling: str) -> None:
    app, reached = FastAPI(), list[Chosen]()
    secure(app, Access(tokens=Bearers()))

    @app.post("/v1/chosen")
    @needs(INTELLIGENCE)
    def chosen(body: Chosen) -> dict[str, int]:
        reached.append(body)
        return {"limit": body.limit}

    content, status = SPELLINGS[spelling]
    kinds = ["application/json", "application/merge-patch+json"]
    if spelling == "with another name of the encoding":
        kinds = ["application/json; charset=utf-16", "application/json;charset=latin-1"]

    async def answers() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kith") as client:
            credential = {"Authorization": f"Bearer {INTELLIGENCE}//"}
            return [
                await client.post("/v1/chosen", content=content, headers={**credential, "Content-Type": kind})
                for kind in kinds
            ]

    for answer in asyncio.run(answers()):
        assert answer.status_code in ({status} if status else {403, 422}), answer.text
    assert not reached


@pytest.mark.parametrize(
    ("member", "scope"),
    [({"purpose": "mail"}, CONSUMERS), ({"category": "bar"}, RELATIONS), ({"category": ""}, RELATIONS)],
    ids=str,
)
def test_a_campaign_is_chosen_by_what_the_caller_may_read(member: dict[str, str], scope: str) -> None:
    async def answer(scopes: set[str]) -> httpx.Response:
        headers = {"Authorization": f"Bearer {','.join(sorted(scopes))}"}
        transport = httpx.ASGITransport(APPS["intelligence"], raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kith", headers=headers) as client:
            return await client.post("/v1/campaigns", json={"consumer_ids": ["c"], **member})

    refused = asyncio.run(answer({INTELLIGENCE}))
    assert (refused.status_code, scope in refused.text) == (403, True), refused.text
    assert asyncio.run(answer({INTELLIGENCE, scope})).status_code not in (401, 403)
