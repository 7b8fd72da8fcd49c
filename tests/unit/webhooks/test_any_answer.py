"""Whatever a receiver answers, and whatever goes wrong in an attempt: it has one outcome, which can be stored."""

import asyncio
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import bson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.webhooks.delivery import retry_policy
from services.webhooks.delivery.addresses import networks
from services.webhooks.delivery.http_client import Answer, HttpClient
from services.webhooks.delivery.queue import Queue, Settled
from services.webhooks.delivery.sender import Sender, SenderContext, Transport
from services.webhooks.delivery.tenant_semaphore import TenantSemaphore
from services.webhooks.messages.rendering import Renderer
from services.webhooks.metrics import SenderMetrics
from shared.observability.metrics import new_registry
from tests.support.deliveries import ENDPOINT, at_once, delivery
from tests.support.waiting import PATIENCE_SECONDS

ALLOWED = networks(["127.0.0.0/8"])
BEYOND = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"
_TEXTS = st.one_of(
    st.text(max_size=60),
    st.integers().map(str),
    st.datetimes().map(lambda time: f"{time:%a, %d %b %Y %H:%M:%S} +{time:%H%M}"),
    st.from_regex(
        r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,30} [0-9:]{1,30} [-+A-Z0-9]{1,30}", fullmatch=True
    ),
)
_BYTES = st.one_of(st.binary(max_size=60), _TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass")))
_LINES = st.one_of(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK",
            b"HTTP/1.1 204 No Content",
            b"HTTP/1.1 302 Found",
            b"HTTP/1.1 410 Gone",
            b"HTTP/1.1 429 Too Many Requests",
            b"HTTP/1.1 503 \xff",
            b"HTTP/1.0 500",
            b"HTTP/1.1 999 \xc3\x28",
            b"HTTP/1.1 000 Zero",
            b"HTTP/9.9 200 OK",
            b"HTTP/1.1 101 Switching Protocols",
        ]
    ),
    _BYTES,
)
_HEADERS = st.one_of(
    _BYTES.map(lambda value: b"Retry-After: " + value),
    _BYTES.map(lambda value: b"Location: " + value),
    _BYTES.map(lambda value: b"Set-Cookie: " + value),
    st.sampled_from(
        [
            b"Content-Length: 4",
            b"Content-Length: -1",
            b"Content-Length: " + b"9" * 31,
            b"Transfer-Encoding: chunked",
            b"Content-Encoding: gzip",
            b"Content-Type: text/\xff; charset=\xff",
            b"Connection: upgrade",
        ]
    ),
    _BYTES,
)
_ANSWERS = st.tuples(_LINES, st.lists(_HEADERS, max_size=4), st.one_of(st.just(b""), st.binary(max_size=3_000)))


def attempted(client: Transport) -> list[tuple[Settled, str]]:
    """The outcomes after one attempt with this client."""

    async def attempt() -> list[tuple[Settled, str]]:
        renderer = Renderer(Mock(), str, lambda *_: None, None)
        context = SenderContext(
            Mock(spec=Queue), renderer, client, SenderMetrics(new_registry()), at_once, TenantSemaphore(1)
        )
        sender = Sender(ENDPOINT, context, lambda: True)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await sender._attempt(delivery("ada"))
        return sender._settled

    return asyncio.run(attempt())


class Raw:
    """Posts to a server that answers ``raw``, and closes the connection."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:  # noqa: ARG002
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(self._raw)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        client = HttpClient(ALLOWED)
        try:
            port = server.sockets[0].getsockname()[1]
            return await client.post(f"http://127.0.0.1:{port}/", headers, body)
        finally:
            await client.close()
            server.close()


def check(outcomes: list[tuple[Settled, str]]) -> tuple[Settled, str]:
    [(settled, outcome)] = outcomes
    assert bson.decode(bson.encode(settled.entry))["outcome"] == outcome
    assert outcome == "delivered" or settled.due is not None
    return settled, outcome


@given(_ANSWERS)
@example((b"HTTP/1.1 503 x", [f"Retry-After: {BEYOND}".encode()], b""))
@example((b"HTTP/1.1 503 x", [b"Retry-After: \xff\xfe"], b"\xff\x00"))
def test_whatever_a_receiver_answers_the_attempt_has_an_outcome(answer: tuple[bytes, list[bytes], bytes]) -> None:
    line, headers, body = answer
    check(attempted(Raw(b"\r\n".join([line, *headers, b"", body]))))


@given(_TEXTS)
@example(BEYOND)
def test_any_wish_is_seconds_or_none(header: str) -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    wish = retry_policy.retry_after(header, now)
    due = retry_policy.next_attempt(1, now, 0.0, wish)
    assert due is not None
    assert now < due <= now + timedelta(days=1)


@pytest.mark.parametrize("error", [RuntimeError("x\udcff"), KeyError("a"), OverflowError(), AssertionError()])
def test_an_attempt_that_fails_unexpectedly_is_a_failed_one(error: Exception) -> None:
    class Failing:
        async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:  # noqa: ARG002
            raise error

    settled, outcome = check(attempted(Failing()))
    assert outcome == "failed"
    assert type(error).__name__ in settled.entry["error"]


@pytest.mark.parametrize(
    "cut", [b"Content-Length: 900\r\n\r\nhe", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"]
)
@pytest.mark.parametrize("status", [200, 410, 503])
def test_a_body_that_breaks_leaves_the_status(status: int, cut: bytes) -> None:
    settled, outcome = check(attempted(Raw(b"HTTP/1.1 %d x\r\nRetry-After: 7200\r\n%s" % (status, cut))))
    assert settled.entry["status"] == status
    assert outcome == ("delivered" if status == 200 else "failed")
    if status == 503:
        assert settled.due is not None
        assert settled.due - settled.entry["at"] > timedelta(hours=1)
