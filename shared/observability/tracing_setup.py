"""Selects the tracing of a process: OpenTelemetry where the environment names an endpoint, otherwise none."""

import logging
import os

from shared.observability.tracing import NoTracing, Tracing

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def open_tracing(service: str) -> Tracing:
    """Tracing of ``service`` as the environment's OTEL_ variables configure it. Without an endpoint or without the
    extra, nothing is traced."""
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return NoTracing()
    try:
        from shared.observability import otel
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        log.warning(
            "no traces are made: OTEL_EXPORTER_OTLP_ENDPOINT is set, but Kith's extra otel is not installed"
        )
        return NoTracing()
    return otel.open_telemetry(service)
