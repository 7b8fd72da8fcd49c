"""No route ignores a parameter: what it does not know is refused by name. And HEAD works like GET."""

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from shared.access.guard import Access
from shared.access.query import Parameters, misplaced
from shared.http.caller import Caller, Denied
from shared.http.scopes import need_of, takes_any_parameter
from tests.support.routes import PUBLIC, Found, api_routes, bare, every_route

OPEN, CLOSED = bare(Access(open=True)), bare(Access())
#: Routes that read the query themselves: a page's own address, the feed in OData's words, and a measure of another
#: service, which refuses what it does not know.
THEMSELVES = {
    *("/", "/dashboard", "/dashboard/{path}", "/portal/{path}", "/v1/export/measures/{name}"),
    *("/odata/v1", "/odata/v1/", "/odata/v1/{path}"),
    *(
        f"/odata/v1/{name}{{path}}"
        for name in ("Relationships", "Aggregates", "Relations", "Consumers", "Providers")
    ),
}
each_route = pytest.mark.parametrize("found", every_route(), ids=str)


def ask(app: FastAPI, method: str, path: str, key: str | None = None) -> httpx.Response:
    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://kith", headers=headers) as client:
            return await client.request(method, path)

    return asyncio.run(answer())


def filled(found: Found) -> str:
    return re.sub(r"\{\w+\}", "x", found.path)


@each_route
def test_an_unknown_parameter_is_refused_by_name(found: Found) -> None:
    if found.path in THEMSELVES:
        return
    answer = ask(OPEN[found.service], found.method, f"{filled(found)}?no_such_thing=1")
    assert answer.status_code == 422, found
    assert answer.json()["errors"][0]["field"] == "no_such_thing"
    assert "no_such_thing: is not a parameter of this path" in answer.json()["detail"]


def test_names_of_parameters_that_may_be_anything_are_not_repeated() -> None:
    wrong = misplaced(["ada@example.com", "x" * 70_000, "$filter"], {"limit": None})
    assert set(wrong) == {"[name]", "$filter"}
    assert len(misplaced((f"a{n}" for n in range(5_000)), {"limit": None})) == 10


def test_the_routes_that_read_the_query_themselves_are_known() -> None:
    found = {r.path_format for app in OPEN.values() for r in api_routes(app) if takes_any_parameter(r.endpoint)}
    assert found == THEMSELVES


@each_route
def test_a_parameter_that_is_nearly_known_gets_the_nearest(found: Found) -> None:
    for route in api_routes(OPEN[found.service]):
        if route.path_format != found.path or found.method not in (route.methods or ()):
            continue
        for name in Parameters(route.dependant).query:
            if found.path in THEMSELVES:
                continue
            for misspelt in {name + "s", name.upper(), name[:-1] + "_" + name[-1]} - {name}:
                answer = ask(OPEN[found.service], found.method, f"{filled(found)}?{misspelt}=1")
                assert answer.status_code == 422
                assert "did you mean" in answer.json()["detail"], (found, misspelt)


#: Parameters that are lists of ids.
LISTS = {("/v1/names", "consumer_id"), ("/v1/names", "provider_id")}


@each_route
def test_a_parameter_of_one_value_is_taken_once(found: Found) -> None:
    for route in api_routes(OPEN[found.service]):
        if (
            route.path_format != found.path
            or found.method not in (route.methods or ())
            or found.path in THEMSELVES
        ):
            continue
        for name, parameter in Parameters(route.dependant).query.items():
            if (found.path, name) in LISTS:
                assert parameter.many
                continue
            answer = ask(OPEN[found.service], found.method, f"{filled(found)}?{name}=1&{name}=1")
            assert (answer.status_code, parameter.many) == (422, False)
            assert f"{name}: is given twice" in answer.json()["detail"]


def test_who_may_not_ask_hears_nothing_of_parameters() -> None:
    app = CLOSED["relations"]
    assert ask(app, "GET", "/v1/relations?no_such=1").status_code == 401


@given(st.lists(st.text(min_size=1, max_size=8), max_size=6), st.sets(st.text(min_size=1, max_size=8)))
def test_what_is_refused_is_what_is_unknown_or_repeated(given_names: list[str], known: set[str]) -> None:
    faults = misplaced(given_names, sorted(known))
    wrong = {name for name in given_names if name not in known or given_names.count(name) > 1}
    assert set(faults) == {name if re.fullmatch(r"[\w.$-]+", name, re.ASCII) else "[name]" for name in wrong}


class Masked:
    async def caller(self, text: str) -> Caller:
        scopes, _, masks = text.partition("/")
        return Caller("acme", frozenset(scopes.split(",")), tuple(masks.split(",")))


MASKED = bare(Access(tokens=Masked()))
REFUSED = [
    ("relations", "/v1/relations?consumer_id=ada", "consumer_id"),
    ("relations", "/v1/relations?consumer_id=ada&kind=view", "kind"),
    ("relations", "/v1/relationships?consumer_id=ada", "strength"),
    ("relations", "/v1/relationships/ada/cafe", "provider_id"),
    ("relations", "/v1/consumers/ada", "consumer_id"),
    ("relations", "/v1/consumers/ada?purpose=newsletter", "consent"),
    ("relations", "/v1/consumers/ada?purpose=newsletter", "consent.newsletter"),
    ("relations", "/v1/measures/rfm-consumers", "amount"),
    ("relations", "/v1/measures/lifetime", "amount"),
    ("relations", "/v1/measures/rating-distribution", "rating"),
    ("relations", "/v1/measures/geography?level=city", "location.city"),
    ("relations", "/v1/measures/geography", "location.region"),
    ("relations", "/v1/measures/revenue?currency=EUR", "currency"),
    ("analytics", "/v1/top?measure=amount", "amount"),
    ("analytics", "/v1/top?measure=rating", "rating"),
    ("analytics", "/v1/aggregates?by=consumer&key=ada", "consumer_id"),
    ("analytics", "/v1/aggregates?from=2026-01-01", "time"),
    ("analytics", "/v1/measures/top-providers?measure=amount", "amount"),
    ("analytics", "/v1/measures/concentration?measure=amount", "amount"),
    ("analytics", "/v1/measures/ratings", "rating"),
    ("analytics", "/v1/live?kind=view", "kind"),
    # An empty value chooses as well: a category may be empty.
    ("analytics", "/v1/measures/concentration?category=", "categories"),
    ("relations", "/v1/measures/rfm?category=", "categories"),
    # The same value under another name.
    ("analytics", "/v1/aggregates?by=consumer&key=ada", "key"),
    ("relations", "/v1/relationships?consumer_id=ada", "score"),
    ("intelligence", "/v1/neighbours/consumer/ada", "score"),
    ("intelligence", "/v1/recommendations?consumer_id=ada", "city"),
    ("intelligence", "/v1/recommendations?consumer_id=ada", "closed"),
    ("privacy", "/v1/consumers/ada/export", "consumer_id"),
]


@pytest.mark.parametrize("mask", ["consumer_id", "provider_id"])
def test_a_list_of_ids_that_is_not_given_is_no_filter(mask: str) -> None:
    names = {route.path_format: route for route in api_routes(OPEN["relations"])}["/v1/names"]
    other = "provider_id" if mask == "consumer_id" else "consumer_id"
    parameters = Parameters(names.dependant)
    parameters.check([mask], [(other, "x")], ())
    with pytest.raises(Denied, match=mask):
        parameters.check([mask], [(mask, "x")], ())


@pytest.mark.parametrize(("service", "path", "mask"), REFUSED)
def test_nothing_is_selected_or_ordered_by_what_is_masked(service: str, path: str, mask: str) -> None:
    """One question after the other would reveal it: before anything is read."""
    app = MASKED[service]
    scopes = "relations:read,analytics:read,consumers:read,personal:read,intelligence:read"
    answer = ask(app, "GET", path, f"{scopes}/{mask}")
    assert answer.status_code == 403
    assert "is hidden from this credential" in answer.json()["detail"]
    # Over nothing, what is not refused fails.
    assert ask(app, "GET", path, f"{scopes}/relation_id").status_code not in (401, 403)


@each_route
def test_head_is_answered_as_get_is(found: Found) -> None:
    app = OPEN[found.service]
    if found.method != "GET":
        assert ask(app, "HEAD", filled(found)).status_code in (200, 403, 404, 405, 422, 500)
        return
    if found.path == "/v1/live":
        return
    got, head = ask(app, "GET", filled(found)), ask(app, "HEAD", filled(found))
    assert (head.status_code, head.content) == (got.status_code, b""), found
    assert head.headers.get("content-type") == got.headers.get("content-type")
    if found.path != "/metrics":  # which counts these requests
        assert head.headers.get("content-length") == got.headers.get("content-length")


@each_route
def test_head_needs_what_get_needs(found: Found) -> None:
    if found.method == "GET" and found.path not in PUBLIC:
        assert ask(CLOSED[found.service], "HEAD", filled(found)).status_code == 401


def test_the_scopes_of_routes_are_untouched() -> None:
    for app in OPEN.values():
        for route in api_routes(app):
            assert "HEAD" not in (route.methods or ()), "it is answered for all, in one place"
            assert need_of(route.endpoint)
