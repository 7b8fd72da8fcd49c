"""The Cassandra sink beside its driver alone, and lists of relationships out of both databases."""

import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from pymongo.database import Database

from services.bench.relationships import EACH, PROVIDERS, STRENGTH, TENANT, documents
from services.cassandra.reader import CurrentDocuments
from services.cassandra.rebuild import SinkRebuild
from services.cassandra.schema import BESIDE
from services.relations.cache import QueryCache
from services.relations.queries import Queries
from services.relations.schema import COLLECTIONS
from shared.cassandra.address import parse
from shared.cassandra.lists import RelationshipLists
from shared.cassandra.numbers import timestamp
from shared.cassandra.protocol import Stamped
from shared.cassandra.rows import Key, Row, relationship_rows, score_of
from shared.cassandra.session import connect
from shared.cassandra.store import CassandraTables
from shared.cassandra.tables import BY_SCORE, TABLES
from shared.cassandra.writer import in_batches
from shared.local.cassandra import server
from shared.mongo.store import prepare
from shared.runtime.protocols import Document
from shared.versions.mongo_registry import MongoRegistry

#: Documents of a piece, of which each makes three rows: as many as a rebuild takes at a time.
_PIECE = 500
#: Relationships of which the rates are measured, whatever the size of the lists.
_MOST = 20_000
#: Documents that are loaded at once for the lists: so many that a provider's partition gets batches of its own.
_LOADED = 20_000
#: Cassandra's own default. The node of `kith up` waits for its disk with every write, because it has no replicas.
_NODE = {"commitlog_sync": "periodic", "commitlog_sync_period": "10s"}
_COMPACTION_SECONDS, _GLANCE_SECONDS = 90.0, 0.5
_COMPACTIONS = "SELECT COUNT(*) FROM system_views.sstable_tasks"


def measure_cassandra(
    database: Database[Document], folder: Path, relationships: int, requests: int, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows written per second, by the driver alone and by the sink (numbers, documents read, order, all tables);
    and milliseconds of lists out of both, of ``relationships`` that are loaded in bulk."""
    prepare(database, {**COLLECTIONS, **BESIDE})
    made = documents(relationships)
    first = list(islice(made, _MOST))
    database["relationships"].insert_many(first, ordered=False)
    with (
        server(folder / "cassandra", folder / "cassandra.log", settings=_NODE) as node,
        _tables(node.address) as tables,
    ):
        rates = []
        contenders: list[Callable[[], dict[str, Any]]] = [
            lambda: _alone(tables("one_by_one"), first, batches=False),
            lambda: _alone(tables("batches"), first, batches=True),
            lambda: _sink(tables("sink"), database),
        ]
        for write in contenders:
            rates.append(found := write())
            say(f"{found['what']}: {found['rows_s']:,} rows/s")
        say(f"{relationships:,} relationships are loaded into both databases")
        loaded = tables("loaded")
        _write(loaded, first, _LOADED, batches=True)
        while piece := list(islice(made, _LOADED)):
            database["relationships"].insert_many(piece, ordered=False)
            _write(loaded, piece, _LOADED, batches=True)
        _wait_compacted(node.address)
        say("lists out of both")
        times = _lists(database, loaded, relationships, requests)
    return rates, times


def _wait_compacted(address: str) -> None:
    """Until the node has nothing to compact any more, or for a while: as it is between two loads."""
    deadline = time.monotonic() + _COMPACTION_SECONDS
    cluster, session = connect(parse(address))
    try:
        while session.execute(_COMPACTIONS).one()[0] and time.monotonic() < deadline:
            time.sleep(_GLANCE_SECONDS)
    finally:
        cluster.shutdown()


@contextmanager
def _tables(address: str) -> Iterator[Callable[[str], CassandraTables]]:
    made: dict[str, CassandraTables] = {}

    def of(keyspace: str) -> CassandraTables:
        if keyspace not in made:
            made[keyspace] = CassandraTables(replace(parse(address), keyspace=keyspace))
            made[keyspace].prepare()
        return made[keyspace]

    try:
        yield of
    finally:
        for each in made.values():
            each.close()


def _alone(tables: CassandraTables, made: Sequence[Document], *, batches: bool) -> dict[str, Any]:
    """The rows that the sink writes, by the same prepared statements, as many at once: each by itself, or in the
    sink's batches."""
    what = "the driver alone, in the sink's batches" if batches else "the driver alone, row by row"
    return _rate(what, *_write(tables, made, _PIECE, batches=batches))


def _write(tables: CassandraTables, made: Sequence[Document], piece: int, *, batches: bool) -> tuple[int, float]:
    """Rows, and the seconds in which the driver wrote them."""
    rows, seconds = 0, 0.0
    for start in range(0, len(made), piece):
        groups: defaultdict[Key, list[Stamped]] = defaultdict(list)
        for place, row in enumerate(_rows(made[start : start + piece])):
            whose = (*row.key[: len(TABLES[row.table].partition)], "relationships" in row.table)
            groups[whose if batches else (place,)].append(Stamped(timestamp(1 + start, place), row))
        rows += sum(map(len, groups.values()))
        begin = time.monotonic()
        tables.write(list(in_batches(groups.values())))
        seconds += time.monotonic() - begin
    return rows, seconds


def _rows(made: Sequence[Document]) -> Iterator[Row]:
    """The rows by consumer, by provider, and the place in the order."""
    for document in made:
        by_consumer, by_provider = relationship_rows(
            (TENANT, document["consumer_id"], document["provider_id"]), document
        )
        place = (*by_provider.key[:-1], score_of(document), document["_id"])
        yield from (by_consumer, by_provider, Row(BY_SCORE, place, {"consumer_id": document["consumer_id"]}))


def _rate(what: str, rows: int, seconds: float) -> dict[str, Any]:
    return {"what": what, "rows": rows, "seconds": round(seconds, 1), "rows_s": round(rows / seconds)}


def _sink(tables: CassandraTables, database: Database[Document]) -> dict[str, Any]:
    current = CurrentDocuments(
        database, MongoRegistry(database, "relations"), MongoRegistry(database, "analytics")
    )
    names = dict.fromkeys(("relations", "relationships", "aggregates"), str)
    rebuild = SinkRebuild(database, names, current, tables, lambda *_: None, lambda: False, time.sleep)
    begin = time.monotonic()
    written = rebuild.write_all()
    return _rate("the sink", 3 * written, time.monotonic() - begin)


def _lists(
    database: Database[Document], tables: CassandraTables, relationships: int, requests: int
) -> list[dict[str, Any]]:
    chance = random.Random(1)
    now = datetime.now(UTC)
    paths = {
        "mongo": Queries(database, STRENGTH, QueryCache("off", 1)),
        "cassandra": Queries(database, STRENGTH, QueryCache("off", 1), lists=RelationshipLists(tables).page),
    }
    asked = {
        "provider": [f"p{chance.randrange(PROVIDERS)}" for _ in range(requests)],
        "consumer": [f"c{chance.randrange(max(1, relationships // EACH))}" for _ in range(requests)],
    }
    rows = []
    for side, ids in asked.items():
        for name, queries in paths.items():
            times = []
            for id in ids:
                begin = time.perf_counter()
                queries.relationships(TENANT, f"{side}_id", id, 100, None, now)
                times.append(1_000 * (time.perf_counter() - begin))
            cuts = statistics.quantiles(times, n=100)
            rows.append(
                {"list of a": side, "from": name, "p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1)}
            )
    return rows
