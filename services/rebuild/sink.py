"""`kith rebuild cassandra` and `kith rebuild postgres`: the rows of a sink, made anew from MongoDB's documents."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import typer
from pymongo.database import Database

from services.rebuild.console import stopping
from shared.access.acts import record_act
from shared.contracts.errors import Unavailable
from shared.mongo.errors import translated
from shared.mongo.store import connect, prepare
from shared.runtime.protocols import Document
from shared.service.launch import read_settings
from shared.settings import Settings, cassandra_of, mongo_of, postgres_of
from shared.sinks.restored import check_restored
from shared.versions.live import LiveNames
from shared.versions.mongo_registry import MongoRegistry

_INTERRUPTED = 130

Report = Callable[[str, int], None]


class Rebuild(Protocol):
    def run(self) -> tuple[int, int] | None:
        """How many documents were written and how many rows were deleted; None when it was stopped. Raises
        Unavailable and ConfigurationError."""


@contextmanager
def _cassandra(
    settings: Settings, database: Database[Document], report: Report, stopped: Callable[[], bool]
) -> Iterator[Rebuild]:
    from services.cassandra.reader import CurrentDocuments
    from services.cassandra.rebuild import SinkRebuild
    from services.cassandra.schema import BESIDE
    from services.cassandra.subjects import AGGREGATES, RELATIONS, RELATIONSHIPS
    from shared.cassandra.address import parse
    from shared.cassandra.store import CassandraTables

    tables = CassandraTables(parse(cassandra_of(settings)))
    relations, analytics = MongoRegistry(database, "relations"), MongoRegistry(database, "analytics")
    names = {
        RELATIONS: LiveNames(relations),
        RELATIONSHIPS: LiveNames(relations),
        AGGREGATES: LiveNames(analytics),
    }
    with translated():
        prepare(database, BESIDE)
    try:
        current = CurrentDocuments(database, relations, analytics)
        yield SinkRebuild(database, names, current, tables, report, stopped, time.sleep)
    finally:
        tables.close()


@contextmanager
def _postgres(
    settings: Settings, database: Database[Document], report: Report, stopped: Callable[[], bool]
) -> Iterator[Rebuild]:
    from services.postgres.connections import Connections
    from services.postgres.rebuild import SinkRebuild

    connections = Connections(postgres_of(settings), settings.postgres_schema)
    try:
        names = LiveNames(MongoRegistry(database, "relations"))
        yield SinkRebuild(database, names, connections, report, stopped, time.sleep)
    finally:
        connections.close()


_SINKS: Mapping[str, Callable[..., AbstractContextManager[Rebuild]]] = {
    "cassandra": _cassandra,
    "postgres": _postgres,
}


def rebuild_sink(sink: str, as_json: bool) -> int:
    """Make every row of a sink anew. Returns the exit status."""
    settings = read_settings()
    told = 0.0

    def report(what: str, count: int) -> None:
        nonlocal told
        if not as_json and time.monotonic() - told > 2.0:
            told = time.monotonic()
            typer.echo(f"{what}: {count:,}", err=True)

    with connect(mongo_of(settings)) as client, stopping() as stop:
        database = client[settings.database]
        try:
            # Its documents would be older than what the sink has taken, and would stay in the rows.
            check_restored(database, MongoRegistry(database, "relations"))
            with _SINKS[sink](settings, database, report, stop.is_set) as rebuild:
                record_act(settings, "rebuild.sink", {"sink": sink})
                done = rebuild.run()
        except Unavailable as error:
            typer.echo(f"Stopped: {error}. What was made anew is right; run it again.", err=True)
            return 1
    if done is None:
        typer.echo("Stopped. What was made anew is right; run it again for the rest.", err=True)
        return _INTERRUPTED
    written, deleted = done
    if as_json:
        typer.echo(json.dumps({"sink": sink, "written": written, "deleted": deleted}))
    else:
        typer.echo(f"Made the rows of {written:,} documents anew, and deleted {deleted:,} that have none.")
    return 0
