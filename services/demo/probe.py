"""Measures the time from the door's answer until a relationship can be read."""

import math
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import httpx

from services.demo.emitter import LATER
from shared.contracts.errors import ConfigurationError

#: The probe's own tenant, so that its events do not affect the comparison. So it is a small tenant beside a busy
#: one: while the workers are behind, the door slows the market down for it.
TENANT = "probe"

_EVERY_SECONDS, _POLL_SECONDS, _LOST_SECONDS = 0.25, 0.005, 60.0
_MOST_WAITING = 12


class Probe:
    """Sends a marker relation every quarter of a second and polls its relationship until it is readable.

    A marker does not wait for the one before: otherwise slow periods would be measured seldom and look rare. Every
    marker has its own consumer and provider, so that markers spread over the partitions and start from nothing.
    ``lost`` counts the markers that were not readable within a minute.
    """

    def __init__(self, ingest: str, relations: str, headers: Mapping[str, str]) -> None:
        """``headers`` are sent with every request, for the tenant TENANT."""
        self.lost = 0
        self._ingest, self._relations = ingest, relations
        self._headers = headers
        self._milliseconds: list[float] = []
        self._waiting: dict[str, float] = {}  # marker → when the door had answered
        self._run = f"{time.time_ns():x}"
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send no more markers; ``finish`` still waits for pending ones."""
        self._stop.set()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def finish(self) -> None:
        """Stop, and wait for the pending markers. Raises the first error of the probe's thread."""
        self.stop()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def percentile(self, percent: float) -> float | None:
        """The nearest-rank percentile of all measurements so far, in milliseconds; None without any."""
        return percentile(self._milliseconds, percent)

    def _work(self) -> None:
        due = time.monotonic()
        number = 0
        try:
            with httpx.Client(timeout=10, trust_env=False, headers=self._headers) as client:
                while self._waiting or not self._stop.is_set():
                    now = time.monotonic()
                    if now >= due and len(self._waiting) < _MOST_WAITING and not self._stop.is_set():
                        number += 1
                        due = now + _EVERY_SECONDS
                        self._send(client, f"{self._run}-{number}")
                    for name in list(self._waiting):
                        self._ask(client, name)
                    time.sleep(_POLL_SECONDS)
        except BaseException as error:
            self._error = error

    def _send(self, client: httpx.Client, name: str) -> None:
        try:
            answer = client.post(f"{self._ingest}/v1/events", json=marker(name), headers=_STRUCTURED)
        except httpx.TransportError:
            return  # the emitter reports a door that is unavailable
        if answer.status_code == 202:
            self._waiting[name] = time.monotonic()
        elif answer.status_code not in LATER:
            raise ConfigurationError(f"the door answered {answer.status_code} to a probe: {answer.text[:200]}")

    def _ask(self, client: httpx.Client, name: str) -> None:
        url = f"{self._relations}/v1/relationships/{name}/{name}"
        try:
            status = client.get(url).status_code
        except httpx.TransportError:
            status = 503
        waited = time.monotonic() - self._waiting[name]
        if status == 200:
            self._milliseconds.append(waited * 1000)
            del self._waiting[name]
        elif status not in (404, 503):
            raise ConfigurationError(f"{url} answered {status}")
        elif waited > _LOST_SECONDS:
            self.lost += 1
            del self._waiting[name]


_STRUCTURED = {"Content-Type": "application/cloudevents+json"}


def marker(name: str) -> dict[str, object]:
    """A relation of the probe's tenant, between a consumer and a provider of its own."""
    return {
        "specversion": "1.0",
        "id": name,
        "source": "/probe",
        "type": "relation.recorded",
        "time": datetime.now(UTC).isoformat(),
        "tenant": TENANT,
        "data": {"relation_id": name, "kind": "view", "consumer_id": name, "provider_id": name},
    }


def percentile(values: list[float], percent: float) -> float | None:
    """The nearest-rank percentile; None without values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
