"""Optional tracing: OTEL_EXPORTER_OTLP_ENDPOINT sets the endpoint, the extra ``otel`` provides the library.

A trace that arrives at the door (W3C ``traceparent``) continues in the headers of the published events. A worker
makes one span per slice, linked to the traces of its events, and the changes carry that span.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from shared.runtime.observer import Observer
from shared.runtime.protocols import Headers


class Tracing(Protocol):
    def request(self, name: str, headers: Sequence[tuple[bytes, bytes]]) -> AbstractContextManager[Headers]:
        """A context for handling an HTTP request with these headers (in ASGI's form). It returns the headers to
        add to messages; none without tracing."""

    def observers(self, projection: str) -> Sequence[Observer]:
        """Observers that make spans of a runner's slices; none without tracing."""

    def close(self) -> None:
        """Send the remaining spans, if that is possible within a moment."""


class NoTracing:
    """No tracing, at no cost."""

    @contextmanager
    def request(self, name: str, headers: Sequence[tuple[bytes, bytes]]) -> Iterator[Headers]:  # noqa: ARG002
        yield ()

    def observers(self, projection: str) -> Sequence[Observer]:  # noqa: ARG002
        return ()

    def close(self) -> None: ...
