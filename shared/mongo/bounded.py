"""MongoDB's clients, databases and collections with a time limit on every read, and reads that can be ended.

Every read gets ``maxTimeMS``: its own, or the client's. The server enforces it, even if the process that asked has
ended. (pymongo's ``timeout`` also sets it, but on writes and transactions as well, where it replaces the write
concern's limit and repeats an operation until the time is over.)

A read that a thread makes for a caller (``shared.runtime.interruption``) bears the caller's tag as its comment.
When the caller leaves, ``Killer`` ends it on the server. A user may always end operations of its own.
"""

import logging
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.command_cursor import CommandCursor
from pymongo.cursor import Cursor
from pymongo.database import Database
from pymongo.errors import PyMongoError

from shared.mongo.limits import LIMIT_SECONDS
from shared.runtime.interruption import current
from shared.runtime.protocols import Document

#: Where an operation bears the comment of its read.
_PLACES = ("command.comment", "cursor.originatingCommand.comment")
_AGAIN_SECONDS = (0.05, 0.5, 0.0)

_log = logging.getLogger(__name__)
D = TypeVar("D", bound=Any)


class BoundedClient(MongoClient[Document]):
    """``limit_seconds``: how long MongoDB works on a read that states no limit of its own."""

    def __init__(self, *arguments: Any, limit_seconds: float = LIMIT_SECONDS, **options: Any) -> None:
        # First: the methods of the base class take databases.
        self.limit_ms = max(1, round(limit_seconds * 1000))
        self.killer = Killer(self)
        super().__init__(*arguments, **options)

    def __getitem__(self, name: str) -> "BoundedDatabase[Document]":
        return BoundedDatabase(self, name)

    def get_database(self, name: Any = None, *arguments: Any, **options: Any) -> "BoundedDatabase[Document]":
        found = super().get_database(name, *arguments, **options)
        return BoundedDatabase(self, found.name).with_options(
            found.codec_options, found.read_preference, found.write_concern, found.read_concern
        )

    def close(self) -> None:
        self.killer.close()
        super().close()


class BoundedDatabase(Database[D], Generic[D]):
    def with_options(self, *arguments: Any, **options: Any) -> "BoundedDatabase[Any]":
        other = super().with_options(*arguments, **options)
        return BoundedDatabase(
            other.client,
            other.name,
            other.codec_options,
            other.read_preference,
            other.write_concern,
            other.read_concern,
        )

    def __getitem__(self, name: str) -> "BoundedCollection[D]":
        return BoundedCollection(self, name)

    def get_collection(self, name: str, *arguments: Any, **options: Any) -> "BoundedCollection[Any]":
        return BoundedCollection(self, name, False, *arguments, **options)

    def aggregate(self, pipeline: Any, *arguments: Any, **options: Any) -> CommandCursor[D]:
        with _bounded(self.client, options, "maxTimeMS"):
            return _endable_results(super().aggregate(pipeline, *arguments, **options))

    def cursor_command(self, command: Any, *arguments: Any, **options: Any) -> CommandCursor[Any]:
        """``command`` is a mapping; reads by other ways have methods of their own."""
        command = dict(command)
        with _bounded(self.client, command, "maxTimeMS"):
            return _endable_results(super().cursor_command(command, *arguments, **options))


class BoundedCollection(Collection[D], Generic[D]):
    def with_options(self, *arguments: Any, **options: Any) -> "BoundedCollection[Any]":
        other = super().with_options(*arguments, **options)
        return BoundedCollection(
            other.database,
            other.name,
            False,
            other.codec_options,
            other.read_preference,
            other.write_concern,
            other.read_concern,
        )

    def find(self, *arguments: Any, **options: Any) -> Cursor[D]:
        with _bounded(self.database.client, options, "max_time_ms"):
            return _Reads(self, *arguments, **options)

    def aggregate(self, pipeline: Any, *arguments: Any, **options: Any) -> CommandCursor[D]:
        with _bounded(self.database.client, options, "maxTimeMS"):
            return _endable_results(super().aggregate(pipeline, *arguments, **options))

    def count_documents(self, filter: Any, *arguments: Any, **options: Any) -> int:
        with _bounded(self.database.client, options, "maxTimeMS"):
            return super().count_documents(filter, *arguments, **options)

    def estimated_document_count(self, *arguments: Any, **options: Any) -> int:
        with _bounded(self.database.client, options, "maxTimeMS"):
            return super().estimated_document_count(*arguments, **options)

    def distinct(self, key: str, *arguments: Any, **options: Any) -> list[Any]:
        with _bounded(self.database.client, options, "maxTimeMS"):
            return super().distinct(key, *arguments, **options)


class _Reads(Cursor[D], Generic[D]):
    """A cursor of ``find``, which asks the server only when it is read."""

    def _refresh(self) -> int:
        with _endable(self.collection.database.client):
            return super()._refresh()


class _Results(CommandCursor[D], Generic[D]):
    """A cursor of anything else, whose first answer is read already."""

    def _refresh(self) -> int:
        with _endable(self._collection.database.client):
            return super()._refresh()


def _endable_results(found: CommandCursor[D]) -> CommandCursor[D]:
    # pymongo makes them, and takes no class of its user's for it.
    found.__class__ = _Results
    return found


@contextmanager
def _bounded(client: MongoClient[Any], options: dict[str, Any], name: str) -> Iterator[None]:
    """Add the limit and the tag to the options of a read, and let it be ended while it waits for the server."""
    assert isinstance(client, BoundedClient)
    if options.get(name) is None:
        options[name] = client.limit_ms
    if (work := current()) is not None and options.get("comment") is None:
        options["comment"] = work.tag
    with _endable(client):
        yield


@contextmanager
def _endable(client: MongoClient[Any]) -> Iterator[None]:
    assert isinstance(client, BoundedClient)
    if (work := current()) is None:
        yield
        return
    with work.during(client.killer.kill):
        yield


class Killer:
    """Ends reads on the server by their tags, in a thread of its own."""

    def __init__(self, client: BoundedClient) -> None:
        self._client = client
        self._tags: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def kill(self, tag: str) -> None:
        """End the operations with this tag, soon."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="kill-reads", daemon=True)
                self._thread.start()
        self._tags.put(tag)

    def close(self) -> None:
        with self._lock:
            if self._thread is not None:
                self._tags.put(None)

    def _work(self) -> None:
        while (tag := self._tags.get()) is not None:
            tags = {tag}
            # A read that has just been sent may not have arrived yet.
            for pause in _AGAIN_SECONDS:
                while not self._tags.empty() and (other := self._tags.get()) is not None:
                    tags.add(other)
                try:
                    tags -= self._end(tags)
                except PyMongoError as error:
                    # The time limit ends them.
                    _log.warning("a read that nobody waits for could not be ended", extra={"reason": str(error)})
                    break
                if not tags:
                    break
                time.sleep(pause)

    def _end(self, tags: set[str]) -> set[str]:
        """End what runs with these tags. Returns those that were found."""
        admin = self._client["admin"]
        of_tags = [{place: {"$in": list(tags)}} for place in _PLACES]
        found = set()
        # Without allUsers these are the operations of this user, which need no privilege.
        for each in admin.aggregate([{"$currentOp": {}}, {"$match": {"$or": of_tags}}]):
            if "opid" in each:
                admin.command("killOp", op=each["opid"])
                found |= {tag for place in _PLACES if (tag := _at(each, place)) is not None}
        return found


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document
