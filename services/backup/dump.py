"""Writes a backup: every collection as of one moment, then the ends of the topics."""

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo.database import Database
from pymongo.errors import OperationFailure

from services.backup.files import RAW, Manifest, write_collection, write_manifest, writing
from services.backup.log import topic_ends
from shared.access.acts import record_act
from shared.contracts.errors import ConfigurationError
from shared.contracts.revision import REVISION
from shared.local.private import new_folder
from shared.mongo.errors import translated
from shared.mongo.limits import STREAM_MS
from shared.mongo.restores import RESTORES, restore_problems
from shared.mongo.store import connect
from shared.observability.heartbeat import WORKERS
from shared.runtime.protocols import Document
from shared.settings import Settings, servers_of
from shared.vault.schema import COLLECTIONS as KEYS
from shared.versions.followers import FOLLOWERS

Part = Literal["all", "data", "keys"]
#: Signs of life of processes, and the record of restores: they belong to the database that runs.
LEFT_OUT = frozenset({WORKERS, FOLLOWERS, RESTORES})
_BATCH = 1_000
_TOO_OLD = 239


def backup(settings: Settings, folder: Path, part: Part, say: Callable[[str], None]) -> Manifest:
    """Write a backup into ``folder``, which must not exist. ``say`` receives lines of progress.

    The folder appears under its name once it is complete; until then it is called ``<name>.part``. Raises
    ConfigurationError and Unavailable.
    """
    servers_of(settings)
    work = folder.with_name(f"{folder.name}.part")
    for path in (folder, work):
        if path.exists():
            raise ConfigurationError(
                f"{path} exists already; a backup takes a folder of its own (….part: of one that was interrupted)"
            )
    with writing(work):
        new_folder(work.parent)
        work.mkdir(0o700)
    try:
        record_act(settings, "database.backup", {"part": part})
        manifest = _write(settings, work, part, say)
        with writing(folder):
            work.rename(folder)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return manifest


def _write(settings: Settings, work: Path, part: Part, say: Callable[[str], None]) -> Manifest:
    _, mongo = servers_of(settings)
    with connect(mongo) as client:
        database = client[settings.database]
        if problems := restore_problems(database):
            raise ConfigurationError(problems[0])
        moment = _moment(database)
        collections = {}
        for name, options in _collections(database, part):
            indexes = _indexes(database, name)
            with closing(_documents(database, name, moment)) as documents:
                collections[name] = write_collection(work, name, documents, options, indexes)
            say(f"{name}: {collections[name].documents:,} documents")
    manifest = Manifest(
        version("kith"),
        REVISION,
        settings.database,
        datetime.fromtimestamp(moment.time, UTC).isoformat(),
        part,
        collections,
        # Asked for afterwards, so that every position of the backup is within the log.
        topic_ends(settings),
    )
    write_manifest(work, manifest)
    return manifest


def _moment(database: Database[Document]) -> Timestamp:
    with translated():
        moment = database.command("ping").get("operationTime")
    if not isinstance(moment, Timestamp):
        raise ConfigurationError("a backup needs a MongoDB that is a replica set: others have no snapshots")
    return moment


def _collections(database: Database[Document], part: Part) -> Iterator[tuple[str, Document]]:
    with translated():
        found = sorted(database.list_collections(), key=lambda each: str(each["name"]))
    for each in found:
        name = each["name"]
        if each["type"] != "collection" or name.startswith("system.") or name in LEFT_OUT:
            continue
        if part == "all" or (name in KEYS) == (part == "keys"):
            yield name, each.get("options", {})


def _indexes(database: Database[Document], name: str) -> list[Document]:
    with translated():
        return [dict(each) for each in database[name].list_indexes() if each["name"] != "_id_"]


def _documents(
    database: Database[Document], name: str, moment: Timestamp
) -> Generator[RawBSONDocument, None, None]:
    """The documents of a collection as of the moment."""
    command: dict[str, Any] = {
        "find": name,
        "filter": {},
        "sort": {"_id": 1},
        "hint": {"_id": 1},
        "batchSize": _BATCH,
        "maxTimeMS": STREAM_MS,
        "readConcern": {"level": "snapshot", "atClusterTime": moment},
    }
    raw = database.with_options(codec_options=RAW)
    with translated():
        try:
            with closing(raw.cursor_command(command, codec_options=RAW).batch_size(_BATCH)) as cursor:
                yield from cursor
        except OperationFailure as error:
            if error.code != _TOO_OLD:
                raise
            raise ConfigurationError(
                "MongoDB no longer has the state of the moment of this backup, because it took longer than "
                "minSnapshotHistoryWindowInSeconds (300 by default). Raise that parameter of mongod for the backup"
            ) from None
