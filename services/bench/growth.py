"""Measures whether the cost grows linearly: events/s as facts accumulate, and with a hot consumer, provider or
pair."""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from pymongo import MongoClient

from services.bench.contenders import CONTENDERS
from services.bench.events import FRESH, REDELIVERED, Mix, generate
from services.bench.measure import RunFailed, check, progress_of
from services.bench.servers import BenchServers
from services.bench.start import Job
from services.bench.topics import fill
from shared.runtime.protocols import Document
from shared.settings import Settings

SIZES, LARGEST = (10_000, 100_000, 1_000_000), 3_000_000
#: The range of facts around a size over which its rate is measured.
WINDOW = (0.75, 1.1)
#: Name → mix, consumers, providers.
HOT: dict[str, tuple[Mix, int, int]] = {
    "none": (FRESH, 10_000, 1_000),
    "consumer": (FRESH, 1, 1_000),
    "provider": (FRESH, 10_000, 1),
    "pair": (FRESH, 1, 1),
    "pair, amended": (Mix(0.7, amended=0.2, retracted=0.1), 1, 1),
}
_POLL_SECONDS, _LEAST_RATE = 0.05, 500.0


class Point(NamedTuple):
    """The progress at a time (seconds): events done, facts stored."""

    at: float
    done: int
    facts: int


def measure_growth(
    servers: BenchServers,
    client: MongoClient[Document],
    contender: str,
    sizes: Sequence[int],
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """A row per size: the rate while that many facts are stored. Raises RunFailed."""
    # More than needed, for which of them are new is drawn.
    events = int(max(sizes) * WINDOW[1] / REDELIVERED.fresh * 1.02) + 500
    series = _watch(servers, client, contender, "growth", (events, REDELIVERED), say)
    rows = []
    for size in sizes:
        rate = rate_between(series, "facts", size * WINDOW[0], size * WINDOW[1])
        if rate is None:
            raise RunFailed(f"{size:,} facts were stored between two samples: use larger --sizes")
        rows.append({"contender": contender, "facts": size, "rate": round(rate, 1)})
    return rows


def measure_hot(
    servers: BenchServers,
    client: MongoClient[Document],
    contender: str,
    events: int,
    spots: Collection[str],
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """A row for each of ``spots``, kinds of hot spot: the rate in the second and in the last fifth of its
    relations, and their ratio. (In the first fifth, everything is new.) Raises RunFailed."""
    rows = []
    for number, (name, (mix, consumers, providers)) in enumerate(HOT.items()):
        if name not in spots:
            continue
        series = _watch(servers, client, contender, f"hot-{number}", (events, mix, 1, consumers, providers), say)
        early = rate_between(series, "done", events * 0.2, events * 0.4)
        late = rate_between(series, "done", events * 0.8, events)
        if not early or not late:
            raise RunFailed(f"a fifth of {events:,} relations was stored between two samples: use a larger --hot")
        row = {"hot": name, "relations": events, "early_rate": round(early, 1), "late_rate": round(late, 1)}
        rows.append({"contender": contender, **row, "late_over_early": round(late / early, 2)})
    return rows


def rate_between(series: Sequence[Point], axis: str, low: float, high: float) -> float | None:
    """Events per second between the first points at which ``axis`` is at least ``low`` and at least ``high``; None
    if it did not reach them, or both at once."""
    start = next((point for point in series if getattr(point, axis) >= low), None)
    end = next((point for point in series if getattr(point, axis) >= high), None)
    if start is None or end is None or end.at <= start.at:
        return None
    return (end.done - start.done) / (end.at - start.at)


def _watch(
    servers: BenchServers,
    client: MongoClient[Document],
    name: str,
    purpose: str,
    generate_args: tuple[Any, ...],
    say: Callable[[str], None],
) -> list[Point]:
    contender = CONTENDERS[name]
    prefix = f"{purpose}-{name}"
    settings = Settings(kafka=servers.kafka.bootstrap, mongo=servers.mongo.uri)
    say(f"publishing {generate_args[0]:,} events to {prefix}.relations")
    topic = fill(settings, prefix, generate(*generate_args))
    database = client[prefix]
    log = servers.folder / "log"
    job = Job(servers.kafka.bootstrap, servers.mongo.uri, prefix, topic.prefix, topic.name, prefix, log)
    progress = progress_of(contender, database, topic)
    series: list[Point] = []
    with ExitStack() as stop:
        processes = contender.start(job)
        for process in processes:
            stop.callback(process.stop)
            process.start()
        deadline = time.monotonic() + 60 + topic.events / _LEAST_RATE
        while not series or series[-1].done < topic.events:
            check(processes, deadline, "did not store the whole topic")
            done = progress()
            series.append(Point(time.monotonic(), done, database["relations"].estimated_document_count()))
            time.sleep(_POLL_SECONDS)
    say(f"stored {series[-1].facts:,} facts")
    client.drop_database(prefix)
    return series
