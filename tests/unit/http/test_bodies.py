"""Reading a body within its limits, on every route of every service that takes one."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import Request
from fastapi.params import Body
from hypothesis import assume, example, given
from hypothesis import strategies as st

from services.apps import oauth
from services.apps.oauth_routes import MOST_BYTES
from shared.access.guard import Access
from shared.access.routes import GuardedRoute
from shared.contracts.limits import MAX_BODY_BYTES, Most, Owner
from shared.http.bodies import Room, with_limits
from shared.http.caller import SCOPES, Caller
from shared.http.limits import Limits
from shared.http.server import Refusal, declared_names
from shared.http.shares import Share
from tests.support.routes import Found, api_routes, bare, every_route

OWNER = Owner("acme", "1")


def reading(
    chunks: AsyncIterator[bytes], room: Share | None = None, seconds: float = 60, length: str = ""
) -> bytes:
    share = room or Share("bytes", Most(10**9, 10**9, 10**9))

    async def receive() -> dict[str, Any]:
        try:
            return {"type": "http.request", "body": await anext(chunks), "more_body": True}
        except StopAsyncIteration:
            return {"type": "http.request", "body": b"", "more_body": False}

    async def read() -> bytes:
        with ExitStack() as held:
            headers = [(b"content-length", length.encode())] if length else []
            request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
            return await with_limits(request, Room(share, OWNER, held), seconds).body()

    found = asyncio.run(read())
    assert share.used == 0, "the room was given back"
    return found


async def endless(seen: list[int], size: int = 65536) -> AsyncIterator[bytes]:
    while True:
        seen.append(size)
        yield b"x" * size


async def parts(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def test_chunks_are_put_together() -> None:
    assert reading(parts(b"ab", b"", b"c")) == b"abc"
    assert len(reading(parts(b"x" * MAX_BODY_BYTES))) == MAX_BODY_BYTES


def test_reading_stops_at_the_limit() -> None:
    seen: list[int] = []
    with pytest.raises(Refusal) as refused:
        reading(endless(seen))
    assert refused.value.status_code == 413
    assert len(seen) == MAX_BODY_BYTES // 65536 + 1


@pytest.mark.parametrize("length", [str(MAX_BODY_BYTES + 1), "9" * 5000])
def test_a_body_that_is_declared_too_large_is_refused_unread(length: str) -> None:
    seen: list[int] = []
    with pytest.raises(Refusal) as refused:
        reading(endless(seen), length=length)
    assert (refused.value.status_code, seen) == (413, [])


def test_a_sender_that_dawdles_is_refused() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(600)

    with pytest.raises(Refusal) as refused:
        reading(slow(), seconds=0.01)
    assert refused.value.status_code == 408


def test_room_is_taken_as_bytes_arrive_and_not_as_they_are_declared() -> None:
    share, seen = Share("bytes", Most(100, 100, 100)), list[int]()
    assert reading(parts(b"x" * 100), share, length=str(MAX_BODY_BYTES)) == b"x" * 100
    with pytest.raises(Refusal) as refused:
        reading(endless(seen, 60), share)
    assert (refused.value.status_code, len(seen)) == (429, 2)


class Anybody:
    async def caller(self, _: str) -> Caller:
        return Caller("acme", frozenset(SCOPES), key="1")


#: Routes that read a form without a credential, which takes a thousand times as long as JSON of its length may.
FORMS = ("/oauth/token", "/oauth/revoke")


def with_body() -> list[Found]:
    return [found for found in every_route() if found.method in ("POST", "PUT", "PATCH", "DELETE")]


DOCUMENTS = {service: app.openapi() for service, app in bare(Access()).items()}


def takes_body(found: Found) -> bool:
    return "requestBody" in DOCUMENTS[found.service]["paths"][found.path][found.method.lower()]


def test_there_are_routes_that_take_a_body() -> None:
    assert {"POST", "PATCH"} <= {found.method for found in with_body() if takes_body(found)}


@pytest.mark.parametrize("found", with_body(), ids=str)
def test_no_route_of_any_service_reads_more_than_the_limit(found: Found) -> None:
    app = bare(Access(Anybody(), Anybody()))[found.service]
    taken = ask(found, app, 149 * 2**20)
    assert taken.sent <= MAX_BODY_BYTES + 2 * 65536
    if takes_body(found):
        assert (taken.status, taken.body["type"]) == (413, "/problems/too-large")
    assert app.state.bodies.used == 0


@pytest.mark.parametrize("found", with_body(), ids=str)
def test_no_route_of_any_service_takes_more_room_than_its_caller_has(found: Found) -> None:
    limits = replace(Limits.usual(), bodies=Most(100_000, 200_000, 400_000))
    app = bare(Access(Anybody(), Anybody(), limits=limits))[found.service]
    taken = ask(found, app, MAX_BODY_BYTES)
    assert taken.sent <= 100_000 + 65536
    if found.path in FORMS:
        assert (taken.status, taken.body["type"]) == (413, "/problems/too-large"), (
            "a form has less than its caller"
        )
    elif takes_body(found):
        assert (taken.status, taken.body["type"]) == (429, "/problems/share-used-up")
    assert app.state.bodies.used == 0


@pytest.mark.parametrize("path", FORMS)
def test_a_form_is_not_parsed_unless_it_is_small(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(*_: Any, **__: Any) -> list[tuple[str, str]]:
        raise AssertionError("a large form is parsed")

    monkeypatch.setattr(oauth, "parse_qsl", parsed)
    app, kind = bare(Access())["apps"], "application/x-www-form-urlencoded"
    for size in (MOST_BYTES + 1, MAX_BODY_BYTES):
        answer = sent(Found("apps", "POST", path), app, (b"a=" + b"%41" * size)[:size], kind)
        assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")


TWICE = b'{"reason": "x", "reason": "y"}'
#: Bodies that are no JSON of one object, and who says of them what: the test of each is its neighbour.
OWN_PARSERS = {
    "/v1/events": (b'{"id": "1", "id": "2"}', "application/json"),
    "/oauth/token": (b"grant_type=a&grant_type=b", "application/x-www-form-urlencoded"),
    "/oauth/revoke": (b"token=a&token=b", "application/x-www-form-urlencoded"),
}


@pytest.mark.parametrize("found", [found for found in with_body() if takes_body(found)], ids=str)
def test_no_operation_of_any_service_takes_a_member_twice(found: Found) -> None:
    app = bare(Access(Anybody(), Anybody()))[found.service]
    content, kind = OWN_PARSERS.get(found.path, (TWICE, "application/json"))
    answer = sent(found, app, content, kind)
    text = answer.content.decode()
    assert "twice" in text, text
    if found.path not in OWN_PARSERS:
        shown = "reason" if "reason" in declared_names(app) else "[key]"
        assert (answer.status_code, answer.json()["detail"].partition(": ")[0]) == (422, shown)
        # Also where it is deep within, or the body is so large that a thread looks through it.
        nested = b'{"a": [' + b" " * 70_000 + content + b"]}"
        assert "twice" in sent(found, app, nested, kind).content.decode()


def test_other_bodies_that_are_understood_in_two_ways_are_refused_too() -> None:
    found = Found("apps", "POST", "/v1/apps/{client_id}/suspend")
    app = bare(Access(Anybody(), Anybody()))["apps"]
    for content in (rb'{"reason": "\ud800"}', b'{"reason": 1e400}', b'{"reason": 123456789012345678901}'):
        assert sent(found, app, content, "application/json").status_code == 422
    answer = sent(found, app, b"{not json", "application/json")
    assert answer.json()["detail"].endswith("at character 1"), "it says where it is none"


#: What a lenient reader takes, and a strict one does not: the guard must not leave it to the route.
LENIENT = {
    "a byte order mark": b'\xef\xbb\xbf{"reason": "x"}',
    "a byte order mark, and a member twice": b'\xef\xbb\xbf{"reason": "x", "reason": "y"}',
    "UTF-16": '{"reason": "x"}'.encode("utf-16"),
    "UTF-16, little": '{"reason": "x"}'.encode("utf-16-le"),
    "UTF-16, big": '{"reason": "x"}'.encode("utf-16-be"),
    "UTF-32": '{"reason": "x"}'.encode("utf-32"),
    "UTF-32, little": '{"reason": "x"}'.encode("utf-32-le"),
    "UTF-32, big": '{"reason": "x"}'.encode("utf-32-be"),
    "half of a character in UTF-8": b'{"reason": "\xed\xa0\x80"}',
    "no UTF-8": b'{"reason": "\xff"}',
    "NaN": b'{"reason": NaN}',
    "Infinity": b'{"reason": "x", "a": [-Infinity, Infinity]}',
    "NaN alone": b"NaN",
    "more than one value": b'{"reason": "x"} {}',
    "a letter behind it": b'{"reason": "x"}x',
    "a NUL behind it": b'{"reason": "x"}\0',
    "nothing but a space": b" ",
    "a comment": b'{"reason": "x" /* y */}',
    "nesting beyond all stacks": b'{"reason": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("found", [found for found in with_body() if takes_body(found)], ids=str)
def test_no_operation_of_any_service_reads_what_the_guard_could_not(found: Found) -> None:
    if found.path in OWN_PARSERS:
        return
    app = bare(Access(Anybody(), Anybody()))[found.service]
    kinds = ["application/json"] * len(LENIENT) + [
        "application/merge-patch+json",
        "application/json;charset=utf-16",
    ]
    for kind, content in zip(kinds, [*LENIENT.values(), *[LENIENT["UTF-16"]] * 2], strict=True):
        answer = sent(found, app, content, kind)
        assert answer.status_code == 422, (content[:80], answer.text)
        assert answer.json()["detail"].startswith("the body has to be JSON in UTF-8, without"), answer.text
    for kind in ("text/plain", "", "application/octet-stream"):
        assert "Content-Type: application/json" in sent(found, app, b"{}", kind).json()["detail"]


def test_every_body_goes_through_the_guard() -> None:
    for app in bare(Access()).values():
        for route in api_routes(app):
            assert isinstance(route, GuardedRoute), f"{route.path} reads its body itself"
            assert route.body_field is None or isinstance(route.body_field.field_info, Body)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json2", ""])
def test_a_json_body_that_is_sent_as_something_else_is_told_so(kind: str) -> None:
    found = Found("apps", "POST", "/register")
    answer = sent(found, bare(Access(Anybody(), Anybody()))["apps"], b'{"client_name": "Bonus"}', kind)
    assert (answer.status_code, "Content-Type: application/json" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    "kind", ["application/json;charset=utf-8", "Application/JSON", "application/merge-patch+json"]
)
def test_json_of_any_name_is_taken(kind: str) -> None:
    found = Found("apps", "POST", "/register")
    answer = sent(found, bare(Access(Anybody(), Anybody()))["apps"], TWICE, kind)
    assert "twice" in answer.json()["detail"]


def test_a_compressed_body_is_not_taken_for_bad_json() -> None:
    found = Found("apps", "POST", "/register")
    app = bare(Access(Anybody(), Anybody()))["apps"]
    assert sent(found, app, b"\x1f\x8b", "application/json", "gzip").status_code == 415
    assert "twice" in sent(found, app, TWICE, "application/json", "identity").json()["detail"]


#: What a sender may name a member of their own: like a person, a telephone number, an index, a mark of pydantic's.
NAMES = st.one_of(st.text(min_size=1), st.from_regex(r"\A[0-9]{1,15}\Z"), st.from_regex(r"\A[A-Za-z_]\w{0,20}\Z"))


CAMPAIGNS = Found("intelligence", "POST", "/v1/campaigns")
INTELLIGENCE = bare(Access(Anybody(), Anybody()))["intelligence"]
DECLARED = declared_names(INTELLIGENCE)


@given(NAMES)
@example("categori")
@example("4917012345678")
@example("0")
@example("[key]")
@example("ada@example.com")
def test_the_name_of_a_member_that_is_not_declared_is_not_repeated(name: str) -> None:
    assume(name not in DECLARED)
    twice = json.dumps(name)
    for body in (
        json.dumps({"consumer_ids": ["c"], name: 1}),
        json.dumps({"consumer_ids": ["c"], "weights": {name: "high"}}),
        f'{{"consumer_ids": ["c", {{{twice}: 1, {twice}: 2}}]}}',
        f'{{"consumer_ids": ["c"], {twice}: {{"ada": 1, "ada": 2}}}}',
    ):
        answer = sent(CAMPAIGNS, INTELLIGENCE, body.encode("utf-8", "surrogatepass"), "application/json").json()
        for field in [one["field"] for one in answer.get("errors", [])] or [answer["detail"].partition(":")[0]]:
            assert set(field.split(".")) <= DECLARED | {"[key]", "1", "body"}, field


def test_a_misspelt_member_is_answered_with_the_declared_one() -> None:
    body = json.dumps({"consumer_ids": ["c"], "categori": 1, "category": "\0"}).encode()
    answer = sent(CAMPAIGNS, INTELLIGENCE, body, "application/json").json()
    errors = {one["field"]: one["detail"] for one in answer["errors"]}
    assert errors.keys() == {"[key]", "category"}
    assert errors["[key]"].endswith("did you mean categories?")
    assert errors["category"].startswith("contains a control character")


def sent(found: Found, app: Any, content: bytes, kind: str, encoding: str = "") -> httpx.Response:
    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kith") as client:
            headers = {"Authorization": "Bearer x", "Content-Type": kind, "Content-Encoding": encoding}
            path = re.sub(r"\{\w+\}", "x", found.path)
            return await client.request(found.method, path, headers=headers, content=content)

    return asyncio.run(answer())


class Taken:
    def __init__(self) -> None:
        self.sent, self.status, self.body = 0, 0, dict[str, Any]()


def ask(found: Found, app: Any, size: int) -> Taken:
    taken = Taken()

    async def content() -> AsyncIterator[bytes]:
        while taken.sent < size:
            taken.sent += 65536
            yield b" " * 65536

    async def answer() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kith") as client:
            path = re.sub(r"\{\w+\}", "x", found.path)
            headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}
            response = await client.request(found.method, path, headers=headers, content=content())
            taken.status, taken.body = response.status_code, json.loads(response.content)

    asyncio.run(answer())
    return taken
