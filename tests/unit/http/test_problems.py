"""Every problem that the code can raise has a page, which the service that raised it serves."""

import ast
import asyncio
import re
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict

from shared.contracts.errors import NoRoom, NotPrepared, Unavailable
from shared.http.problems import client, server
from shared.http.problems.kind import ProblemType
from shared.http.problems.lookup import TYPES, of_status, of_uri
from shared.http.scopes import public
from shared.http.server import Refusal, add_problem_handlers, problem
from tests.support.builders import OPEN
from tests.support.paths import ROOT
from tests.support.routes import bare, every_route

#: What makes a problem, and where in its arguments the status is. ``Refusal`` takes a kind.
RAISING = {"problem": 0, "HTTPException": 0, "Denied": 0, "Refused": 0}
#: These pass on a status that was given where the error was raised.
PASSED_ON = {"error.status", "error.status_code", "status", "error.code"}
KINDS = {
    name for module in (client, server) for name, each in vars(module).items() if isinstance(each, ProblemType)
}


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(place, name, call) of what makes a problem. The importer has a Refused of its own, for rows of
    files, webhooks one for addresses, and RabbitMQ one for messages."""
    for path in (path for top in ("services", "shared") for path in sorted((ROOT / top).rglob("*.py"))):
        own = {"importer", "rabbitmq", "webhooks"} & set(path.parts)
        names = {*RAISING, "Refusal"} - ({"Refused"} if own else set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.func.id, node


CALLS = list(calls())


def get(app: FastAPI, *paths: str) -> list[httpx.Response]:
    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://kith") as asking:
            return [await asking.get(path) for path in paths]

    return asyncio.run(ask())


def test_there_are_many_places_that_make_problems() -> None:
    assert len(CALLS) > 40
    assert len({place.partition(":")[0] for place, *_ in CALLS}) > 12


@pytest.mark.parametrize(("place", "name", "call"), CALLS, ids=[place for place, *_ in CALLS])
def test_each_problem_that_the_code_raises_has_a_page(place: str, name: str, call: ast.Call) -> None:  # noqa: ARG001
    kinds = [ast.unparse(word.value) for word in call.keywords if word.arg == "kind"]
    if name == "Refusal":
        kinds.append(ast.unparse(call.args[0]))
    for kind in kinds:
        assert kind in KINDS or kind in ("kind", "error.kind")
    if name == "Refusal":
        return
    status = call.args[RAISING[name]]
    if isinstance(status, ast.Constant) and isinstance(status.value, int):
        assert of_status(status.value) is not server.OTHER, f"no page for the status {status.value}"
    else:
        assert ast.unparse(status) in PASSED_ON


@given(st.integers(100, 599))
def test_every_status_leads_to_a_page(status: int) -> None:
    kind = of_status(status)
    assert TYPES[kind.name] is kind
    assert kind.status in (status, 0)
    assert of_uri(kind.uri) is kind
    assert of_uri("about:blank") is None


def test_names_are_paths_and_say_what_to_do() -> None:
    for name, kind in TYPES.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
        assert kind.title[-1] != "."
        for text in (kind.happened, kind.now):
            assert text.endswith(".")
            assert len(text.split()) > 5
    assert len({kind.title for kind in TYPES.values()}) == len(TYPES)


@pytest.mark.parametrize("service", bare(OPEN))
def test_every_service_serves_the_page_of_every_problem(service: str) -> None:
    app = bare(OPEN)[service]
    index, unknown, *pages = get(app, "/problems", "/problems/none", *(kind.uri for kind in TYPES.values()))
    assert index.status_code == 200
    for kind, page in zip(TYPES.values(), pages, strict=True):
        assert f'href="{kind.uri}"' in index.text
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert f"<h1>{kind.title}</h1>".replace("'", "&#x27;") in page.text
        assert "What to do now" in page.text
        # Nothing but the style that the policy names by its hash.
        assert "script" not in page.headers["content-security-policy"]
        assert re.findall(r"<(?:script|link|img)", page.text) == []
    assert unknown.status_code == 404
    assert unknown.json()["type"] == "/problems/no-such-path"


@pytest.mark.parametrize("service", bare(OPEN))
def test_every_documented_error_has_a_page(service: str) -> None:
    document = bare(OPEN)[service].openapi()
    for path, item in document["paths"].items():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                if "application/problem+json" in answer.get("content", {}):
                    assert of_status(int(status)) is not server.OTHER, (path, status)


def test_the_type_of_an_answer_leads_to_its_page() -> None:
    app = bare(OPEN)["relations"]

    @app.get("/test/refusal")
    @public
    async def refusal() -> Any:
        raise Refusal(client.PSEUDONYM, "this is one")

    @app.get("/test/teapot")
    @public
    async def teapot() -> Any:
        raise HTTPException(418, "short and stout")

    expected = {
        "/v1/nothing": client.NO_SUCH_PATH,
        "/v1/relations?nothing=1": client.INVALID_PARAMETERS,
        "/v1/relations": client.BAD_REQUEST,
        "/test/refusal": client.PSEUDONYM,
        "/test/teapot": server.OTHER,
    }
    answers = get(app, *expected)
    for answer, kind in zip(answers, expected.values(), strict=True):
        body = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert (body["type"], body["title"]) == (kind.uri, kind.title)
        assert body["status"] == answer.status_code
        [page] = get(app, body["type"])
        assert page.status_code == 200
    assert [answer.status_code for answer in answers] == [404, 422, 400, 409, 418]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def test_an_answer_names_some_of_very_many_faults() -> None:
    app = FastAPI()
    add_problem_handlers(app)

    @app.post("/x")
    async def x(_: _Strict) -> None: ...

    async def post(members: int) -> dict[str, Any]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.post("/x", json={f"x{number}": 1 for number in range(members)})
            found: dict[str, Any] = answer.json()
            return found

    few, many = asyncio.run(post(20)), asyncio.run(post(2_000))
    assert len(few["errors"]) == len(many["errors"]) == 20
    assert many["detail"] == f"{few['detail']} (and 1980 more)"


def test_a_refusal_is_the_sentence_of_the_validator_alone() -> None:
    def short(value: str) -> str:
        if len(value) > 3:
            raise ValueError("has more than three letters")
        return value

    app = bare(OPEN)["relations"]

    @app.get("/test/words/{word}")
    @public
    async def words(word: Annotated[str, AfterValidator(short)]) -> Any:
        return {"word": word}

    [answer] = get(app, "/test/words/long-one")
    assert answer.json()["errors"] == [{"field": "word", "detail": "has more than three letters"}]


def test_a_problem_has_the_members_that_it_is_given() -> None:
    answer = problem(503, "wait", {"Retry-After": "1"}, kind=server.TOO_BUSY, errors=[])
    assert answer.headers["retry-after"] == "1"
    assert b'"type":"/problems/too-busy"' in bytes(answer.body)
    assert b'"errors":[]' in bytes(answer.body)


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (
            Unavailable("MongoDB: secret.host refused"),
            "A server that the request needs is unavailable; try again later",
        ),
        (NotPrepared("there are no tables: run `kith up`"), "there are no tables: run `kith up`"),
    ],
)
def test_an_outage_tells_nothing_and_missing_tables_what_makes_them(error: Exception, detail: str) -> None:
    app = FastAPI()
    add_problem_handlers(app)

    @app.get("/asked")
    def asked() -> None:
        raise error

    [answer] = get(app, "/asked")
    assert answer.status_code == 503
    assert answer.json()["detail"] == detail
    assert int(answer.headers["Retry-After"]) > 0


def test_who_has_outgrown_a_process_is_told_so_and_not_to_wait() -> None:
    app = FastAPI()
    add_problem_handlers(app)

    @app.get("/asked")
    def asked() -> None:
        raise NoRoom("there is no room")

    [answer] = get(app, "/asked")
    assert (answer.status_code, answer.json()["detail"]) == (503, "there is no room")
    assert answer.json()["type"] == "/problems/no-room"
    assert "Retry-After" not in answer.headers


async def traced(app: FastAPI, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://kith") as client:
        return await client.request("TRACE", path)


@pytest.mark.parametrize("service", sorted(bare(OPEN)))
def test_a_method_that_a_path_does_not_take_is_answered_with_all_that_it_takes(service: str) -> None:
    app = bare(OPEN)[service]
    taken: dict[str, set[str]] = {}
    for found in every_route():
        if found.service == service and "{path}" not in found.path:
            path = re.sub(r"\{\w+\}", "x1", found.path)
            taken.setdefault(path, set()).add(found.method)
    assert taken
    for path, methods in taken.items():
        answer = asyncio.run(traced(app, path))
        allowed = answer.headers["allow"].split(", ")
        assert (answer.status_code, allowed) == (405, sorted(set(allowed))), path
        # More of them where the path is one of another route, too: /v1/apps/scopes and /v1/apps/{id}.
        assert methods <= set(allowed), path
        assert ("HEAD" in allowed) is ("GET" in allowed), path
