"""A trace goes in at the door, through Kafka's headers and a worker's slice, into the changes; or not at all."""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from services.ingest.api import create_app
from shared.contracts.errors import Unavailable
from shared.contracts.topics import INPUTS
from shared.observability.otel import MAX_LINKS, OpenTelemetryTracing
from shared.observability.tracing import NoTracing, Tracing
from shared.observability.tracing_setup import open_tracing
from shared.runtime.protocols import Message, Partition, Record
from shared.settings import Settings
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader
from tests.support.builders import OPEN, TOPICS, MemoryKith, message
from tests.support.runner import CHANGES, PLACE, RELATIONS, WatchedStore, kith_with, runner_of, views
from tests.support.waiting import PATIENCE_SECONDS
from tests.unit.ingest.test_door import NOW, STRUCTURED, fields

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Spans:
    """Traces that stay in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = OpenTelemetryTracing(provider)

    def take(self) -> list[ReadableSpan]:
        found = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return found


@pytest.fixture
def spans() -> Iterator[Spans]:
    found = Spans()
    yield found
    found.tracing.close()


def posted(tracing: Tracing | None, **headers: str) -> Record:
    """The record of one event that was posted at the door."""
    log = MemoryLog({TOPICS.name(short): 1 for short in INPUTS})
    app = create_app(MemoryPublisher(log), TOPICS, Settings(), lambda: NOW, list, tracing=tracing, access=OPEN)

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            sent = {"Content-Type": STRUCTURED, **headers}
            return await client.post("/v1/events", content=json.dumps(fields()).encode(), headers=sent)

    assert asyncio.run(post()).status_code == 202
    (record,) = [record for records in log.records.values() for record in records]
    return record


def traced(spans: Spans, kith: MemoryKith, headers: Sequence[tuple[str, bytes]]) -> list[ReadableSpan]:
    """The spans of a runner that reads one event for each of these traceparents."""
    kith.reader = MemoryReader(kith.log)
    (observer,) = spans.tracing.observers("relations")
    kith.runner = runner_of(kith, kith.reader, 100, observer=observer)
    kith.reader.assign(kith.inputs)
    for event, header in zip(views(len(headers)), headers, strict=True):
        kith.log.append(message(event)._replace(headers=(header,)))
    kith.drain()
    return spans.take()


def test_the_door_goes_on_with_the_senders_trace(spans: Spans) -> None:
    record = posted(spans.tracing, traceparent=TRACEPARENT, tracestate="vendor=1")
    (span,) = spans.take()
    assert (span.name, span.kind) == ("POST /v1/events", SpanKind.SERVER)
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == f"{TRACE}-{PARENT}"
    assert span.context is not None
    assert dict(record.headers) == {
        "traceparent": f"00-{TRACE}-{span.context.span_id:016x}-01".encode(),
        "tracestate": b"vendor=1",
    }


@pytest.mark.parametrize("headers", [{}, {"traceparent": "nonsense"}])
def test_without_a_trace_the_door_begins_one(spans: Spans, headers: dict[str, str]) -> None:
    record = posted(spans.tracing, **headers)
    (span,) = spans.take()
    assert span.parent is None
    assert span.context is not None
    assert f"{span.context.trace_id:032x}".encode() in dict(record.headers)["traceparent"]


def test_without_tracing_nothing_is_passed_on() -> None:
    assert posted(None, traceparent=TRACEPARENT).headers == ()
    assert posted(NoTracing(), traceparent=TRACEPARENT).headers == ()


def test_a_failed_request_is_marked_without_its_words(spans: Spans) -> None:
    with pytest.raises(Unavailable), spans.tracing.request("POST /v1/events", []):
        raise Unavailable("ada@example.org")
    (span,) = spans.take()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "Unavailable")
    assert "ada@example.org" not in span.to_json()


def test_a_slice_is_a_span_that_leads_to_its_events_and_from_its_changes(spans: Spans) -> None:
    kith = kith_with(WatchedStore())
    header = ("traceparent", TRACEPARENT.encode())
    (span,) = traced(spans, kith, [header, header])
    assert (span.name, span.kind) == (f"relations {RELATIONS}", SpanKind.CONSUMER)
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE]
    assert span.attributes is not None
    assert span.attributes["messaging.batch.message_count"] == 2
    assert span.status.status_code is StatusCode.UNSET
    assert span.context is not None
    changes = kith.log.records[Partition(CHANGES, 0)]
    (carried,) = {dict(change.headers)["traceparent"].decode() for change in changes}
    assert carried.startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")
    assert len(changes) == 2
    assert {"kith-origin", "kith-number"} < set(dict(changes[0].headers))


def test_links_are_bounded_and_what_is_no_trace_is_no_link(spans: Spans) -> None:
    kith = kith_with(WatchedStore())
    headers = [("traceparent", f"00-{n:032x}-{PARENT}-01".encode()) for n in range(60)]
    (span,) = traced(spans, kith, [("traceparent", b"\xff"), ("x", b"y"), *headers[1:]])
    assert len(span.links) == MAX_LINKS - 1


def test_a_slice_that_is_tried_again_is_a_span_each_time(spans: Spans) -> None:
    def away(attempt: int) -> None:
        if attempt == 1:
            raise Unavailable("secret")

    failed, stored = traced(spans, kith_with(WatchedStore(away)), [("x", b"y")])
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "commit: Unavailable")
    assert stored.status.status_code is StatusCode.UNSET


def test_a_dead_letter_takes_the_trace_along(spans: Spans) -> None:
    kith = kith_with(WatchedStore())
    kith.log.append(Message(RELATIONS, b"k", b"not json", headers=(("traceparent", TRACEPARENT.encode()),)))
    (span,) = traced(spans, kith, [])
    assert span.context is not None
    (letter,) = kith.log.records[Partition(TOPICS.name("dead-letters"), 0)]
    assert f"{span.context.trace_id:032x}" in dict(letter.headers)["traceparent"].decode()


def test_documents_are_the_same_with_and_without_traces(spans: Spans) -> None:
    with_traces, without = kith_with(WatchedStore()), kith_with(WatchedStore())
    traced(spans, with_traces, [("traceparent", TRACEPARENT.encode())] * 5)
    without.publish(views(5))
    without.drain()
    assert with_traces.documents() == without.documents()
    assert with_traces.position(PLACE) == without.position(PLACE) == 5


def test_no_endpoint_no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)
    tracing = open_tracing("relations")
    assert isinstance(tracing, NoTracing)
    assert tracing.observers("relations") == ()


def test_an_endpoint_without_the_extra_is_said_and_harms_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.delitem(sys.modules, "shared.observability.otel")
    monkeypatch.delattr("shared.observability.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert isinstance(open_tracing("relations"), NoTracing)
    assert "extra otel is not installed" in caplog.text


def test_spans_arrive_at_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever, args=(0.01,))
        thread.start()
        try:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            tracing = open_tracing("ingest")
            with tracing.request("POST /v1/events", [(b"traceparent", TRACEPARENT.encode())]):
                pass
            tracing.close()
        finally:
            collector.shutdown()
            thread.join()
    ((path, body),) = received
    assert path == "/v1/traces"
    assert bytes.fromhex(TRACE) in body
    assert b"kith-ingest" in body


def test_a_collector_that_is_away_does_not_hold_up_the_end() -> None:
    class Away(SpanExporter):
        let_go = threading.Event()

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
            self.let_go.wait(PATIENCE_SECONDS)
            return SpanExportResult.FAILURE

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Away()))
    tracing = OpenTelemetryTracing(provider)
    with tracing.request("POST /v1/events", []):
        pass
    begun = time.monotonic()
    tracing.close()
    took = time.monotonic() - begun
    Away.let_go.set()
    assert 1 < took < PATIENCE_SECONDS


def test_no_span_holds_a_personal_value(spans: Spans) -> None:
    """Neither of what is accepted nor of what is refused, at the door and in a worker."""
    marker = "marker-5e8a1f"
    good = {**fields(), "type": "consumer.upserted", "data": {"consumer_id": "c", "personal": {"email": marker}}}
    bad = {**good, "data": {**good["data"], marker: marker}}
    kith = MemoryKith()
    app = create_app(
        MemoryPublisher(kith.log), TOPICS, Settings(), lambda: NOW, list, tracing=spans.tracing, access=OPEN
    )

    async def post(event: object, params: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            return await client.post("/v1/events", json=event, params=params)

    assert [asyncio.run(post(event, {})).status_code for event in (good, bad)] == [202, 400]
    assert asyncio.run(post(good, {"note": marker})).status_code == 422
    kith.reader = MemoryReader(kith.log)
    kith.runner = runner_of(kith, kith.reader, 100, observer=spans.tracing.observers("relations")[0])
    kith.reader.assign(kith.inputs)
    kith.log.append(Message(TOPICS.name("consumers"), b"default:c", json.dumps(bad).encode(), 0))
    kith.drain()
    assert kith.documents()["dead_letters"]
    found = spans.take()
    assert len(found) in (3, 4)  # two requests, one slice; the third request is refused before it has a span
    assert marker not in "".join(span.to_json() for span in found)
