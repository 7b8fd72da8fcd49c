"""Reads as of one moment, independent of later writes."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from bson.codec_options import CodecOptions
from bson.timestamp import Timestamp
from pymongo.command_cursor import CommandCursor
from pymongo.database import Database
from pymongo.errors import OperationFailure

from shared.contracts.errors import ConfigurationError, Unavailable
from shared.mongo.errors import translated
from shared.mongo.limits import STREAM_MS
from shared.runtime.protocols import Document
from shared.versions.generations import FIRST, collection_of
from shared.versions.mongo_registry import PROJECTIONS

#: A stream; closing it frees the server's cursor.
Documents = Generator[Document, None, None]
#: Documents per answer of the server.
BATCH = 2_000
_INVALID, _TOO_OLD, _UNAVAILABLE, _KILLED, _NOT_FOUND = 72, 239, 246, 175, 43
_CONVERSION_FAILURE = 241


class NotConvertible(Exception):
    """A conversion in the pipeline failed for a stored value."""


class MomentPassed(Exception):
    """The server no longer has the state of the moment."""


class Snapshot:
    """The stored state at one moment (MongoDB's ``atClusterTime``), for any number of reads of all collections.
    The versions of the projections are those that were live then.

    MongoDB keeps the past for ``minSnapshotHistoryWindowInSeconds``, 300 by default. Reading on after that raises
    MomentPassed. Every method raises Unavailable while MongoDB is unavailable.
    """

    def __init__(self, database: Database[Document], moment: Timestamp | None = None) -> None:
        """``moment`` None: now. Raises ConfigurationError where MongoDB is no replica set."""
        options: CodecOptions[Document] = CodecOptions(tz_aware=True)
        self._database = database.with_options(codec_options=options)
        with translated():
            # The latest acknowledged time; a read at this time waits until a majority has reached it.
            found = moment or self._database.command("ping").get("operationTime")
        if found is None:
            raise ConfigurationError("exports need a MongoDB that is a replica set: others have no snapshots")
        self.moment: Timestamp = found
        self._live = {document["_id"]: document["live"] for document in self._find(PROJECTIONS, {})}

    @property
    def time(self) -> datetime:
        """The moment, to the second."""
        return datetime.fromtimestamp(self.moment.time, UTC)

    def find(
        self,
        source: str,
        collection: str,
        wanted: Mapping[str, Any],
        projection: Mapping[str, Any] | None = None,
        sort: Sequence[tuple[str, int]] = (),
        *,
        limit: int = 0,
        skip: int = 0,
        stream: bool = True,
    ) -> Documents:
        """Documents of a collection of the projection ``source``. Close it to free the server's cursor. A
        ``stream`` may be long; anything else has the time of a query."""
        options: Document = {"projection": dict(projection or {}), "allowDiskUse": True, "batchSize": BATCH}
        if stream:
            options["maxTimeMS"] = STREAM_MS
        if sort:
            options["sort"] = dict(sort)
        for name, value in (("limit", limit), ("skip", skip)):
            if value:
                options[name] = value
        return self._find(self.name(source, collection), dict(wanted), options)

    def aggregate(self, source: str, collection: str, stages: Sequence[Mapping[str, Any]]) -> Documents:
        """What a pipeline makes of a collection. A stream, to be closed."""
        options = {"cursor": {"batchSize": BATCH}, "allowDiskUse": True}
        return self._stream({"aggregate": self.name(source, collection), "pipeline": list(stages), **options})

    def name(self, source: str, collection: str) -> str:
        """The full name of a projection's collection at the moment."""
        return collection_of(collection, self._live.get(source, FIRST))

    def _find(self, name: str, wanted: Document, options: Document | None = None) -> Documents:
        return self._stream({"find": name, "filter": wanted, **(options or {})})

    def _stream(self, command: Document) -> Documents:
        command["readConcern"] = {"level": "snapshot", "atClusterTime": self.moment}
        with translated(), _explained():
            cursor: CommandCursor[Document] = self._database.cursor_command(command)
            with closing(cursor.batch_size(BATCH)):
                yield from cursor


@contextmanager
def _explained() -> Iterator[None]:
    """Translates errors that have another meaning here than in a worker. Inside ``translated``, which would catch
    them first."""
    try:
        yield
    except OperationFailure as error:
        if error.code == _TOO_OLD:
            raise MomentPassed(
                "MongoDB no longer has the state of the moment that is read, because reading took longer than its"
                " minSnapshotHistoryWindowInSeconds (300 by default). Raise that parameter of mongod, or export"
                " less at a time: a period, a kind"
            ) from None
        if error.code == _INVALID and "atClusterTime" in str(error):
            raise MomentPassed("the moment is in the future of MongoDB's cluster time") from None
        if error.code == _CONVERSION_FAILURE:
            raise NotConvertible from None
        if error.code in (_UNAVAILABLE, _KILLED, _NOT_FOUND):
            # Indexes are being built, or the version that is read has just been dropped.
            raise Unavailable(
                f"MongoDB: {error.details.get('codeName') if error.details else error.code}"
            ) from None
        raise
