"""The Postgres sink beside its driver alone."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from psycopg import sql
from pymongo.database import Database

from services.bench.relationships import documents
from services.postgres.connections import Connections, prepare
from services.postgres.projection import rows_of
from services.postgres.rebuild import SinkRebuild
from services.postgres.rows import write
from services.relations.schema import COLLECTIONS
from shared.local.postgres import server
from shared.mongo.store import prepare as prepare_mongo
from shared.runtime.protocols import Document
from shared.sinks.target import Row

#: Rows of a transaction: as many as a rebuild takes at a time.
_PIECE = 500


def measure_postgres(
    database: Database[Document], folder: Path, relationships: int, repetitions: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Rows written per second into empty tables, in turn: by the driver alone (the statement of the sink, rows at
    hand), and by the sink (documents read, rows made)."""
    prepare_mongo(database, COLLECTIONS)
    made = list(documents(relationships))
    database["relationships"].insert_many(made, ordered=False)
    found = []
    with server(folder / "postgres", folder / "postgres.log") as postgres:
        for repetition in range(1, repetitions + 1):
            for what, act in (("the driver alone", _alone), ("the sink", _sink)):
                connections = Connections(postgres.dsn, "bench")
                prepare(connections)
                seconds = act(connections, database, made)
                rate = round(relationships / seconds)
                say(f"{repetition} {what}: {rate:,} rows/s")
                found.append({"what": what, "repetition": repetition, "rows": relationships, "rows_s": rate})
                with connections.lent() as connection:
                    connection.execute(sql.SQL("DROP SCHEMA bench CASCADE"))
                connections.close()
    return found


def _alone(connections: Connections, _: Database[Document], made: list[Document]) -> float:
    rows: list[Row] = []
    for document in made:
        key = (document["tenant"], document["consumer_id"], document["provider_id"])
        rows += rows_of({"relationships": {key: document["_id"]}}, {"relationships": {document["_id"]: document}})
    begin = time.monotonic()
    for start in range(0, len(rows), _PIECE):
        with connections.lent() as connection:
            write(connection, "bench", rows[start : start + _PIECE])
    return time.monotonic() - begin


def _sink(connections: Connections, database: Database[Document], _: list[Document]) -> float:
    rebuild = SinkRebuild(database, str, connections, lambda *_: None, lambda: False, time.sleep)
    begin = time.monotonic()
    rebuild.write_all()
    return time.monotonic() - begin
