"""What a deployment of some size needs: rates of processes, bytes of what is stored, memory. On real servers."""

import os
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple

from kafka.admin import KafkaAdminClient
from pymongo.database import Database

from services.bench.contenders import CONTENDERS
from services.bench.door import PREFIX, measure_door, ready
from services.bench.events import FRESH, generate
from services.bench.measure import check, measure
from services.bench.procfs import megabytes
from services.bench.servers import BenchServers
from services.bench.start import Job
from services.bench.topics import PARTITIONS, BenchTopic, fill
from shared.contracts.topics import Topics
from shared.kafka.topics_admin import ensure_topics
from shared.local.processes import Process
from shared.mongo.store import prepare
from shared.runtime.protocols import Document
from shared.settings import Settings
from shared.vault.keys import Vault
from shared.vault.master import EnvironmentKeys
from shared.vault.mongo_store import MongoKeyStore
from shared.vault.schema import COLLECTIONS, DATA_KEYS

NAME = "capacity"
KEYS = 20_000
EVENTS = 60_000
#: Partitions of each topic in the second of two measurements of a worker's memory.
MANY_PARTITIONS = 32
#: The second of two measurements of intelligence has so many times the relationships of the first: a process that
#: has any takes memory that does not grow with them.
COPIES = 8
#: Brokers and members of the replica set in the example: each has everything.
_COPIES = 3
_CLIENT = "kafka-python"
_PATIENCE_SECONDS = 120.0


class Figures(NamedTuple):
    """Rates in events a second of one process, sizes in bytes, memory in MB of a process."""

    door_rate: float
    worker_rate: float
    analytics_rate: float
    event_bytes: float
    change_bytes: float
    fact_bytes: float
    relationship_bytes: float
    key_bytes: float
    worker_mb: float
    worker_idle_mb: float
    partition_mb: float
    busy_partition_mb: float
    intelligence_mb: float
    intelligence_bytes: float


def measure_capacity(
    servers: BenchServers, database: Database[Document], events: int, seconds: float, say: Callable[[str], None]
) -> Figures:
    """All figures, from ``events`` new facts of a tenth as many consumers, and ``seconds`` at the door. Raises
    RunFailed, ProcessFailed and ConfigurationError."""
    settings = Settings(kafka=servers.kafka.bootstrap, mongo=servers.mongo.uri)
    say("the memory of idle processes")
    few = _idle(servers, "relations", PARTITIONS)
    many = _idle(servers, "relations", MANY_PARTITIONS)
    intelligence = _idle(servers, "intelligence", PARTITIONS)
    say("the door")
    ensure_topics(settings.model_copy(update={"topic_prefix": PREFIX, "partitions": PARTITIONS}))
    door = float(measure_door(servers, "Kith", _CLIENT, seconds)["rate"])
    say(f"publishing {events:,} events to {NAME}.relations")
    topic = fill(settings, NAME, generate(events, FRESH))
    say("a worker")
    log = servers.folder / "log"
    job = Job(servers.kafka.bootstrap, servers.mongo.uri, database.name, NAME, topic.name, NAME, log)
    run = measure(servers, database, CONTENDERS["kith"], job, topic, "first", 1, 60 + events / 500)
    say("analytics")
    analytics = _analytics(servers, database, topic)
    say("intelligence")
    with ready(servers, "intelligence", _CLIENT, database.name) as (process, _):
        loaded = _megabytes(process)
    say(f"{KEYS:,} data keys")
    _make_keys(database)
    database.client.admin.command("fsync")  # sizes are as of the last checkpoint
    relationships = database["relationships"].count_documents({})
    fact, relationship, key = (_bytes(database, name) for name in ("relations", "relationships", DATA_KEYS))
    say(f"intelligence with {COPIES} times as many relationships")
    _multiply(database)
    with ready(servers, "intelligence", _CLIENT, database.name) as (process, _):
        more = _megabytes(process)
    return Figures(
        door,
        run.rate,
        analytics,
        _log_bytes(servers, topic.name) / topic.events,
        _log_bytes(servers, Topics(NAME).name("relation-changes")) / topic.events,
        fact,
        relationship,
        key,
        run.memory_mb,
        few,
        max(0.0, many - few) / (MANY_PARTITIONS - PARTITIONS),
        (run.memory_mb - few) / PARTITIONS,
        intelligence,
        max(0.0, more - loaded) * 2**20 / (relationships * (COPIES - 1)),
    )


def _idle(servers: BenchServers, name: str, partitions: int) -> float:
    """The memory of a service that has so many partitions of each topic, and nothing to do."""
    prefix = f"{NAME}-idle-{partitions}"
    ensure_topics(Settings(kafka=servers.kafka.bootstrap, topic_prefix=prefix, partitions=partitions))
    with ready(servers, name, _CLIENT, prefix) as (process, _):
        return _megabytes(process)


def _megabytes(process: Process) -> float:
    assert process.pid is not None
    return megabytes([process.pid])


def _analytics(servers: BenchServers, database: Database[Document], topic: BenchTopic) -> float:
    """Events a second, from the first that is stored."""

    def done() -> int:
        found = database["positions"].find({"_id": {"$regex": "^analytics@"}})
        return sum(position.get("next") or 0 for position in found)

    with ready(servers, "analytics", _CLIENT, database.name) as (process, _):
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not (first := done()):
            check([process], deadline, "stored nothing")
            time.sleep(0.02)
        began = time.monotonic()
        while (stored := done()) < topic.events:
            check([process], deadline, "did not store all changes")
            time.sleep(0.02)
    return (stored - first) / (time.monotonic() - began)


def _log_bytes(servers: BenchServers, topic: str) -> int:
    """The size of a topic's segments on this one broker."""
    with closing(KafkaAdminClient(bootstrap_servers=servers.kafka.bootstrap)) as admin:
        found = admin.describe_log_dirs([topic])
    return sum(
        partition["partition_size"]
        for broker in found
        for folder in broker["log_dirs"]
        for each in folder["topics"]
        for partition in each["partitions"]
    )


def _bytes(database: Database[Document], collection: str) -> float:
    """A document's share of the collection's files, indexes included."""
    stats = database.command("collStats", collection)
    return float(stats["storageSize"] + stats["totalIndexSize"]) / max(1, int(stats["count"]))


def _make_keys(database: Database[Document]) -> None:
    prepare(database, COLLECTIONS)
    vault = Vault(MongoKeyStore(database), EnvironmentKeys(b64encode(os.urandom(32)).decode()))
    vault.keys("default", [f"c-{number:07d}" for number in range(KEYS)])


def _multiply(database: Database[Document]) -> None:
    """``COPIES`` of each relationship, of as many times the consumers. No service of relations may follow."""
    relationships = database["relationships"]
    for number in range(1, COPIES):
        other = {name: {"$concat": [f"${name}", f"~{number}"]} for name in ("_id", "consumer_id")}
        of_first = {"$match": {"consumer_id": {"$not": {"$regex": "~"}}}}
        relationships.aggregate([of_first, {"$set": other}, {"$merge": relationships.name}])


#: Figure, unit and what it is.
ROWS: Sequence[tuple[str, str, str]] = (
    ("door_rate", "events/s", "One ingest process, requests of 100 events"),
    ("worker_rate", "events/s", "One worker of relations, new facts"),
    ("analytics_rate", "events/s", "One worker of analytics, changes of new facts"),
    ("event_bytes", "bytes", "Kafka: an event of 330 bytes"),
    ("change_bytes", "bytes", "Kafka: its change"),
    ("fact_bytes", "bytes", "MongoDB: a fact, with its indexes"),
    ("relationship_bytes", "bytes", "MongoDB: a relationship, with its indexes"),
    ("key_bytes", "bytes", "MongoDB: the data key of a consumer, with its indexes"),
    ("worker_mb", "MB", f"A worker of relations with {PARTITIONS} partitions at full load"),
    ("worker_idle_mb", "MB", "The same, idle"),
    ("partition_mb", "MB", "One more partition of every topic, idle"),
    ("busy_partition_mb", "MB", "A partition at full load"),
    ("intelligence_mb", "MB", "A process of intelligence that knows nothing"),
    ("intelligence_bytes", "bytes", "Intelligence: the memory of a relationship"),
)


def rows(figures: Figures) -> list[dict[str, object]]:
    """A row per figure. Pure."""
    return [
        {"what": what, "measured": round(getattr(figures, name), 2), "unit": unit, "name": name}
        for name, unit, what in ROWS
    ]


def table(figures: Figures) -> str:
    """The same in Markdown. Pure."""
    lines = ["| What | Measured | |", "|---|---|---|"]
    lines += [f"| {what} | {shown(getattr(figures, name))} | {unit} |" for name, unit, what in ROWS]
    return "\n".join(lines)


def shown(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2f}"


def example(figures: Figures, consumers: int = 10_000_000, met: int = 50, rate: int = 300) -> str:
    """The formulas, and what they say for so many consumers, each of whom meets ``met`` providers, and so many
    events a second. In Markdown. Pure."""
    day = rate * 86_400
    year, relationships = day * 365, consumers * met
    log = figures.event_bytes + figures.change_bytes
    processes = {
        "Ingest processes": figures.door_rate,
        "Workers of relations": figures.worker_rate,
        "Workers of analytics": figures.analytics_rate,
    }
    stored = {
        "MongoDB, facts of a year": ("facts", year, figures.fact_bytes),
        "MongoDB, relationships": ("relationships", relationships, figures.relationship_bytes),
        "MongoDB, data keys": ("consumers", consumers, figures.key_bytes),
    }
    memory = figures.intelligence_mb * 2**20 + relationships * figures.intelligence_bytes
    lines = [
        "| For | Formula | Here |",
        "|---|---|---|",
        *(
            f"| {what}, at half load, and one more | 2 × events/s ÷ {shown(most)} + 1 | {_processes(rate, most)} |"
            for what, most in processes.items()
        ),
        f"| Kafka, a day | events × {shown(log)} bytes × {_COPIES} | {_size(day * log * _COPIES)} |",
        *(
            f"| {what} | {unit} × {shown(each)} bytes × {_COPIES} | {_size(count * each * _COPIES)} |"
            for what, (unit, count, each) in stored.items()
        ),
        f"| Memory of a process of intelligence | {shown(figures.intelligence_mb)} MB + relationships × "
        f"{shown(figures.intelligence_bytes)} bytes | {_size(memory)} |",
    ]
    return "\n".join(lines)


def _processes(rate: float, most: float) -> int:
    return -int(-2 * rate // most) + 1


def _size(bytes: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9)):
        if bytes >= factor:
            return f"{bytes / factor:,.1f} {unit}"
    return f"{bytes / 1e6:,.0f} MB"
