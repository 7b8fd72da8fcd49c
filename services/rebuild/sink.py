"""`kith rebuild cassandra`: the rows of the sink, made anew from MongoDB's documents."""

import json
import time

import typer

from services.cassandra.reader import CurrentDocuments
from services.cassandra.rebuild import SinkRebuild
from services.cassandra.schema import BESIDE
from services.cassandra.subjects import AGGREGATES, RELATIONS, RELATIONSHIPS
from services.rebuild.console import stopping
from shared.access.acts import record_act
from shared.cassandra.address import parse
from shared.cassandra.store import CassandraTables
from shared.contracts.errors import Unavailable
from shared.mongo.errors import translated
from shared.mongo.store import connect, prepare
from shared.service.launch import read_settings
from shared.settings import cassandra_of, mongo_of
from shared.versions.live import LiveNames
from shared.versions.mongo_registry import MongoRegistry

_INTERRUPTED = 130


def rebuild_sink(as_json: bool) -> int:
    """Make every row anew. Returns the exit status."""
    settings = read_settings()
    address = parse(cassandra_of(settings))
    tables = CassandraTables(address)
    told = 0.0

    def report(what: str, count: int) -> None:
        nonlocal told
        if not as_json and time.monotonic() - told > 2.0:
            told = time.monotonic()
            typer.echo(f"{what}: {count:,}", err=True)

    with connect(mongo_of(settings)) as client, stopping() as stop:
        database = client[settings.database]
        relations, analytics = MongoRegistry(database, "relations"), MongoRegistry(database, "analytics")
        try:
            with translated():
                prepare(database, BESIDE)
            record_act(settings, "rebuild.sink", {"sink": "cassandra"})
            done = SinkRebuild(
                database,
                {
                    RELATIONS: LiveNames(relations),
                    RELATIONSHIPS: LiveNames(relations),
                    AGGREGATES: LiveNames(analytics),
                },
                CurrentDocuments(database, relations, analytics),
                tables,
                report,
                stop.is_set,
                time.sleep,
            ).run()
        except Unavailable as error:
            typer.echo(f"Stopped: {error}. What was made anew is right; run it again.", err=True)
            return 1
        finally:
            tables.close()
    if done is None:
        typer.echo("Stopped. What was made anew is right; run it again for the rest.", err=True)
        return _INTERRUPTED
    written, deleted = done
    if as_json:
        typer.echo(json.dumps({"sink": "cassandra", "written": written, "deleted": deleted}))
    else:
        typer.echo(f"Made the rows of {written:,} documents anew, and deleted {deleted:,} that have none.")
    return 0
