"""A system under test: topics and a database of its own, worker processes with faults in them, and a load."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from pymongo import MongoClient

from services.cli.up import environment
from services.demo.lag import Lag, LagReader
from shared.contracts.errors import Unavailable
from shared.kafka.topics_admin import ensure_topics
from shared.local.processes import Process, tail
from shared.runtime.protocols import Document
from shared.settings import Settings
from tests.fault.invariant import Invariant
from tests.fault.load import Item, Load
from tests.fault.nodes import Kafka, Mongo, nodes_of
from tests.fault.watch import Watch
from tests.support.nursery import Worker
from tests.support.paths import ROOT
from tests.support.waiting import Late

SESSION_SECONDS = 3.0
#: Long enough for a dead member's session, a restarted broker and a slow machine.
PATIENCE_SECONDS = 120.0
SLICE_EVENTS = 50


class System:
    """Workers on a name of their own. Context manager: at the end everything that it started is ended."""

    def __init__(self, kafka: Kafka, mongo: Mongo, folder: Path, name: str, **settings: object) -> None:
        self.kafka, self.mongo = kafka, mongo
        self._folder = folder
        self.settings = Settings(
            **{
                "kafka": kafka.bootstrap,
                "mongo": mongo.uri,
                "topic_prefix": name,
                "group": name,
                "database": name,
                "partitions": 4,
                "replication": len(nodes_of(kafka)),
                "slice_events": SLICE_EVENTS,
                "session_timeout_ms": int(SESSION_SECONDS * 1000),
                "access": "open",
                "encryption": "off",
                "relations_port": 0,
                "analytics_port": 0,
                "webhooks_port": 0,
                "intelligence_port": 0,
                "webhook_allow": ("127.0.0.0/8",),
                **settings,
            }  # type: ignore[arg-type]
        )
        ensure_topics(self.settings)
        # Not by the name that Kith's clients have: what fails for them on purpose does not fail here.
        self.client: MongoClient[Document] = MongoClient(mongo.uri, tz_aware=True, appname="fault-tests")
        self.database = self.client[name]
        self.workers: list[Process] = []
        self._dead: list[Process] = []
        self.grown = False
        self.sent: Counter[bytes] = Counter()
        self.watch = Watch(self.database, lambda: self.invariant.meanwhile())
        self._loads: list[Load] = []

    def __enter__(self) -> "System":
        self.watch.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.end()
        for load in self._loads:
            load.cut()
        for worker in self.workers:
            worker.kill()
        with self.client:
            self.client.drop_database(self.settings.database)

    @property
    def invariant(self) -> Invariant:
        return Invariant(self.settings, self.database, grown=self.grown)

    def start(self, service: str, **variables: str) -> Process:
        """Start one more worker. ``fault``, ``sabotage`` and so on become KITH_FAULT, KITH_SABOTAGE …"""
        return self._start(service, variables, fresh=False)

    def start_fresh(self, service: str, **variables: str) -> Process:
        """One that takes seconds longer and shares nothing with the others, as in production (``nursery.py``)."""
        return self._start(service, variables, fresh=True)

    def _start(self, service: str, variables: Mapping[str, str], *, fresh: bool) -> Process:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("KITH_")}
        given = {f"KITH_{name.upper()}": value for name, value in variables.items()}
        name = f"{service}-{sum(p.name.startswith(service) for p in (*self.workers, *self._dead)) + 1}"
        process = (Process if fresh else Worker)(
            name,
            [sys.executable, "-m", "tests.fault.process", f"services.{service}"],
            self._folder / f"{name}.log",
            {
                **clean,
                **environment(self.settings),
                "PYTHONPATH": str(ROOT),
                "KITH_FAULT_RELEASE": str(self._release(name)),
                **given,
            },
        )
        self.workers.append(process)
        process.start()
        return process

    def start_all(self, relations: int = 2, analytics: int = 1, **variables: str) -> None:
        for _ in range(relations):
            self.start("relations", **variables)
        for _ in range(analytics):
            self.start("analytics", **variables)

    def _release(self, name: str) -> Path:
        return self._folder / f"{name}.release"

    def release(self, process: Process) -> None:
        """A fault that holds a worker lets go of it."""
        self._release(process.name).touch()

    def forget(self, process: Process) -> None:
        """It has ended, as it should."""
        self.workers.remove(process)
        self._dead.append(process)

    def load(self, items: Iterable[Item], rate: float = 600.0, **options: object) -> Load:
        load = Load(self.settings, items, rate, **options)  # type: ignore[arg-type]
        self._loads.append(load)
        return load.start()

    def wait(
        self,
        what: str,
        condition: Callable[[], object],
        seconds: float = PATIENCE_SECONDS,
        may_end: Iterable[Process] = (),
    ) -> None:
        """Wait for ``condition``. Raises Late with the workers' logs when it does not come about, and plain
        AssertionError when a worker ends that should not."""
        deadline = time.monotonic() + seconds
        spared = list(may_end)
        while True:
            try:
                if condition():
                    return
            except Unavailable:
                pass
            for worker in self.workers:
                if worker not in spared and not worker.running:
                    raise AssertionError(f"{worker.name} ended with {worker.ending} before {what}\n{self.tails()}")
            if time.monotonic() > deadline:
                raise Late(f"{what} did not come about within {seconds:.0f} s\n{self.held()}\n{self.tails()}")
            time.sleep(0.1)

    @property
    def services(self) -> set[str]:
        """Those whose lag counts. Not every test starts a sender of webhooks."""
        started = {worker.name.partition("-")[0] for worker in (*self.workers, *self._dead)}
        return {"relations", "analytics"} | started

    @property
    def loading(self) -> bool:
        """Whether more is still being sent."""
        return any(load.running for load in self._loads)

    def stored(self, service: str = "relations") -> int:
        """How many messages a service has stored."""
        found = self.database.positions.find({"_id": {"$regex": f"^{service}@"}})
        return sum(position.get("next") or 0 for position in found)

    def wait_stored(self, more: int, service: str = "relations", since: int | None = None) -> None:
        """``since``: from which number on; None: from what is stored now. For a load that ends, which may be
        stored by now, it must be given."""
        start = self.stored(service) if since is None else since
        self.wait(f"{more} more messages stored by {service}", lambda: self.stored(service) >= start + more)

    def wait_balanced(self, service: str = "relations") -> None:
        """Until every worker of a service has claimed its part of the partitions, and no more."""

        def balanced() -> bool:
            owners = Counter(pid for _, pid in self.owners(service).values())
            pids = {w.pid for w in self.workers if w.name.startswith(service)}
            return owners.keys() == pids and max(owners.values()) - min(owners.values()) <= 1

        self.wait(f"a fair share for every worker of {service}", balanced)

    def owners(self, service: str) -> dict[str, tuple[int, int]]:
        """The epoch and the owner's process id of each position of a service."""
        found = self.database.positions.find({"_id": {"$regex": f"^{service}@"}})
        return {each["_id"]: (each["epoch"], int(each["owner"].rpartition("/")[2])) for each in found}

    def wait_dispossessed(self, process: Process) -> None:
        """Until all partitions that a worker had have been claimed by others."""
        service = process.name.partition("-")[0]
        self.wait(
            f"others to have the partitions of {process.name}",
            lambda: all(pid != process.pid for _, pid in self.owners(service).values()),
            may_end=[process],
        )

    def wait_struck(self, *processes: Process) -> None:
        """Until in each of them a fault has struck."""
        for process in processes:
            self.wait(f"the fault of {process.name}", lambda p=process: has_struck(p), may_end=processes)  # type: ignore[misc]

    def wait_killed(self, *processes: Process) -> None:
        """Until each of them has been killed by its fault. They are forgotten."""
        self.wait_struck(*processes)
        for process in processes:
            assert process.returncode == -signal.SIGKILL, self.tails()
            self.forget(process)

    def wait_drained(self, seconds: float = PATIENCE_SECONDS, *, published: bool = True) -> None:
        """Until all that was sent is stored, published and counted; or, without ``published``, until all that has
        been published is."""
        for load in self._loads:
            load.finish()
        left = "nothing is known"

        def drained() -> bool:
            nonlocal left
            gauge = LagReader(self.settings, self.database, self.services)
            try:
                # A second look: changes may have been published while the first one lasted.
                left = _left(gauge.lag(), published) or _left(gauge.lag(), published)
            finally:
                gauge.close()
            return not left

        try:
            self.wait("the end of all work", drained, seconds)
        except AssertionError as error:
            raise type(error)(f"{left}\n{error}") from None

    def acknowledged(self) -> Counter[bytes]:
        return Counter(message.value for load in self._loads for message in load.sent)

    def findings(self) -> list[str]:
        """Everything that is wrong, during the run and at the end of it."""
        self.watch.end()
        return [*(f"meanwhile: {w}" for w in self.watch.wrong), *self.invariant.at_the_end(self.acknowledged())]

    def verify(self) -> None:
        """All is done, everything is exact, and was so on the way there; the workers end well."""
        self.wait_drained()
        wrong = self.findings()
        assert not wrong, "\n".join([*wrong, self.tails()])
        assert self.watch.checks, "the invariant was never checked during the run"
        self.stop_all()

    def stop_all(self) -> None:
        # One that was started last, on a busy machine, may not listen for signals yet: they would kill it.
        self.wait("the beginning of all workers", lambda: all(map(_has_begun, self.workers)), may_end=self.workers)
        for worker in self.workers:
            worker.ask_to_stop()
        self.wait("the end of all workers", lambda: not any(w.running for w in self.workers), may_end=self.workers)
        assert {w.name: w.returncode for w in self.workers} == {w.name: 0 for w in self.workers}, self.tails()

    def held(self) -> str:
        """Who has which position, and what waits in the outbox."""
        positions = [f"{p['_id']} at {p.get('next')}, of {p['owner']}" for p in self.database.positions.find()]
        waiting = [f"outbox: {batch['_id']}" for batch in self.database.outbox.find({}, {"_id": 1})]
        return "\n".join(sorted([*positions, *waiting]))

    def tails(self) -> str:
        return self.tails_of(*self._dead, *self.workers)

    def tails_of(self, *processes: Process, lines: int = 25) -> str:
        return "\n".join(f"{p.name}:\n{tail(p.log, lines)}" for p in processes)


def _left(lag: Lag, published: bool) -> str:
    return str(lag if published else replace(lag, outbox=0))


def _has_begun(process: Process) -> bool:
    """Whether it has logged something, or has ended."""
    return not process.running or process.log.stat().st_size > 0


def has_struck(process: Process) -> bool:
    """Whether its fault has; one that ends or stops it, to the end."""
    told = process.log.read_text(errors="replace")
    if ":kill strikes" in told:
        return not process.running
    if ":stop strikes" in told:
        return state_of(process) == "T"
    return " strikes" in told or not process.running


def state_of(process: Process) -> str:
    """The kernel's letter for the state of a process: T is stopped."""
    try:
        return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def memory_mb(process: Process) -> float:
    """Resident memory."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"{process.name} does not run")
