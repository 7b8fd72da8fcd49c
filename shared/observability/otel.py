"""Tracing with OpenTelemetry."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, get_current_span
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.observability.tracing import Tracing
from shared.runtime.observer import Observer
from shared.runtime.protocols import Headers, Outcome, Partition, Record

#: The most traces that the span of a slice is linked to.
MAX_LINKS = 32
_CLOSE_SECONDS = 2.0
_TRACEPARENT, _TRACESTATE = "traceparent", "tracestate"

_propagator = TraceContextTextMapPropagator()


def open_telemetry(service: str) -> Tracing:
    """Spans go to the OTLP endpoint of the environment (over HTTP), in the background."""
    name = os.environ.get("OTEL_SERVICE_NAME") or f"kith-{service}"
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetryTracing(provider)


class OpenTelemetryTracing:
    """Makes spans with ``provider``, which ``close`` shuts down."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("kith")

    @contextmanager
    def request(self, name: str, headers: Sequence[tuple[bytes, bytes]]) -> Iterator[Headers]:
        stated = {key.decode("latin-1"): value.decode("latin-1") for key, value in headers}
        span = self._tracer.start_span(name, _propagator.extract(stated), SpanKind.SERVER)
        try:
            yield _headers(span)
        except BaseException as error:
            # Not the exception's message, which may quote the request.
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            span.end()

    def observers(self, projection: str) -> Sequence[Observer]:
        return (SliceSpans(self._tracer, projection),)

    def close(self) -> None:
        # An unavailable collector must not delay the end of the process: the exporter retries for half a minute.
        shutdown = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        shutdown.start()
        shutdown.join(_CLOSE_SECONDS)


class SliceSpans:
    """An Observer that makes a span for every slice, from its fold to its commit."""

    def __init__(self, tracer: Tracer, projection: str) -> None:
        self._tracer = tracer
        self._projection = projection
        self._spans: dict[Partition, Span] = {}

    def received(self, partition: Partition, count: int) -> None: ...

    def begun(self, partition: Partition, records: Sequence[Record]) -> Headers:
        self._end(partition, "given up")  # from an earlier assignment of the partition
        span = self._spans[partition] = self._tracer.start_span(
            f"{self._projection} {partition.topic}",
            kind=SpanKind.CONSUMER,
            links=_links(records),
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.name": partition.topic,
                "messaging.destination.partition.id": str(partition.number),
                "messaging.batch.message_count": len(records),
                "kith.offset.first": records[0].offset,
                "kith.offset.last": records[-1].offset,
            },
        )
        return _headers(span)

    def folded(self, partition: Partition, outcome: Outcome) -> None:
        counts = {"kith.writes": len(outcome.writes), "kith.messages": len(outcome.messages)}
        self._spans[partition].add_event("folded", counts)

    def committed(self, partition: Partition, records: Sequence[Record], outcome: Outcome) -> None:  # noqa: ARG002
        self._end(partition)

    def interrupted(self, partition: Partition, step: str, error: Exception) -> None:
        if step != "publish":
            self._end(partition, f"{step}: {type(error).__name__}")

    def _end(self, partition: Partition, trouble: str | None = None) -> None:
        if (span := self._spans.pop(partition, None)) is not None:
            if trouble is not None:
                span.set_status(Status(StatusCode.ERROR, trouble))
            span.end()


def _headers(span: Span) -> Headers:
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, set_span_in_context(span))
    return tuple((name, value.encode()) for name, value in carrier.items())


def _links(records: Sequence[Record]) -> list[Link]:
    """Links to the first traces that the records belong to, each once."""
    carriers: dict[bytes, dict[str, str]] = {}
    for record in records:
        stated = dict(record.headers)
        if (parent := stated.get(_TRACEPARENT)) is not None and parent not in carriers:
            state = stated.get(_TRACESTATE, b"")
            carriers[parent] = {_TRACEPARENT: parent.decode("latin-1"), _TRACESTATE: state.decode("latin-1")}
            if len(carriers) == MAX_LINKS:
                break
    contexts = [get_current_span(_propagator.extract(each)).get_span_context() for each in carriers.values()]
    return [Link(context) for context in contexts if context.is_valid]
