"""The Cassandra sink beside its driver alone, and lists of relationships out of both databases."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo.database import Database

from services.cassandra.reader import CurrentDocuments
from services.cassandra.rebuild import SinkRebuild
from services.cassandra.schema import BESIDE
from services.relations.cache import QueryCache
from services.relations.queries import Queries
from services.relations.schema import COLLECTIONS
from services.relations.strength import Strength
from shared.cassandra.address import parse
from shared.cassandra.lists import RelationshipLists
from shared.cassandra.numbers import timestamp
from shared.cassandra.protocol import Stamped
from shared.cassandra.rows import Row, relationship_rows
from shared.cassandra.store import CassandraTables
from shared.contracts.events import document_id
from shared.local.cassandra import server
from shared.mongo.store import prepare
from shared.runtime.protocols import Document
from shared.versions.mongo_registry import MongoRegistry

_TENANT = "bench"
_PROVIDERS = 100
#: Relationships of each consumer.
_EACH = 10
_STRENGTH = Strength({}, 6.0)


def measure_cassandra(
    database: Database[Document], folder: Path, relationships: int, requests: int, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows written per second, by the driver alone and by the sink (numbers, documents read, order, all tables);
    and milliseconds of lists out of both."""
    prepare(database, {**COLLECTIONS, **BESIDE})
    documents = list(_documents(relationships))
    for start in range(0, len(documents), 5_000):
        database["relationships"].insert_many(documents[start : start + 5_000], ordered=False)
    with server(folder / "cassandra", folder / "cassandra.log") as node, _tables(node.address) as tables:
        rates = [_alone(tables("alone"), documents, say), _sink(tables("sink"), database, relationships, say)]
        times = _lists(database, tables("sink"), relationships, requests)
    return rates, times


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


def _alone(tables: CassandraTables, documents: list[Document], say: Callable[[str], None]) -> dict[str, Any]:
    """The same prepared statements for the same rows, one statement each, as many at once."""
    rows: list[Row] = []
    for document in documents:
        pair = (_TENANT, document["consumer_id"], document["provider_id"])
        rows.extend(relationship_rows(pair, document))
    say(f"the driver alone: {len(rows):,} rows")
    begin = time.monotonic()
    for start in range(0, len(rows), 2_000):
        piece = rows[start : start + 2_000]
        tables.write([[Stamped(timestamp(1 + start, place), row)] for place, row in enumerate(piece)])
    seconds = time.monotonic() - begin
    return {
        "what": "driver alone",
        "rows": len(rows),
        "seconds": round(seconds, 1),
        "rows_s": round(len(rows) / seconds),
    }


def _sink(
    tables: CassandraTables, database: Database[Document], relationships: int, say: Callable[[str], None]
) -> dict[str, Any]:
    say(f"the sink: {relationships:,} relationships")
    current = CurrentDocuments(
        database, MongoRegistry(database, "relations"), MongoRegistry(database, "analytics")
    )
    names = dict.fromkeys(("relations", "relationships", "aggregates"), str)
    rebuild = SinkRebuild(database, names, current, tables, lambda *_: None, lambda: False, time.sleep)
    begin = time.monotonic()
    written = rebuild.write_all()
    seconds = time.monotonic() - begin
    # By consumer, by provider, and the place in the order.
    rows = 3 * written
    return {"what": "sink", "rows": rows, "seconds": round(seconds, 1), "rows_s": round(rows / seconds)}


def _lists(
    database: Database[Document], tables: CassandraTables, relationships: int, requests: int
) -> list[dict[str, Any]]:
    chance = random.Random(1)
    now = datetime.now(UTC)
    paths = {
        "mongo": Queries(database, _STRENGTH, QueryCache("off", 1)),
        "cassandra": Queries(database, _STRENGTH, QueryCache("off", 1), lists=RelationshipLists(tables).page),
    }
    asked = {
        "provider": [f"p{chance.randrange(_PROVIDERS)}" for _ in range(requests)],
        "consumer": [f"c{chance.randrange(max(1, relationships // _EACH))}" for _ in range(requests)],
    }
    rows = []
    for side, ids in asked.items():
        for name, queries in paths.items():
            times = []
            for id in ids:
                begin = time.perf_counter()
                queries.relationships(_TENANT, f"{side}_id", id, 100, None, now)
                times.append(1_000 * (time.perf_counter() - begin))
            cuts = statistics.quantiles(times, n=100)
            rows.append(
                {"list of a": side, "from": name, "p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1)}
            )
    return rows


def _documents(count: int) -> Iterator[Document]:
    chance = random.Random(7)
    first = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        # Distinct pairs: the ten providers of a consumer follow each other.
        consumer = number // _EACH
        pair = (_TENANT, f"c{consumer}", f"p{(consumer * 7 + number % _EACH) % _PROVIDERS}")
        kinds = {"purchase": {f"2026-{month:02}": {"count": chance.randrange(1, 9)} for month in range(1, 4)}}
        total = sum(cell["count"] for cell in kinds["purchase"].values())
        yield {
            "_id": document_id(*pair),
            "tenant": pair[0],
            "consumer_id": pair[1],
            "provider_id": pair[2],
            "count": total,
            "first": first,
            "last": first + timedelta(days=80),
            "kinds": kinds,
            "score": _STRENGTH.score(kinds),
            "fingerprint": number,
        }
