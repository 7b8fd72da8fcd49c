"""One run of the demo: emit, wait until everything is drained, compare, and report whether it is exact."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pymongo.database import Database
from rich.console import Console

from services.demo.advice import advice, busiest, most_visited
from services.demo.application import Application
from services.demo.changelog import ChangeLog
from services.demo.comparison import Findings, Weights, compare
from services.demo.emitter import Emitter
from services.demo.lag import LagReader
from services.demo.live import View
from services.demo.market import market
from services.demo.oracle import Expected, Oracle
from services.demo.probe import TENANT as PROBE
from services.demo.probe import Probe
from services.demo.report import curls, dashboard, report
from services.demo.watch import Watch
from shared.contracts.errors import Unavailable
from shared.mongo.errors import translated
from shared.mongo.store import beginning_with, connect
from shared.settings import Settings
from shared.vault.keys import Vault
from shared.vault.open import vault_in

_LOOK_SECONDS = 0.25
#: After so long without any progress, a service is considered stuck.
STALLED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run. ``stored`` counts live facts, ``relationships`` their documents, ``changes`` the
    distinct changes in the log, all of the run's tenant. ``seconds`` is the time from the first request until
    everything was drained, and ``events_per_s`` the accepted events over that time. ``latency_ms`` is the time
    from the door's answer until the relationship could be read. ``webhooks`` are the counts of
    ``services.demo.application.Webhooks``."""

    sent: int
    accepted: int
    stored: int
    relationships: int
    changes: int
    exact: bool
    seconds: float
    events_per_s: float
    latency_ms: dict[str, float | None]
    webhooks: dict[str, int]

    def line(self) -> str:
        """The result as one line of JSON."""
        return json.dumps(asdict(self))


def demo(
    addresses: dict[str, str],
    settings: Settings,
    headers: Callable[[str], Mapping[str, str]],
    lasting: ExitStack,
    events: int,
    seed: int,
    rate: float | None = None,
    json_line: bool = False,
) -> Result:
    """Run the demo against a running stack and report to the terminal (to stderr with ``json_line``, and the
    result as one line on stdout at the end).

    ``headers`` returns the headers of requests for a tenant. ``lasting`` keeps what has to outlast the run, as the
    stack does: the application's receiver of webhooks. ``addresses`` has the services, ``kafka`` and
    ``mongo``. Raises Unavailable, naming the server that stays unavailable or the
    service that makes no progress.
    """
    settings = settings.model_copy(update={"kafka": addresses["kafka"], "mongo": addresses["mongo"]})
    console = Console(stderr=json_line)
    client = lasting.enter_context(connect(addresses["mongo"]))
    with translated():
        database = client[settings.database]
        lag_reader = LagReader(settings, database)
        try:
            result = _run(addresses, settings, headers, lasting, database, lag_reader, events, seed, rate, console)
        finally:
            lag_reader.close()
    if json_line:
        print(result.line(), flush=True)
    return result


def _run(
    addresses: dict[str, str],
    settings: Settings,
    headers: Callable[[str], Mapping[str, str]],
    lasting: ExitStack,
    database: Database[dict[str, Any]],
    lag_reader: LagReader,
    events: int,
    seed: int,
    rate: float | None,
    console: Console,
) -> Result:
    tenant = _unused_tenant(database)
    buried = lag_reader.lag().dead_letters
    vault = vault_in(settings, database)
    oracle = Oracle(None if vault is None else vault.pseudonym)
    # Midnight, so that a seed gives the same events all day long.
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    emissions = market(events, seed, today, None if tenant == "default" else tenant)
    application = lasting.enter_context(Application(addresses, headers(tenant), tenant, database, oracle.add))
    emitter = Emitter(addresses["ingest"], emissions, oracle.add, rate=rate, headers=headers(tenant))
    probe = Probe(addresses["ingest"], addresses["relations"], headers(PROBE))
    watch = Watch(database, tenant, lag_reader, emitter, probe, events, strongest=console.is_terminal)
    started = time.monotonic()
    emitter.start()
    probe.start()
    try:
        with View(console) as view:
            while emitter.running:
                view.show(watch.look()[1])
                time.sleep(_LOOK_SECONDS)
            emitter.finish()
            probe.stop()
            while probe.running:
                view.show(watch.look()[1])
                time.sleep(_LOOK_SECONDS)
            probe.finish()
            _drain(watch, view)
            application.wait()
    finally:
        emitter.stop()
        probe.stop()
    seconds = time.monotonic() - started

    console.print("Comparing what is stored with an independent fold of what was sent …", style="dim")
    expected = oracle.expected()
    stored, log = _judge(expected, settings, database, lag_reader, vault)
    logged, webhooks = log.judge(), application.judge(log, expected)
    lost = lag_reader.lag().dead_letters - buried
    problems = [*emitter.surprises, *map(str, stored.differences), *map(str, logged.differences)]
    problems += map(str, webhooks.findings.differences)
    if lost:
        problems.append(f"{lost} accepted events became dead letters")
    if probe.lost:
        problems.append(f"{probe.lost} markers of the probe could not be read within a minute")
    result = Result(
        sent=emitter.sent,
        accepted=emitter.accepted,
        stored=stored.found["facts"],
        relationships=stored.found["relationships"],
        changes=logged.found["changes"],
        exact=not problems,
        seconds=round(seconds, 2),
        events_per_s=round(emitter.accepted / seconds, 1),
        latency_ms={"p50": _rounded(probe.percentile(50)), "p99": _rounded(probe.percentile(99))},
        webhooks=webhooks.counts(),
    )
    total = (
        stored.total
        + logged.total
        + webhooks.findings.total
        + len(emitter.surprises)
        + bool(lost)
        + bool(probe.lost)
    )
    links = {"dashboard": dashboard(addresses["analytics"], headers(tenant)), **application.links}
    pair, visited = busiest(expected), most_visited(expected)
    told, tries = list[str](), list[str]()
    if pair is not None and visited is not None:
        told = advice(addresses["intelligence"], headers(tenant), pair[1], visited)
        tries = curls(addresses, headers(tenant), pair, visited)
    report(console, addresses, links, asdict(result), stored.found, problems, total, told, tries)
    return result


def _judge(
    expected: Expected,
    settings: Settings,
    database: Database[dict[str, Any]],
    lag_reader: LagReader,
    vault: Vault | None,
) -> tuple[Findings, ChangeLog]:
    log = ChangeLog(expected)
    log.read(lag_reader.changes())
    weights = Weights(settings.kind_weights, settings.half_life_months)
    return compare(expected, database, weights, vault), log


def _drain(watch: Watch, view: View) -> None:
    """Wait until every service has stored and published everything. Raises Unavailable."""
    best: tuple[int, int] | None = None
    moved = time.monotonic()
    while True:
        lag, snapshot = watch.look()
        view.show(snapshot)
        if not str(lag):
            return
        progress = (sum(lag.done.values()), -lag.outbox)
        if best is None or progress > best:
            best, moved = progress, time.monotonic()
        elif time.monotonic() - moved > STALLED_SECONDS:
            raise Unavailable(f"no progress for {STALLED_SECONDS:.0f} s: {lag}")
        time.sleep(_LOOK_SECONDS)


def _unused_tenant(database: Database[dict[str, Any]]) -> str:
    """``default``, or a new tenant if that one already has data, which would show as differences."""
    wanted = {"_id": beginning_with("default:")}
    if not any(database[name].find_one(wanted) for name in ("relations", "consumers", "providers")):
        return "default"
    return f"demo-{uuid4().hex[:8]}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
