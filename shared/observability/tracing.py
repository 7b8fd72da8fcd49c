"""Traces, when they are wanted: OTEL_EXPORTER_OTLP_ENDPOINT says where to, the extra ``otel`` knows how.

A trace that comes in at the door (W3C ``traceparent``) goes on in the headers of the published events. A worker
makes one span of each slice, linked to the traces of its events, and the changes carry that span on.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from shared.runtime.observer import Observer
from shared.runtime.protocols import Headers


class Tracing(Protocol):
    def request(self, name: str, headers: Sequence[tuple[bytes, bytes]]) -> AbstractContextManager[Headers]:
        """A context for the handling of an HTTP request with these headers (ASGI's form). It gives the headers
        that messages take along: none without tracing."""

    def observers(self, projection: str) -> Sequence[Observer]:
        """What makes a runner's slices into spans: nothing without tracing."""

    def close(self) -> None:
        """Send what has not been sent, if it can be done within a moment."""


class NoTracing:
    """No traces, at no cost."""

    @contextmanager
    def request(self, name: str, headers: Sequence[tuple[bytes, bytes]]) -> Iterator[Headers]:  # noqa: ARG002
        yield ()

    def observers(self, projection: str) -> Sequence[Observer]:  # noqa: ARG002
        return ()

    def close(self) -> None: ...
