"""``python -m services.bench``: compares Kith with its peers; on request, measures latency, the door and
growth."""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure
from rich.console import Console
from rich.markup import escape

from services.bench import capacity, document, report
from services.bench.attacks import ATTACKS
from services.bench.contenders import ALL_SCENARIOS, CONTENDERS
from services.bench.door import CLIENTS, clients, compare_doors
from services.bench.growth import HOT, LARGEST, SIZES, measure_growth, measure_hot
from services.bench.latency import PROBES, READERS, measure_latency
from services.bench.measure import RunFailed
from services.bench.neighbours import FLOOR_MS, MOST_TIMES, Neighbours
from services.bench.ratios import ratios
from services.bench.run import Comparison
from services.bench.servers import CACHE_GB, BenchServers, running
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.mongo.store import connect
from shared.runtime.protocols import Document

QUICK_EVENTS = 20_000
#: What can be measured: each an option, and a method of ``Bench`` (but ``intelligence``, which needs no servers).
ACTS: Mapping[str, str] = {
    "compare": "compare Kith with its peers, as without any of these options",
    "latency": "measure latency instead: from the door's answer to those of the APIs",
    "door": "measure the door instead: requests of 100 events",
    "growth": "measure growth instead: 10⁴ to 10⁶ facts, and hot spots",
    "neighbours": "measure one tenant beside another that does its worst instead",
    "cassandra": "measure the Cassandra sink and its lists instead",
    "postgres": "measure the Postgres sink instead",
    "rabbitmq": "measure the bridge from RabbitMQ beside aio-pika alone instead",
    "capacity": "measure what a deployment needs instead: rates, bytes, memory",
    "webhooks": "measure what one process sends to webhooks instead",
    "intelligence": "measure recommendations instead; needs no servers",
}
Row = dict[str, Any]
Say = Callable[[str], None]


class Bench:
    """The requested measurements, one after the other on the same servers. ``rows`` collects all results."""

    def __init__(
        self, options: argparse.Namespace, servers: BenchServers, client: MongoClient[Document], console: Console
    ) -> None:
        self._options, self._servers, self._client, self._console = options, servers, client, console
        self.rows: list[Row] = []

    def run(self) -> None:
        for act in [act for act in ACTS if getattr(self._options, act)] or ["compare"]:
            getattr(self, act)()

    def compare(self) -> None:
        options = self._options
        chosen, left_out = available(options.only or list(CONTENDERS))
        comparison = Comparison(self._servers, self._client, options.events, self._say)
        results = comparison.run([CONTENDERS[name] for name in chosen], options.reps, options.scenarios)
        left_out |= results.failures
        found = ratios(results.runs)
        titles = {name: contender.title for name, contender in CONTENDERS.items()}
        for scenario in ALL_SCENARIOS:
            if runs := [run for run in results.runs if run.scenario == scenario]:
                self._console.print(report.runs_table(scenario, runs, titles))
        if found:
            self._console.print(report.ratios_table(found))
        for name, why in left_out.items():
            self._console.print(f"[yellow]left out:[/] {name}: {escape(why)}", soft_wrap=True)
        if options.docs:
            file = Path("docs/why/speed.md")
            file.write_text(document.put(file.read_text(), "speed", document.speed(results.runs, found, titles)))
        self._add("run", [run.row() for run in results.runs])
        self._add("ratio", [ratio.row() for ratio in found])
        self._add("left out", [{"name": name, "why": why} for name, why in left_out.items()])

    def latency(self) -> None:
        rows: list[Row] = []
        aims = "; ".join(f"{each.service} p50 under {each.p50:g}, p99 under {each.p99:g}" for each in READERS)
        for client in clients(self._options.kafka_clients):
            rate = self._options.rate or self._peak(client) / 4
            rows += measure_latency(self._servers, self._client, client, rate, self._options.probes, self._say)
        self._show("latency", f"From the door's 202 to an answer, ms: {aims}", rows)

    def _peak(self, client: str) -> float:
        name = "kith" if client == "kafka-python" else f"kith-{client}"
        comparison = Comparison(self._servers, self._client, self._options.events, self._say)
        results = comparison.run([CONTENDERS[name]], 1, ["first"])
        if not results.runs:
            raise ConfigurationError(f"the peak rate could not be measured, set --rate: {results.failures}")
        return results.runs[0].rate

    def door(self) -> None:
        options = self._options
        chosen = clients(options.kafka_clients)
        rows, found = compare_doors(self._servers, chosen, options.reps, options.seconds, self._say)
        self._show("door", "The door, requests of 100 events", rows)
        self._console.print(report.ratios_table(found))
        self._add("ratio", [ratio.row() for ratio in found])

    def growth(self) -> None:
        options = self._options
        name = "kith-librdkafka" if "librdkafka" in clients() else "kith"
        sizes = options.sizes or [*SIZES, *([LARGEST] if options.growth_max else [])]
        rows = measure_growth(self._servers, self._client, name, sizes, self._say)
        self._show("growth", "Events/s as facts accumulate, whole job", rows)
        rows = measure_hot(self._servers, self._client, name, options.hot, options.spots, self._say)
        self._show("hot", "All relations of one consumer, provider or pair, whole job", rows)

    def neighbours(self) -> None:
        options = self._options
        measured = Neighbours(self._servers, self._client, options.seconds, self._say)
        rows = measured.measure(options.facts, options.attacks or [*ATTACKS])
        title = f"The second tenant beside the first, ms: p50 within {MOST_TIMES:g} × idle + {FLOOR_MS:g} ms"
        self._show("neighbours", title, rows)
        if options.docs:
            file = Path("docs/how-to/limits.md")
            file.write_text(document.put(file.read_text(), "neighbours", document.neighbours(rows)))

    def capacity(self) -> None:
        options = self._options
        database = self._client[capacity.NAME]
        figures = capacity.measure_capacity(self._servers, database, options.events, options.seconds, self._say)
        self._show("capacity", "What is needed, of one copy of everything", capacity.rows(figures))
        if options.docs:
            file = Path("docs/why/capacity.md")
            text = document.put(file.read_text(), "capacity", capacity.table(figures))
            file.write_text(document.put(text, "example", capacity.example(figures)))

    def cassandra(self) -> None:
        from services.bench.cassandra import measure_cassandra

        options = self._options
        for size in options.sizes or [100_000]:
            database = self._client[f"bench-cassandra-{size}"]
            rates, times = measure_cassandra(
                database, self._servers.folder / str(size), size, options.probes, self._say
            )
            self._show("cassandra rows", f"Rows of {size:,} relationships written into one node", rates)
            self._show("cassandra lists", f"Lists of 100 of {size:,} relationships", times)

    def postgres(self) -> None:
        from services.bench.postgres import measure_postgres

        options = self._options
        for size in options.sizes or [100_000]:
            database, folder = self._client[f"bench-postgres-{size}"], self._servers.folder / f"postgres-{size}"
            rows = measure_postgres(database, folder, size, options.reps, self._say)
            self._show("postgres rows", f"Rows of {size:,} relationships written into one server", rows)

    def rabbitmq(self) -> None:
        from services.bench.rabbitmq import MESSAGES, measure_rabbitmq

        options = self._options
        for size in options.sizes or [MESSAGES]:
            chosen = clients(options.kafka_clients)
            rows, found = measure_rabbitmq(self._servers, chosen, options.reps, size, self._say)
            self._show("rabbitmq", f"{size:,} events out of a full quorum queue", rows)
            self._console.print(report.ratios_table(found))
            self._add("ratio", [ratio.row() for ratio in found])

    def webhooks(self) -> None:
        from services.bench.webhooks import QUEUED, measure_webhooks

        for size in self._options.sizes or [QUEUED]:
            rows = measure_webhooks(self._servers, self._client, size, self._options.seconds, self._say)
            self._show("webhooks", "One process that sends webhooks", rows)

    def _show(self, kind: str, title: str, rows: Sequence[Row]) -> None:
        self._console.print(report.plain_table(title, rows))
        self._add(kind, rows)

    def _add(self, kind: str, rows: Sequence[Row]) -> None:
        self.rows += [{"row": kind, **row} for row in rows]

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{escape(text)}[/]", soft_wrap=True)


def available(names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The contenders that can be measured here, and the reasons for the others."""
    missing = {name: why for name in names if (why := CONTENDERS[name].missing()) is not None}
    return [name for name in names if name not in missing], missing


def tune(client: MongoClient[Document], settings: str) -> None:
    """Change settings of mongod's storage engine. Raises ConfigurationError if it rejects them."""
    try:
        client.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig=settings)
    except OperationFailure as error:
        reason = (error.details or {}).get("errmsg", error)
        raise ConfigurationError(f"--wiredtiger {settings}: {reason}") from None


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", choices=CONTENDERS, metavar="NAME", help=f"of {', '.join(CONTENDERS)}")
    add("--scenarios", nargs="+", choices=ALL_SCENARIOS, default=ALL_SCENARIOS, metavar="NAME")
    add("--events", type=int, help="size of a topic (200,000)")
    add("--reps", type=int, help="repetitions (3)")
    add("--quick", action="store_true", help=f"{QUICK_EVENTS:,} events, one repetition")
    add("--json", action="store_true", help="print all rows as one line of JSON, last on stdout")
    add(
        "--docs",
        action="store_true",
        help="write the tables into docs: why/speed.md, why/capacity.md or how-to/limits.md",
    )
    for act, what in ACTS.items():
        add(f"--{act}", action="store_true", help=what)
    add(
        "--kafka-clients",
        nargs="+",
        choices=CLIENTS,
        metavar="NAME",
        help="Kafka clients of --latency, --door and --rabbitmq (default: all that are installed)",
    )
    add("--rate", type=float, help="load of --latency in events/s (default: a quarter of the peak)")
    add("--probes", type=int, default=PROBES)
    add("--seconds", type=float, default=5.0, help="duration for each door, and beside each neighbour")
    add("--attacks", nargs="+", choices=ATTACKS, metavar="NAME", help=f"of {', '.join(ATTACKS)}")
    add("--facts", type=int, default=40_000, help="facts of the first tenant for --neighbours")
    add("--growth-max", action="store_true", help=f"--growth up to {LARGEST:,} facts")
    add(
        "--sizes",
        type=int,
        nargs="+",
        help="other numbers: facts of --growth, messages of --rabbitmq, deliveries in the longest queue of "
        "--webhooks, relationships of the others",
    )
    add("--cache-gb", type=float, default=CACHE_GB, help="cache of mongod; larger data is read from disk")
    add("--wiredtiger", metavar="CONFIG", help="settings of mongod's storage, as in eviction_dirty_target=20")
    add("--hot", type=int, default=100_000, help="number of relations of a hot spot")
    add("--spots", nargs="+", choices=HOT, default=[*HOT], metavar="NAME", help=f"of {'; '.join(HOT)}")
    return parser


def intelligence(options: argparse.Namespace, console: Console) -> int:
    """Prints the figures of the engine and of what it recommends."""
    from services.bench.intelligence.run import SIZES, measure_intelligence

    speed, quality, met = measure_intelligence(
        tuple(options.sizes or SIZES), lambda text: console.print(f"[dim]{escape(text)}[/]", soft_wrap=True)
    )
    figures = [
        {"figure": name, **{f"{row['relationships']:,}": str(row[name]) for row in speed}}
        for name in speed[0]
        if name != "relationships"
    ]
    for title, rows in (("The engine (CPU time of one core)", figures), ("Quality", quality), ("Targets", met)):
        if rows:
            shown = [{name: _rounded(value) for name, value in row.items()} for row in rows]
            console.print(report.plain_table(title, shown))
    if options.json:
        print(
            json.dumps(
                [{"row": "engine", **row} for row in speed] + [{"row": "quality", **row} for row in quality]
            )
        )
    return 0 if all(row["met"] for row in met) else 1


def _rounded(value: object) -> object:
    return f"{value:.3f}" if isinstance(value, float) else value


def main() -> int:
    options = parser().parse_args()
    usual = capacity.EVENTS if options.capacity else 200_000
    options.events = options.events or (QUICK_EVENTS if options.quick else usual)
    options.reps = options.reps or (1 if options.quick else 3)
    options.growth |= options.growth_max
    console = report.console(stderr=options.json)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that every process is stopped
    if options.intelligence:
        return intelligence(options, console)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="kith-bench-") as folder,
            running(Path(folder), options.cache_gb) as servers,
            connect(servers.mongo.uri) as client,
        ):
            if options.wiredtiger:
                tune(client, options.wiredtiger)
            bench = Bench(options, servers, client, console)
            bench.run()
    except (ConfigurationError, RunFailed, Unavailable) as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(bench.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
