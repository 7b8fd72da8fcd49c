"""One run of one contender: start it, watch it store a topic, check what it stored, stop it."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pymongo.database import Database

from services.bench.contenders import Contender
from services.bench.procfs import cpu_microseconds, peak_megabytes, tree
from services.bench.servers import BenchServers
from services.bench.start import Job
from services.bench.topics import BenchTopic
from shared.local.processes import Process
from shared.runtime.protocols import Document

_TICK_SECONDS = 0.02
_START_SECONDS = 90.0


class RunFailed(Exception):
    """A contender ended, was too slow, or stored a wrong result."""


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run. ``seconds`` from the first to the last document stored, ``rate`` in events per second,
    CPU in µs per event of the contender's processes, of mongod and of the broker, ``memory_mb`` at its peak.
    ``before`` events were stored before the clock started, and are excluded from all of these."""

    contender: str
    scenario: str
    repetition: int
    events: int
    before: int
    seconds: float
    rate: float
    client_us: float
    mongod_us: float
    broker_us: float
    memory_mb: float
    stored: int

    def row(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Sample:
    """The progress of a contender at a time (seconds), and the CPU spent until then (µs)."""

    at: float
    done: int
    client: int
    mongod: int
    broker: int


def measure(
    servers: BenchServers,
    database: Database[Document],
    contender: Contender,
    job: Job,
    topic: BenchTopic,
    scenario: str,
    repetition: int,
    limit: float,
) -> Run:
    """Raises RunFailed, and ProcessFailed when the contender ends by itself. ``limit`` in seconds."""
    progress = progress_of(contender, database, topic)
    ending = topic.ending_documents if contender.kith else [*map(contender.document_id, topic.ending_relations)]
    with ExitStack() as stop:
        processes = contender.start(job)
        for process in processes:
            stop.callback(process.stop)
            process.start()
        first = _first(servers, processes, progress)
        check_library(contender.library, processes)
        last = _last(servers, processes, topic.events, database, ending, limit)
        memory = peak_megabytes(_pids(processes))
    events = topic.events - first.done
    if events <= 0:
        raise RunFailed("all events were stored before the first sample: use more --events")
    seconds = last.at - first.at
    return Run(
        contender.name,
        scenario,
        repetition,
        topic.events,
        first.done,
        round(seconds, 3),
        round(events / seconds, 1),
        round((last.client - first.client) / events, 2),
        round((last.mongod - first.mongod) / events, 2),
        round((last.broker - first.broker) / events, 2),
        round(memory, 1),
        database["relations"].count_documents({}),
    )


def _sample(servers: BenchServers, processes: list[Process], done: int) -> Sample:
    return Sample(
        time.monotonic(),
        done,
        cpu_microseconds(_pids(processes)),
        cpu_microseconds(servers.mongod_pids),
        cpu_microseconds(servers.broker_pids),
    )


def _pids(processes: list[Process]) -> set[int]:
    return tree(process.pid for process in processes if process.pid is not None)


def _first(servers: BenchServers, processes: list[Process], progress: Callable[[], int]) -> Sample:
    """The first sample with stored events. Events stored by then count neither as work nor as time."""
    deadline = time.monotonic() + _START_SECONDS
    while (done := progress()) == 0:
        check(processes, deadline, "stored nothing")
        time.sleep(_TICK_SECONDS)
    return _sample(servers, processes, done)


def _last(
    servers: BenchServers,
    processes: list[Process],
    events: int,
    database: Database[Document],
    ending: Sequence[Any],
    limit: float,
) -> Sample:
    """The sample when the last fact of every partition is stored."""
    deadline = time.monotonic() + limit
    while database["relations"].count_documents({"_id": {"$in": ending}}) < len(ending):
        check(processes, deadline, "did not store the whole topic")
        time.sleep(_TICK_SECONDS)
    return _sample(servers, processes, events)


def check(processes: Sequence[Process], deadline: float, what: str) -> None:
    """Raise ProcessFailed when one has ended, RunFailed after the deadline."""
    for process in processes:
        process.check()
    if time.monotonic() > deadline:
        raise RunFailed(f"{what} in time. {processes[0].failure('was stopped')}")


def check_library(library: str | None, processes: Sequence[Process]) -> None:
    """Raise RunFailed if a process has not loaded it: no row may have the name of a client that was not used."""
    for process in processes:
        if library is not None and library not in Path(f"/proc/{process.pid}/maps").read_text():
            raise RunFailed(f"{process.name} does not use {library}")


def progress_of(contender: Contender, database: Database[Document], topic: BenchTopic) -> Callable[[], int]:
    """A function that returns how many events of ``topic`` the contender has stored from now on."""
    return _positions(database, topic, contender) if contender.kith else _operations(database)


def _operations(database: Database[Document]) -> Callable[[], int]:
    """The inserts and updates that mongod counts from now on: every peer makes one per event."""
    status = database.client.admin.command("serverStatus")
    # Only the counters: the whole serverStatus would cost mongod more than some contenders do.
    command = {"serverStatus": 1, **{section: 0 for section in status if section != "opcounters"}}

    def count() -> int:
        counters = database.client.admin.command(command)["opcounters"]
        return int(counters["insert"] + counters["update"])

    before = count()
    return lambda: count() - before


def _positions(database: Database[Document], topic: BenchTopic, contender: Contender) -> Callable[[], int]:
    """Events behind the stored positions, 0 until all workers own partitions."""

    def count() -> int:
        found = [p for p in database["positions"].find() if p["_id"].split("/")[1:2] == [topic.name]]
        if len({position["owner"] for position in found}) < contender.workers:
            return 0
        return sum(position.get("next") or 0 for position in found)

    return count
