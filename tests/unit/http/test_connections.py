"""Connections that cost nobody else anything: slow ones, silent ones, many, and clients that read nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import h11
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from shared.access.guard import Access, CallerOf
from shared.access.routes import secure
from shared.contracts.limits import MAX_BODY_BYTES, Most, of_address
from shared.http import protocol, refusals, streams
from shared.http.caller import SCOPES, Caller, unauthorized
from shared.http.health import add_health
from shared.http.limits import Limits
from shared.http.purposes import GRANTED_ITSELF
from shared.http.refusals import Refusals
from shared.http.scopes import needs
from shared.http.server import add_problem_handlers
from tests.support.raw_http import PATIENCE, Client, Server, head, served

#: A time limit that a test waits for. What has to arrive before it is a head that is under way already.
SHORT = 0.5


@pytest.fixture(autouse=True)
def no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_LINGER_SECONDS", SHORT)
    monkeypatch.setattr(protocol, "_GRACE_SECONDS", SHORT)


class Keys:
    """A key is tenant and number, as in a-1."""

    async def caller(self, text: str) -> Caller:
        return Caller(text.partition("-")[0].removeprefix("kith_"), frozenset(SCOPES), key=text)


def service(credentials: Any = None, **limits: Any) -> tuple[FastAPI, dict[str, Any]]:
    """A service with a route that takes a body, one that waits for a gate, and one that streams."""
    seen: dict[str, Any] = {"gate": asyncio.Event(), "waiting": 0, "ended": asyncio.Event()}
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_problem_handlers(app)
    seen["app"], seen["credentials"] = app, credentials or Keys()
    secure(app, Access(seen["credentials"], limits=replace(Limits.usual(), **limits)))
    add_health(app, list)

    @app.post("/length")
    @needs("events:write")
    async def length(request: Request) -> dict[str, int]:
        return {"length": sum([len(chunk) async for chunk in request.stream()])}

    @app.patch("/json")
    @needs("admin")
    def as_json(body: dict[str, Any]) -> dict[str, int]:
        return {"members": len(body)}

    @app.get("/gate")
    @needs("consumers:read")
    async def gate(caller: CallerOf) -> dict[str, str]:
        seen["waiting"] += 1
        await seen["gate"].wait()
        return {"tenant": caller.tenant}

    @app.get("/large")
    @needs("consumers:read")
    async def large() -> Response:
        return Response(bytes(64 * 1024 * 1024))

    @app.get("/stream")
    @needs("consumers:read", masks_itself=True, purpose=GRANTED_ITSELF)
    async def stream() -> Response:
        async def endless() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(64 * 1024)
                    await asyncio.sleep(0)
            finally:
                seen["ended"].set()

        return StreamingResponse(endless())

    return app, seen


def story(
    tell: Callable[[Server, dict[str, Any]], Any],
    in_app: dict[str, Any] | None = None,
    credentials: Any = None,
    **limits: Any,
) -> None:
    async def run() -> None:
        app, seen = service(credentials, **{**limits, **(in_app or {})})
        async with asyncio.timeout(4 * PATIENCE), served(app, **limits) as server:
            await tell(server, seen)

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


def bodies_are(seen: dict[str, Any], size: int) -> bool:
    return bool(seen["app"].state.bodies.used == size)


async def waiting(seen: dict[str, Any], number: int) -> None:
    await until(lambda: seen["waiting"] == number)


async def other_tenant_is_answered(server: Server) -> None:
    client = await server.open(head("/length", "kith_b-1", "POST", Content_Length=3) + b"abc")
    assert await client.answer() == (200, {"length": 3})
    client.close()


def test_a_head_that_trickles_ends() -> None:
    async def tell(server: Server, _: Any) -> None:
        client = await server.open(b"GET / HTTP/1.1\r\n")
        answer = await client.trickle(b"X-Name: value\r\n")
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "/problems/request-timeout"
        assert len(server.connections) == 0

    story(tell, head_seconds=SHORT)


def test_to_cut_a_connection_that_has_ended_is_no_error() -> None:
    """Its stream may still end: by then the credential may have been revoked."""

    async def tell(server: Server, _: Any) -> None:
        client = await server.open(b"GET / HTTP/1.1\r\n")
        await until(lambda: len(server.connections) == 1)
        connection: Any = next(iter(server.connections._owners))
        client.close()
        await until(connection.gone.done)
        await asyncio.sleep(0)  # the socket is closed after that
        connection.cut()

    story(tell)


def test_a_connection_that_sends_nothing_is_closed_and_so_is_one_between_two_requests() -> None:
    async def tell(server: Server, _: Any) -> None:
        assert await (await server.open()).rest() == b""
        client = await server.open(head("/health/live"))
        assert (await client.answer())[0] == 200
        assert b"408" in await client.trickle(head("/health/live")[:-4] + b"\r\nX: ")

    story(tell, head_seconds=SHORT)


@pytest.mark.parametrize(
    ("framing", "data"),
    [({"Content_Length": 10**6}, b"x"), ({"Transfer_Encoding": "chunked"}, b"1\r\nx\r\n")],
    ids=["length", "chunked"],
)
def test_a_body_that_trickles_ends_on_every_kind_of_route(framing: dict[str, Any], data: bytes) -> None:
    async def tell(server: Server, _: Any) -> None:
        for method, path in (("POST", "/length"), ("PATCH", "/json")):
            client = await server.open(head(path, "kith_a-1", method, **framing))
            assert b"HTTP/1.1 408" in await client.trickle(data), path
        # This route reads no body: its client is answered, and the rest of the body is not waited for.
        client = await server.open(head("/health/live", None, **framing))
        assert b"HTTP/1.1 200" in await client.trickle(data)

    story(tell, body_seconds=SHORT)


def test_before_a_credential_is_known_a_body_is_not_read() -> None:
    async def tell(server: Server, _: Any) -> None:
        client = await server.open(head("/json", None, "PATCH", Content_Length=10**9))
        assert b"HTTP/1.1 401" in await client.trickle(b"x")

    story(tell)


def test_64_that_declared_a_megabyte_and_sent_nothing_cost_nobody_else_anything() -> None:
    async def tell(server: Server, _: Any) -> None:
        silent = [
            await server.open(head("/length", "kith_a-1", "POST", Content_Length=MAX_BODY_BYTES))
            for _ in range(64)
        ]
        await other_tenant_is_answered(server)
        client = await server.open(head("/length", "kith_a-1", "POST", Content_Length=3) + b"abc")
        assert await client.answer() == (200, {"length": 3}), "not even to the same credential"
        for each in silent:
            each.close()

    # As little room as two bodies need, if it were taken as declared.
    story(tell, bodies=Most(2 * MAX_BODY_BYTES, 2 * MAX_BODY_BYTES, 2 * MAX_BODY_BYTES))


def test_room_for_bodies_is_taken_as_they_arrive_and_per_credential_first() -> None:
    kib = 1024

    async def tell(server: Server, seen: dict[str, Any]) -> None:
        def half_sent(key: str) -> Any:
            return server.open(head("/length", key, "POST", Content_Length=60 * kib) + bytes(40 * kib))

        first, second = await half_sent("kith_a-1"), await half_sent("kith_a-1")
        await until(partial(bodies_are, seen, 80 * kib))
        # 80 of 100 KiB are taken; what comes then is more than the credential may have.
        third = await half_sent("kith_a-1")
        status, problem = await third.answer()
        assert (status, problem["type"]) == (429, "/problems/share-used-up")
        assert "this credential already has" in problem["detail"]
        fourth = await half_sent("kith_a-2")
        await until(partial(bodies_are, seen, 120 * kib))
        fifth = await half_sent("kith_a-2")
        status, problem = await fifth.answer()
        assert (status, "this tenant already has" in problem["detail"]) == (429, True)
        await other_tenant_is_answered(server)
        left = 80 * kib
        for each in (first, second, fourth):
            each.send(bytes(20 * kib))
            assert await each.answer() == (200, {"length": 60 * kib}), "room that was given back is there again"
            # It is given back once the request has ended, just after its answer.
            await until(partial(bodies_are, seen, left))
            left -= 40 * kib

    story(tell, bodies=Most(100 * kib, 150 * kib, 300 * kib))


@pytest.mark.parametrize("declared", [True, False])
def test_one_limit_for_the_body_of_every_kind_of_route(declared: bool) -> None:
    async def tell(server: Server, _: Any) -> None:
        for method, path in (("POST", "/length"), ("PATCH", "/json")):
            framing: dict[str, Any] = (
                {"Content_Length": 149 * 2**20} if declared else {"Transfer_Encoding": "chunked"}
            )
            client = await server.open(head(path, "kith_a-1", method, Content_Type="application/json", **framing))
            if not declared:
                for _ in range(MAX_BODY_BYTES // 65536 + 1):
                    client.send(b"10000\r\n" + bytes(65536) + b"\r\n")
            status, problem = await client.answer()
            assert (status, problem["type"]) == (413, "/problems/too-large")
            assert str(MAX_BODY_BYTES) in problem["detail"]

    story(tell)


def test_a_body_in_very_many_chunks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_CHUNKS", 50)

    async def tell(server: Server, _: Any) -> None:
        chunked = head("/length", "kith_a-1", "POST", Transfer_Encoding="chunked")
        client = await server.open(chunked + b"1\r\nx\r\n" * 50 + b"0\r\n\r\n")
        assert await client.answer() == (200, {"length": 50})
        client.send(chunked + b"1\r\nx\r\n" * 51)
        assert b"HTTP/1.1 413" in await client.rest()

    story(tell)


@pytest.mark.parametrize(
    "excess",
    [
        b"a:\r\n" * (protocol.MAX_HEAD_LINES + 1),
        b"a:\n" * (protocol.MAX_HEAD_LINES + 1),
        b"a: b\r\n" + b" c\r\n" * protocol.MAX_HEAD_LINES,
    ],
    ids=["lines", "without carriage returns", "folded"],
)
def test_a_head_of_very_many_lines_is_refused_before_it_is_read(
    excess: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    parse = h11.Connection.next_event

    def noted(parser: h11.Connection) -> Any:
        read.append(parser.trailing_data[0])
        return parse(parser)

    monkeypatch.setattr(h11.Connection, "next_event", noted)

    async def tell(server: Server, _: Any) -> None:
        # Its end has not arrived, so that nothing is gained by leaving it out.
        for end in (b"\r\n", b""):
            answer = await (await server.open(POST + excess + end)).rest()
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert b"200 lines" in answer
        assert not any(excess in each for each in read)
        lines = b"a:\r\n" * (protocol.MAX_HEAD_LINES - 4)
        client = await server.open((POST + lines + b"Content-Length: 3\r\n\r\na\nb") * 2)
        assert [await client.answer() for _ in range(2)] == [(200, {"length": 3})] * 2

    story(tell)


def test_an_address_with_very_many_parameters_is_refused() -> None:
    async def tell(server: Server, _: Any) -> None:
        for number, status in ((protocol.MAX_PARAMETERS, 422), (protocol.MAX_PARAMETERS + 1, 431)):
            client = await server.open(head("/health/live?" + "&".join("a" * number)))
            assert (await client.answer())[0] == status

    story(tell)


def test_empty_lines_without_end_are_no_beginning_of_a_request() -> None:
    async def tell(server: Server, _: Any) -> None:
        assert (await (await server.open(b"\r\n" * 30_000)).rest()).startswith(b"HTTP/1.1 400 ")
        client = await server.open()
        assert b"HTTP/1.1 400 " in await client.trickle(b"\r\n")

    story(tell)


class Changing:
    """One credential, which others decide about."""

    def __init__(self) -> None:
        self.caller_now: Caller | None = Caller(
            "a", frozenset({"consumers:read", "personal:read"}), ("amount",), key="1", purpose="p"
        )
        self.asked = 0

    async def caller(self, _: str) -> Caller:
        self.asked += 1
        if self.caller_now is None:
            raise unauthorized("revoked")
        return self.caller_now


#: What changes of a credential, and whether its streams go on.
CHANGES: dict[str, tuple[dict[str, Any] | None, bool]] = {
    "revoked": (None, False),
    "a scope is taken back": ({"scopes": frozenset({"consumers:read"})}, False),
    "a mask is added": ({"masks": ("amount", "personal.email")}, False),
    "another mask": ({"masks": ("personal.email",)}, False),
    "another tenant": ({"tenant": "b"}, False),
    "another purpose": ({"purpose": "q"}, False),
    "bound no more": ({"purpose": None}, False),
    "a scope is granted": ({"scopes": frozenset(SCOPES)}, True),
    "no mask": ({"masks": ()}, True),
    "another limit": ({"limit": "1/second", "name": "x", "endpoints": 1}, True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stream_ends_when_its_credential_may_less_than_at_its_beginning(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "RECHECK_SECONDS", 0.01)
    changed, goes_on = CHANGES[change]

    async def tell(server: Server, seen: dict[str, Any]) -> None:
        credentials = seen["credentials"]
        client = await server.open(head("/stream", "kith_x"))
        await client.reader.readuntil(b"\r\n\r\n")
        before = credentials.caller_now
        credentials.caller_now = None if changed is None else replace(before, **changed)
        asked = credentials.asked
        if goes_on:
            await until(lambda: credentials.asked > asked + 3)
            assert len(server.connections) == 1
        else:
            await server.until_closed(1)
            assert not (await client.rest()).endswith(b"0\r\n\r\n"), "it is no whole answer"

    story(tell, credentials=Changing())


def test_nothing_that_is_still_to_be_sent_arrives_after_a_revocation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel keeps megabytes for a client that reads slowly."""
    monkeypatch.setattr(streams, "RECHECK_SECONDS", 0.01)

    async def tell(server: Server, seen: dict[str, Any]) -> None:
        client = await server.open(head("/stream", "kith_x"))
        await client.reader.readuntil(b"\r\n\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        seen["credentials"].caller_now = None
        await server.until_closed(1)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(client.reader.read(), PATIENCE)

    story(tell, credentials=Changing())


def test_what_nobody_waits_for_any_more_does_not_wait_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a client that leaves at once has as many requests waiting as it can send in five seconds."""
    monkeypatch.setattr(refusals, "LONGEST_SECONDS", 10.0 * PATIENCE)

    async def tell(server: Server, seen: dict[str, Any]) -> None:
        begun, ended, left = list[Any](), list[int](), asyncio.get_running_loop().create_future()
        left.set_result(None)
        access: Access = seen["app"].state.access
        access.denials, answered = Refusals(a_second=1, at_once=1), access.answered
        # All of its turns are given away, for longer than this test takes.
        for _ in range(20 * PATIENCE):
            await access.denials.wait(of_address("127.0.0.1"), left)

        async def noted(scope: Any, status: int) -> None:
            begun.append(scope)
            await answered(scope, status)
            ended.append(status)

        access.answered = noted  # type: ignore[method-assign]
        clients = [await server.open(head("/gate")) for _ in range(3)]
        await until(lambda: len(begun) == 3)
        assert ended == []
        for each in clients:
            each.close()
        await until(lambda: ended == [401] * 3)

    story(tell)


#: A body of three bytes, in one chunk.
CHUNKED = b"3\r\nabc\r\n0\r\n\r\n"
POST = b"POST /length HTTP/1.1\r\nHost: kith\r\nAuthorization: Bearer kith_a-1\r\n"


@pytest.mark.parametrize(
    ("request_", "detail"),
    [
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + CHUNKED, "one of the two"),
        (POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED, "one of the two"),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "Only Transfer-Encoding: chunked is supported"),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", "conflicting Content-Length headers"),
        (POST.replace(b"Host: kith\r\n", b"") + b"\r\n", "Missing mandatory Host: header"),
        (POST + b"X-Secret : ada@example.com\r\n\r\n", "(RFC 9112): illegal header line"),
        (POST + b"X-Secret: ada\0\r\n\r\n", "(RFC 9112): illegal header line"),
        (b"GET /secret\r\n\r\n", "(RFC 9112): illegal request line"),
        (b"GET /v1/consumers/Jos%E9 HTTP/1.1\r\nHost: x\r\n\r\n", "as in %C3%A9 for é"),
        (b"GET /v1/consumers?email=Jos%E9 HTTP/1.1\r\nHost: x\r\n\r\n", "as in %C3%A9 for é"),
    ],
)
def test_what_is_not_http_is_refused_with_the_reason_and_no_byte_of_it(request_: bytes, detail: str) -> None:
    async def tell(server: Server, _: Any) -> None:
        answer = await (await server.open(request_)).rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        problem = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert problem["type"] == "/problems/bad-request"
        assert problem["detail"].endswith(detail)

    story(tell)


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize(
    ("size", "status"), [(protocol.MAX_HEAD_BYTES - 200, 200), (protocol.MAX_HEAD_BYTES, 431)]
)
def test_whether_a_head_is_too_large_does_not_depend_on_its_pieces(pieces: int, size: int, status: int) -> None:
    async def tell(server: Server, _: Any) -> None:
        client = await server.open()
        request = POST + b"X-Long: " + b"x" * size + b"\r\nContent-Length: 3\r\n\r\nabc"
        step = len(request) // pieces + 1
        for start in range(0, len(request), step):
            client.send(request[start : start + step])
            await asyncio.sleep(0.01)
        found, answer = await client.answer()
        assert found == status
        assert answer == {"length": 3} or answer["type"] == "/problems/head-too-large"

    story(tell)


@pytest.mark.parametrize("target", [b"http://other:8701/length", b"HTTPS://user@kith/length?", b"/length"])
def test_an_absolute_address_is_as_good_as_its_path(target: bytes) -> None:
    async def tell(server: Server, _: Any) -> None:
        request = POST.replace(b"/length", target) + b"Content-Length: 3\r\n\r\nabc"
        assert await (await server.open(request)).answer() == (200, {"length": 3})

    story(tell)


def test_empty_lines_between_requests_are_ignored() -> None:
    async def tell(server: Server, _: Any) -> None:
        client = await server.open((POST + b"Content-Length: 3\r\n\r\nabc\r\n\r\n") * 2)
        assert [await client.answer() for _ in range(2)] == [(200, {"length": 3})] * 2
        client.send(b"\r\n" + POST + b"Content-Length: 3\r\n\r\nabc")
        assert await client.answer() == (200, {"length": 3})

    story(tell)


@pytest.mark.parametrize("path", ["/stream", "/large"])
def test_an_answer_that_its_client_does_not_take_ends(path: str) -> None:
    async def tell(server: Server, seen: dict[str, Any]) -> None:
        client = await server.open(head(path, "kith_a-1"))
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await other_tenant_is_answered(server)
        await server.until_closed(2)
        if path == "/stream":
            await asyncio.wait_for(seen["ended"].wait(), PATIENCE)
        client.close()

    story(tell, send_seconds=SHORT)


def test_pipelined_requests_whose_answers_are_not_read_end() -> None:
    async def tell(server: Server, _: Any) -> None:
        client = await server.open(head("/large", "kith_a-1") * 100)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await server.until_closed(1)
        client.close()

    story(tell, send_seconds=SHORT)


def test_pipelined_requests_are_answered_in_order_and_one_at_a_time() -> None:
    async def tell(server: Server, seen: dict[str, Any]) -> None:
        client = await server.open(head("/gate", "kith_a-1") * 20)
        await until(lambda: seen["waiting"] == 1)
        await other_tenant_is_answered(server)
        assert seen["waiting"] == 1
        seen["gate"].set()
        for _ in range(20):
            assert await client.answer() == (200, {"tenant": "a"})

    story(tell)


def test_idle_connections_give_way_to_new_ones_the_largest_holders_first() -> None:
    async def tell(server: Server, seen: dict[str, Any]) -> None:
        victim = await server.open(head("/health/live", "kith_b-1"))
        assert (await victim.answer())[0] == 200
        busy = await server.open(head("/gate", "kith_b-1"))
        await until(lambda: seen["waiting"] == 1)
        flood: list[Client] = []
        for _ in range(100):
            flood.append(await server.open(b"GET / HTTP/1.1\r\n"))
            await until(lambda: len(server.connections) <= 20)
        assert len(server.connections) <= 20
        await other_tenant_is_answered(server)
        seen["gate"].set()
        assert await busy.answer() == (200, {"tenant": "b"}), "what is in progress is not closed"
        for each in flood:
            each.close()

    story(tell, connections=Most(10, 15, 20), address_connections=15)


def test_a_credential_with_too_many_requests_in_progress_is_told_and_the_other_is_answered() -> None:
    async def tell(server: Server, seen: dict[str, Any]) -> None:
        held = []
        for number in range(3):
            held.append(await server.open(head("/gate", "kith_a-1")))
            await waiting(seen, number + 1)
        status, problem = await (await server.open(head("/gate", "kith_a-1"))).answer()
        assert (status, "this credential already has 3 connections" in problem["detail"]) == (429, True)
        held.append(await server.open(head("/gate", "kith_a-2")))
        await until(lambda: seen["waiting"] == 4)
        status, problem = await (await server.open(head("/gate", "kith_a-3"))).answer()
        assert (status, "this tenant already has 4 connections" in problem["detail"]) == (429, True)
        await other_tenant_is_answered(server)
        seen["gate"].set()
        assert [(await each.answer())[0] for each in held] == [200] * 4

    story(tell, connections=Most(3, 4, 50))


def test_a_proxy_has_connections_of_many_clients() -> None:
    async def tell(server: Server, _: Any) -> None:
        clients = [await server.open() for _ in range(5)]
        await until(lambda: len(server.connections) == 5)
        for each in clients:
            each.close()

    story(tell, address_connections=2, proxies=("127.0.0.0/8",))


def test_garbage_is_refused_and_closed() -> None:
    async def tell(server: Server, _: Any) -> None:
        for sent, status in (
            (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"400 Bad Request"),
            (b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 70_000, b"431 Request Header Fields Too Large"),
        ):
            answer = await (await server.open(sent)).rest()
            assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
            assert b"application/problem+json" in answer

    story(tell)
