"""Collects the live view's data from the emitter, the probe, the logs and MongoDB."""

import time
from collections import deque
from typing import Any

from pymongo import DESCENDING
from pymongo.database import Database

from services.demo.emitter import Emitter
from services.demo.lag import Lag, LagReader
from services.demo.live import Snapshot, Strong
from services.demo.probe import Probe

_RATES = 60  # samples in the sparkline
_WINDOW_SECONDS = 2.0  # over which rates are taken
_STRONGEST = 8
_GAIN_SECONDS = 3.0  # how long a gain stays to be seen


class Watch:
    """Takes snapshots; each one queries the servers again. For one thread."""

    def __init__(
        self,
        database: Database[dict[str, Any]],
        tenant: str,
        lag_reader: LagReader,
        emitter: Emitter,
        probe: Probe,
        total: int,
        strongest: bool,
    ) -> None:
        """``strongest`` False leaves out the list of relationships, which only a terminal shows."""
        self._database, self._tenant = database, tenant
        self._lag_reader, self._emitter, self._probe = lag_reader, emitter, probe
        self._total = total
        self._strongest = strongest
        self._started = time.monotonic()
        self._counts: deque[tuple[float, int, int]] = deque()
        self._rates: deque[float] = deque([0.0] * _RATES, maxlen=_RATES)
        self._names: dict[tuple[str, str], str] = {}
        self._before: dict[str, int] = {}
        self._before_at = 0.0

    def look(self) -> tuple[Lag, Snapshot]:
        """The present state, and the lag of the services. Raises PyMongoError and Unavailable."""
        lag = self._lag_reader.lag()
        now = time.monotonic()
        self._counts.append((now, self._emitter.accepted, lag.done["relations"]))
        while now - self._counts[0][0] > _WINDOW_SECONDS and len(self._counts) > 2:
            self._counts.popleft()
        then, accepted, stored = self._counts[0]
        span = max(now - then, 1e-3)
        rate_out = (lag.done["relations"] - stored) / span
        self._rates.append(rate_out)
        return lag, Snapshot(
            seconds=now - self._started,
            total=self._total,
            sent=self._emitter.sent,
            rejected=self._emitter.rejected,
            told_to_wait=self._emitter.retries,
            rate_in=(self._emitter.accepted - accepted) / span,
            rate_out=rate_out,
            rates=tuple(self._rates),
            lag={service: lag.of(service) for service in lag.behind},
            dead_letters=lag.dead_letters,
            p50=self._probe.percentile(50),
            p99=self._probe.percentile(99),
            strongest=self._relationships() if self._strongest else (),
        )

    def _relationships(self) -> list[Strong]:
        found = list(
            self._database.relationships.find({"tenant": self._tenant}).sort("score", DESCENDING).limit(_STRONGEST)
        )
        before = self._before
        if time.monotonic() - self._before_at > _GAIN_SECONDS:
            self._before = {each["_id"]: each["count"] for each in found}
            self._before_at = time.monotonic()
        return [
            Strong(
                consumer=self._name("consumers", "consumer_id", each),
                provider=self._name("providers", "provider_id", each),
                count=each["count"],
                gained=each["count"] - before.get(each["_id"], each["count"]),
                # The score is a logarithm to base 2, so a difference of scores is a ratio of strengths.
                share=2.0 ** (each["score"] - found[0]["score"]),
                kinds={
                    kind: sum(cell["count"] for cell in months.values())
                    for kind, months in each.get("kinds", {}).items()
                },
            )
            for each in found
        ]

    def _name(self, collection: str, field: str, relationship: dict[str, Any]) -> str:
        id: str = relationship[field]
        if (collection, id) not in self._names:
            document = self._database[collection].find_one({"tenant": self._tenant, field: id}) or {}
            name = document.get("name") or document.get("personal", {}).get("name")
            if not isinstance(name, str):
                return id  # not known yet, or erased
            self._names[collection, id] = name
        return self._names[collection, id]
