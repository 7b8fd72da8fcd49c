"""The HTTP interface of the door, over ASGI with a publisher that records."""

import asyncio
import gzip
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.ingest.api import create_app
from services.ingest.limits import MAX_EVENTS
from shared.access.guard import Access
from shared.contracts.errors import Unavailable
from shared.contracts.limits import MAX_BODY_BYTES, Most
from shared.contracts.topics import Topics
from shared.http.limits import Limits
from shared.http.problems.lookup import of_uri
from shared.runtime.protocols import Message
from shared.settings import Settings
from tests.support.builders import OPEN
from tests.unit.ingest.test_door import BATCHED, NOW, STRUCTURED, fields


class RecordingPublisher:
    """Acknowledges at once, unless told to hold back, to fail later or to fail now."""

    def __init__(
        self, *, hold: bool = False, later: Exception | None = None, now: Exception | None = None
    ) -> None:
        self.messages: list[Message] = []
        self.held: list[Future[None]] = []
        self.called = threading.Event()
        self._hold, self._later, self._now = hold, later, now

    def send(self, messages: Sequence[Message]) -> Future[None]:
        self.called.set()
        if self._now:
            raise self._now
        self.messages += messages
        future: Future[None] = Future()
        if self._hold:
            self.held.append(future)
        elif self._later:
            future.set_exception(self._later)
        else:
            future.set_result(None)
        return future

    def close(self) -> None:
        pass


def app_with(
    publisher: RecordingPublisher,
    *,
    ready: Callable[[], Sequence[str]] = list,
    timeout_ms: int = 10_000,
    access: Access = OPEN,
) -> FastAPI:
    settings = Settings(publish_timeout_ms=timeout_ms)
    return create_app(publisher, Topics("kith"), settings, lambda: NOW, ready, access=access)


def open_with(**limits: Any) -> Access:
    return Access(open=True, limits=replace(Limits.usual(), **limits))


def client_of(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://door"
    )


def call(app: FastAPI, method: str, path: str, **arguments: Any) -> httpx.Response:
    async def once() -> httpx.Response:
        async with client_of(app) as client:
            return await client.request(method, path, **arguments)

    return asyncio.run(once())


def post(app: FastAPI, body: object, content_type: str = BATCHED, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return call(app, "POST", "/v1/events", content=content, headers=sent)


def check_problem(response: httpx.Response, status: int) -> str:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    kind = of_uri(problem["type"])
    assert kind is not None
    assert (kind.status, kind.title) == (status, problem["title"])
    assert problem["status"] == status
    assert problem["title"]
    return str(problem["detail"])


@pytest.mark.parametrize(
    ("body", "content_type", "headers"),
    [
        (fields(), STRUCTURED, {}),
        ([fields()], BATCHED, {}),
        (fields(), "application/json", {}),
        ([fields()], "application/json", {}),
        (gzip.compress(json.dumps([fields()]).encode()), BATCHED, {"content_encoding": "gzip"}),
        (
            fields()["data"],
            "application/json",
            {f"ce_{name}": value for name, value in fields(data=None).items()},
        ),
    ],
)
def test_every_mode_is_answered_with_what_was_accepted(
    body: object, content_type: str, headers: dict[str, str]
) -> None:
    publisher = RecordingPublisher()
    response = post(app_with(publisher), body, content_type, **headers)
    assert (response.status_code, response.json()) == (202, {"accepted": 1, "rejected": []})
    assert response.headers["content-type"] == "application/json"
    (message,) = publisher.messages
    assert json.loads(message.value) == fields()
    assert (message.topic, message.key) == ("kith.relations", b"default:c1")


def test_good_events_are_accepted_beside_a_bad_one() -> None:
    publisher = RecordingPublisher()
    response = post(app_with(publisher), [fields(id="a"), fields(id="b", type="nothing"), fields(id="c")])
    assert response.status_code == 202
    assert response.json()["accepted"] == 2
    (bad,) = response.json()["rejected"]
    assert list(bad) == ["index", "id", "reason", "field", "detail"]
    assert (bad["index"], bad["id"], bad["reason"], bad["field"]) == (1, "b", "unknown_type", "type")
    assert [json.loads(message.value)["id"] for message in publisher.messages] == ["a", "c"]


def test_400_with_the_verdicts_when_nothing_is_acceptable() -> None:
    publisher = RecordingPublisher()
    response = post(app_with(publisher), [fields(type="nothing"), 3])
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/json"
    assert (response.json()["accepted"], len(response.json()["rejected"])) == (0, 2)
    assert not publisher.called.is_set()


def test_a_large_batch_is_judged_as_a_small_one() -> None:
    publisher = RecordingPublisher()
    events = [fields(id=str(n)) for n in range(MAX_EVENTS - 1)]
    response = post(app_with(publisher), [*events, {}])
    assert response.status_code == 202
    assert response.json()["accepted"] == len(publisher.messages) == MAX_EVENTS - 1
    assert response.json()["rejected"][0]["index"] == MAX_EVENTS - 1


@pytest.mark.parametrize("count", [9, 150, 1_500])
def test_events_keep_their_order_however_long_each_takes_to_judge(count: int) -> None:
    publisher = RecordingPublisher()
    events = [fields(id=str(n), subject="ö" if n % 3 else "o") for n in range(count)]
    events[5]["type"] = events[7]["type"] = "nothing"
    response = post(app_with(publisher), events)
    assert [each["index"] for each in response.json()["rejected"]] == [5, 7]
    accepted = [n for n in range(count) if n not in (5, 7)]
    assert [int(json.loads(message.value)["id"]) for message in publisher.messages] == accepted


def test_an_empty_batch_is_fine() -> None:
    response = post(app_with(RecordingPublisher()), [])
    assert (response.status_code, response.json()) == (202, {"accepted": 0, "rejected": []})


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status"),
    [
        (b"not json", BATCHED, {}, 400),
        (b"{}", "text/plain", {}, 415),
        (b"{}", "application/json", {"content_encoding": "br"}, 415),
        (b"{}", "application/json", {"content_encoding": "gzip"}, 400),
        (b"{}", "application/json", {"kith_tenant": "No Name"}, 400),
        (b"[" + b"1," * MAX_EVENTS + b"1]", "application/json", {}, 413),
        (b"x" * (MAX_BODY_BYTES + 1), "application/json", {}, 413),
        (gzip.compress(b" " * (MAX_BODY_BYTES + 1)), "application/json", {"content_encoding": "gzip"}, 413),
    ],
)
def test_what_is_not_understood_as_a_whole_is_a_problem(
    body: bytes, content_type: str, headers: dict[str, str], status: int
) -> None:
    publisher = RecordingPublisher()
    assert check_problem(post(app_with(publisher), body, content_type, **headers), status)
    assert not publisher.called.is_set()


def test_a_body_without_length_is_counted_while_it_comes() -> None:
    async def endless() -> Any:
        while True:
            yield b"x" * 65536

    response = call(app_with(RecordingPublisher()), "POST", "/v1/events", content=endless())
    check_problem(response, 413)


@pytest.mark.parametrize("now", [True, False])
def test_503_when_the_brokers_are_away(now: bool) -> None:
    away = Unavailable("away")
    response = post(app_with(RecordingPublisher(now=away) if now else RecordingPublisher(later=away)), [fields()])
    assert "Sending the same events again is safe" in check_problem(response, 503)
    assert int(response.headers["retry-after"]) > 0


def test_an_error_that_no_one_foresaw_is_a_problem_without_details() -> None:
    response = post(app_with(RecordingPublisher(later=RuntimeError("secret"))), [fields()])
    assert "secret" not in check_problem(response, 500)


def test_503_when_no_acknowledgement_comes() -> None:
    publisher = RecordingPublisher(hold=True)
    check_problem(post(app_with(publisher, timeout_ms=100), [fields()]), 503)
    assert len(publisher.held) == 1


@pytest.mark.parametrize("limits", [{"publishing": Most(1, 1, 1)}, {"bodies": Most(400, 400, 400)}])
def test_503_while_too_much_is_under_way(limits: dict[str, Most]) -> None:
    publisher = RecordingPublisher(hold=True)

    async def acknowledge() -> None:
        while not publisher.held:
            await asyncio.sleep(0.001)
        publisher.held.pop().set_result(None)

    async def story() -> None:
        app = app_with(publisher, access=open_with(**limits))
        async with client_of(app) as client:
            content, headers = json.dumps(fields()), {"Content-Type": STRUCTURED}
            first = asyncio.create_task(client.post("/v1/events", content=content, headers=headers))
            while not publisher.held:
                await asyncio.sleep(0.001)
            second = await client.post("/v1/events", content=content, headers=headers)
            assert "Sending the same events again is safe" in check_problem(second, 503)
            assert second.headers["retry-after"] == "1"
            await acknowledge()
            assert (await first).status_code == 202
            third = asyncio.create_task(client.post("/v1/events", content=content, headers=headers))
            await acknowledge()
            assert (await third).status_code == 202

    asyncio.run(story())


def test_health() -> None:
    reasons = ["the brokers cannot be reached", "it is Monday"]
    app = app_with(RecordingPublisher(), ready=lambda: reasons)
    assert call(app, "GET", "/health/live").json() == {"status": "live"}
    detail = check_problem(call(app, "GET", "/health/ready"), 503)
    assert detail == "the brokers cannot be reached; it is Monday"
    reasons.clear()
    response = call(app, "GET", "/health/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("path", ["/", "/redoc", "/v1/events/", "/v2/events"])
def test_unknown_paths_are_problems(path: str) -> None:
    check_problem(call(app_with(RecordingPublisher()), "GET", path), 404)


def test_unknown_methods_are_problems_and_say_which_are_known() -> None:
    response = call(app_with(RecordingPublisher()), "GET", "/v1/events")
    check_problem(response, 405)
    assert response.headers["allow"] == "POST"


def test_the_clock_of_the_door_decides_what_is_the_future() -> None:
    publisher = RecordingPublisher()
    early = create_app(
        publisher, Topics("kith"), Settings(), lambda: datetime(2020, 1, 1, tzinfo=UTC), list, access=OPEN
    )
    (bad,) = post(early, [fields()]).json()["rejected"]
    assert bad["reason"] == "in_the_future"


def test_a_sender_that_goes_away_while_it_sends_leaves_nothing_behind() -> None:
    publisher = RecordingPublisher()
    scope = {"type": "http", "method": "POST", "path": "/v1/events", "query_string": b"", "headers": []}
    parts: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"[", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(_: Any) -> None:
        pass

    size = len(json.dumps([fields()]))
    app = app_with(publisher, access=open_with(publishing=Most(1, 1, 1), bodies=Most(size, size, size)))
    asyncio.run(app(scope, receive, send))
    assert not publisher.called.is_set()
    assert post(app, [fields()]).status_code == 202
