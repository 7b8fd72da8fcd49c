"""``/metrics`` of an HTTP service, and the metrics of its requests."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from shared.http.caller import METRICS_READ
from shared.http.purposes import INTERNAL
from shared.http.scopes import needs
from shared.observability.metrics import SECONDS

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Label values come from these and from the route templates, so that senders cannot create new ones.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ELSEWHERE = "none"
_UNSEEN = ("/metrics", "/health/live", "/health/ready")


class RequestMetrics:
    """ASGI middleware. Health checks and scrapes are not measured."""

    def __init__(self, app: App, registry: CollectorRegistry) -> None:
        self._app = app
        self._seconds = Histogram(
            "kith_http_request_seconds",
            "From a request's head until the end of its answer. Route none: no route matched.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=registry,
        )
        self._received = Counter(
            "kith_http_received_bytes", "Bytes of request bodies, as sent.", registry=registry
        )
        self._in_flight = Gauge("kith_http_requests_in_flight", "Requests in progress.", registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNSEEN:
            await self._app(scope, receive, send)
            return
        # The status after a crash: its answer is made outside of this middleware.
        status = 500

        async def counted() -> MutableMapping[str, Any]:
            message = await receive()
            if body := message.get("body"):
                self._received.inc(len(body))
            return message

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        self._in_flight.inc()
        try:
            await self._app(scope, counted, noted)
        finally:
            self._in_flight.dec()
            method = scope["method"] if scope["method"] in _METHODS else _ELSEWHERE
            route = getattr(scope.get("route"), "path", _ELSEWHERE)
            seconds = time.perf_counter() - started
            self._seconds.labels(method, route, str(status)).observe(seconds)


def add_metrics(app: FastAPI, registry: CollectorRegistry) -> None:
    """Measure the requests of ``app``, and serve everything in ``registry`` at ``/metrics``."""
    app.add_middleware(RequestMetrics, registry=registry)

    # A synchronous route runs off the event loop: gauges make requests of their own.
    @app.get("/metrics", include_in_schema=False)
    @needs(METRICS_READ, masks_itself=True, purpose=INTERNAL)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)
