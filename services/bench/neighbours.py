"""Two tenants beside each other: what one does with a valid key, and how long the other one waits."""

import json
import random
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pymongo import MongoClient

from services.bench.attacks import ATTACKS, STARTED
from services.bench.door import BATCHED, ready
from services.bench.events import KINDS
from services.bench.http import Connection
from services.bench.latency import percentile
from services.bench.servers import BenchServers
from shared.access.keys import NO_LIMIT, ApiKeys
from shared.access.keys_mongo import MongoKeys
from shared.contracts.topics import Topics
from shared.http.caller import SCOPES
from shared.kafka.topics_admin import ensure_topics
from shared.local.processes import Process, ProcessFailed
from shared.runtime.clock import now
from shared.runtime.protocols import Document
from shared.settings import Settings

PREFIX = "neighbours"
#: Those that take and count the events of both tenants.
FILLED_BY = ("ingest", "relations", "analytics")
#: The second tenant's median may be so many times its idle one, and so much more on a machine that both share.
MOST_TIMES, FLOOR_MS = 3.0, 30.0
_BATCH, _PATIENCE_SECONDS = 500, 300.0
_WIDE_KINDS = 1_000

Say = Callable[[str], None]


class Probe(NamedTuple):
    """A request of the second tenant, which is answered in full."""

    title: str
    service: str
    path: str


PROBES = (
    Probe("an event", "ingest", "/v1/events"),
    Probe("a relationship", "relations", "/v1/relationships/c-0000001/p-000001"),
    Probe("RFM", "relations", "/v1/measures/rfm"),
    Probe("aggregates", "analytics", "/v1/aggregates?by=kind"),
    Probe("activity", "analytics", "/v1/measures/activity"),
    Probe("a page of the feed", "exports", "/odata/v1/Relations?$top=100"),
    Probe("recommendations", "intelligence", "/v1/recommendations?provider_id=p-000001&record=false"),
    Probe("what is around a provider", "intelligence", "/v1/neighbours/provider/p-000001?depth=2&limit=10"),
    Probe("whom to call", "intelligence", "/v1/next?provider_id=p-000001"),
    Probe("hubs", "intelligence", "/v1/central?by=degree"),
    Probe("webhook endpoints", "webhooks", "/v1/webhooks/endpoints"),
    Probe("applications", "apps", "/v1/apps"),
    Probe("erasures", "privacy", "/v1/erasures"),
    Probe("a page of the audit", "privacy", "/v1/audit?limit=10"),
)


class Neighbours:
    """The running services, and a key of each of two tenants."""

    def __init__(self, servers: BenchServers, client: MongoClient[Document], seconds: float, say: Say) -> None:
        self._servers, self._client, self._seconds, self._say = servers, client, seconds, say
        self._ports: dict[str, int] = {}
        keys = ApiKeys(MongoKeys(client[PREFIX]), now)
        self._noisy = keys.create("noisy", "bench", [*SCOPES])[1]
        # The second tenant is measured, not limited.
        self._quiet = keys.create("quiet", "bench", [*SCOPES], limit=NO_LIMIT)[1]
        self._sent = 0

    def measure(self, events: int, names: Sequence[str]) -> list[dict[str, Any]]:
        """A row per attack and per request of the second tenant to the service that is attacked."""
        topics = Settings(kafka=self._servers.kafka.bootstrap, topic_prefix=PREFIX, partitions=4)
        ensure_topics(topics)
        with ExitStack() as stop:
            for name in dict.fromkeys((*FILLED_BY, *(ATTACKS[each].service for each in names))):
                self._start(name, stop)
            self._fill(events)
            self._say(f"requests in turn for {self._seconds:g} s, for caches and imports")
            self._probed(self._seconds, self._ports)
            return [row for name in names for row in self._beside(name)]

    def _start(self, name: str, stop: ExitStack) -> None:
        running = ready(self._servers, name, "kafka-python", PREFIX, KITH_ACCESS="keys")
        _, self._ports[name] = stop.enter_context(running)

    def _fill(self, events: int) -> None:
        self._say(f"{events:,} events of the first tenant, {events // 10:,} of the second")
        sender = Connection(self._ports["ingest"])
        for key, whole in (
            (self._noisy, [*_market(events), *_wide()]),
            (self._quiet, [*_market(events // 10), _event(10**8, 1, 1)]),
        ):
            for start in range(0, len(whole), _BATCH):
                request = _post(key, json.dumps(whole[start : start + _BATCH]).encode())
                # The first tenant's limit is as it is for everybody: what is too fast for it is sent again.
                while (status := sender.send(request)) == 429:
                    time.sleep(0.2)
                if status != 202:
                    raise ProcessFailed(f"the door answered {status}")
        sender.close()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        wanted = events + events // 10 + _WIDE_KINDS + 1
        database = self._client[PREFIX]
        while database.relations.estimated_document_count() < wanted or self._uncounted() > 0:
            if time.monotonic() > deadline:
                raise ProcessFailed(f"the events were not counted within {_PATIENCE_SECONDS:.0f} s")
            time.sleep(0.5)

    def _uncounted(self) -> int:
        """Changes that relations has published and analytics has not counted."""
        positions = self._client[PREFIX].positions
        changes = Topics(PREFIX).name("relation-changes")
        published = sum(each.get("emitted", 0) for each in positions.find({"_id": {"$regex": "^relations@"}}))
        counted = sum(each.get("next") or 0 for each in positions.find({"_id": {"$regex": f"/{changes}/"}}))
        return int(published > 0 and counted < published)

    def _beside(self, name: str) -> Iterator[dict[str, Any]]:
        """Idle is measured before and after: what else the machine does meanwhile is in both columns."""
        attack = ATTACKS[name]
        self._say(f"beside {attack.title}")
        before = self._probed(self._seconds / 2, (attack.service,))
        log = self._servers.folder / "log" / f"attack-{name}.log"
        argv = [sys.executable, "-m", "services.bench.attacks", name, "--port", str(self._ports[attack.service])]
        attacker = Process(f"the attack {name}", [*argv, "--key", self._noisy], log)
        attacker.start()
        try:
            while STARTED not in log.read_text():
                attacker.check()
                time.sleep(0.05)
            # Until its first requests are where they hurt.
            time.sleep(1.0)
            beside = self._probed(self._seconds, (attack.service,))
        finally:
            attacker.stop()
        answers = json.loads(log.read_text().splitlines()[-1]) if "{" in log.read_text() else {}
        time.sleep(1.0)  # until its last requests have ended
        after = self._probed(self._seconds / 2, (attack.service,))
        for title, waits in beside.items():
            yield row_of(attack.title, answers, title, before[title] + after[title], waits)

    def _probed(self, seconds: float, services: Collection[str]) -> dict[str, list[float]]:
        """Seconds of each answer of these services, by the title of the probe."""
        chosen = [probe for probe in PROBES if probe.service in services]
        found: dict[str, list[float]] = {probe.title: [] for probe in chosen}
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for probe in chosen:
                # A new connection each time: whether one is accepted belongs to what is measured.
                began = time.monotonic()
                connection = Connection(self._ports[probe.service], timeout=60.0)
                status = connection.send(self._request(probe))
                found[probe.title].append(time.monotonic() - began)
                connection.close()
                if status not in (200, 202):
                    raise ProcessFailed(f"{probe.path} answered {status} to the second tenant")
                time.sleep(0.01)
        return found

    def _request(self, probe: Probe) -> bytes:
        if probe.path == "/v1/events":
            self._sent += 1
            return _post(self._quiet, json.dumps([_event(self._sent + 10**8, 1, 1)]).encode())
        head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {self._quiet}"
        return f"GET {probe.path} HTTP/1.1\r\n{head}\r\n\r\n".encode()


def row_of(
    attack: str, answers: dict[str, int], probe: str, idle: Sequence[float], beside: Sequence[float]
) -> dict[str, Any]:
    """Milliseconds, and whether the second tenant's median stays within its limit."""
    found = {
        f"{name}_{label}": round(percentile(waits, share) * 1000, 1)
        for name, waits in (("idle", idle), ("beside", beside))
        for label, share in (("p50", 0.5), ("p99", 0.99))
    }
    most = MOST_TIMES * found["idle_p50"] + FLOOR_MS
    first = ", ".join(f"{status}: {count:,}" for status, count in sorted(answers.items()))
    return {
        "first tenant": attack,
        "its answers": first,
        "second": probe,
        **found,
        "met": found["beside_p50"] <= most,
    }


def _post(key: str, body: bytes) -> bytes:
    head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {key}\r\nContent-Type: {BATCHED['Kith']}"
    return f"POST /v1/events HTTP/1.1\r\n{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _market(events: int) -> Iterator[dict[str, Any]]:
    """Facts of a year and a half, about a tenth as many consumers."""
    draw = random.Random(events)
    consumers = max(events // 10, 10)
    for number in range(events):
        yield _event(number, draw.randrange(consumers), draw.randrange(200), draw)


def _wide() -> Iterator[dict[str, Any]]:
    for number in range(_WIDE_KINDS):
        event = _event(10**9 + number, 0, 0)
        event["data"] |= {"consumer_id": "wide", "provider_id": "wide", "kind": f"kind_{number}"}
        yield event


def _event(number: int, consumer: int, provider: int, draw: random.Random | None = None) -> dict[str, Any]:
    draw = draw or random.Random(number)
    at = datetime(2026, 11, 1, tzinfo=UTC) - timedelta(minutes=draw.randrange(540 * 1440))
    data: dict[str, Any] = {"relation_id": f"r-{number:09d}", "kind": draw.choice(KINDS[:2])}
    data |= {"consumer_id": f"c-{consumer:07d}", "provider_id": f"p-{provider:06d}"}
    if data["kind"] == "purchase":
        data |= {"amount": draw.randrange(100, 50_000), "currency": "EUR"}
    return {
        "specversion": "1.0",
        "id": f"e-{number:09d}",
        "source": "bench",
        "type": "relation.recorded",
        "time": at.isoformat(),
        "data": data,
    }
