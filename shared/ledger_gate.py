"""What a service does about the ledger before it answers anything: a database may have been restored from a dump
that is older than an erasure.

First the keys of everybody in the ledger are destroyed again, so that nothing sealed can be read. Whoever is not
erased in the database is erased once more, through Kafka, as at any other time; the fold then does exactly what it
did before. Until it has, the service answers 503.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from fastapi import FastAPI
from pymongo import ReplaceOne
from pymongo.database import Database
from pymongo.errors import BulkWriteError
from pymongo.write_concern import WriteConcern

from shared.codec import encode
from shared.erasure import KEYS, LedgerEntry, outranking
from shared.errors import Unavailable
from shared.events import ConsumerErased, ErasedData, event_key
from shared.http import problem
from shared.mongo_io import beginning_with, translated
from shared.protocols import Document, Message, Publisher
from shared.topics import Topics

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 2.0
_BATCH = 5_000
_DUPLICATE_KEY = 11000


class Gate:
    """Reads the ledger in a thread once ``start`` is called. ``names`` gives what a collection of relations is
    called at the moment; ``read`` gives the ledger, ``open_publisher`` a publisher. Without a publisher it changes
    nothing, and waits for another service to do it."""

    def __init__(
        self,
        database: Database[Document],
        names: Callable[[str], str],
        read: Callable[[], Mapping[str, LedgerEntry]],
        open_publisher: Callable[[], Publisher] | None,
        topics: Topics,
    ) -> None:
        self._database, self._names = database, names
        self._read, self._open_publisher, self._topics = read, open_publisher, topics
        self._keys_gone = threading.Event()
        self._stop = threading.Event()
        self._waiting: int | None = None
        self._thread = threading.Thread(target=self._work, name="gate", daemon=True)
        self.open = False

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def check(self) -> None:
        """For who folds: raises Unavailable until every key that was destroyed is so again."""
        if not self._keys_gone.wait(_PATIENCE_SECONDS):
            raise Unavailable("the ledger of erasures has not been read yet")

    def problems(self) -> list[str]:
        """Why nothing may be answered yet."""
        if self.open:
            return []
        if self._waiting is None:
            return ["the ledger of erasures has not been read yet"]
        return [f"{self._waiting} erasures are not carried out in the database yet, which has been restored"]

    def _work(self) -> None:
        waiting: list[LedgerEntry] | None = None
        while not self._stop.is_set():
            try:
                if waiting is None:
                    entries = list(self._read().values())
                    ids = [entry.document_id for entry in entries]
                    if self._open_publisher is None:
                        check_destroyed(self._database, ids)
                    else:
                        destroy(self._database, ids)
                    self._keys_gone.set()
                    waiting = list(self._unerased(entries))
                    if waiting and self._open_publisher is not None:
                        log.warning("%d erasures are carried out once more", len(waiting))
                        self._order(waiting, self._open_publisher)
                waiting = [entry for entry in waiting if not self._done(entry)]
                self._waiting = len(waiting)
                if not waiting:
                    self.open = True
                    return
            except Unavailable as error:
                log.warning("the ledger of erasures: %s", error)
            self._stop.wait(_LOOK_SECONDS)

    def _unerased(self, entries: Sequence[LedgerEntry]) -> Iterator[LedgerEntry]:
        """Those whom the database does not know to be erased, or not as thoroughly."""
        for batch in _batches(entries):
            ids = [entry.document_id for entry in batch]
            with translated():
                found = self._database[self._names("consumers")].find({"_id": {"$in": ids}}, {"erased": 1})
                erased = {each["_id"]: each.get("erased") for each in found}
            for entry in batch:
                mode = erased.get(entry.document_id)
                if mode is None or outranking(mode, entry.mode) != mode:
                    yield entry

    def _order(self, entries: Sequence[LedgerEntry], open_publisher: Callable[[], Publisher]) -> None:
        publisher = open_publisher()
        try:
            publisher.send([_message(entry, self._topics) for entry in entries]).result()
        finally:
            publisher.close()

    def _done(self, entry: LedgerEntry) -> bool:
        if next(self._unerased([entry]), None) is not None:
            return False
        with translated():
            marker = self._database[self._names("erased")].find_one({"_id": entry.document_id})
            if marker is None or outranking(marker["mode"], entry.mode) != marker["mode"]:
                return False
            wanted = {"_id": beginning_with(f"{entry.document_id}:")}
            return self._database[self._names("relations")].find_one(wanted, {"_id": 1}) is None


def check_destroyed(database: Database[Document], ids: Sequence[str]) -> None:
    """Raises Unavailable when one of these keys can still be had."""
    for batch in _batches(ids):
        with translated():
            left = database[KEYS].find_one({"_id": {"$in": batch}, "destroyed": {"$ne": True}}, {"_id": 1})
        if left is not None:
            raise Unavailable("a key that was destroyed is there again")


def destroy(database: Database[Document], ids: Sequence[str]) -> int:
    """Destroy these keys where they are not. Returns how many were there again, or never had been. Raises
    Unavailable."""
    keys = database.get_collection(KEYS, write_concern=WriteConcern("majority", wtimeout=10_000))
    done = 0
    for batch in _batches(ids):
        with translated():
            gone = {each["_id"] for each in keys.find({"_id": {"$in": batch}, "destroyed": True}, {"_id": 1})}
            if not (left := [id for id in batch if id not in gone]):
                continue
            mark = {"destroyed": True, "at": datetime.now(UTC)}
            writes = [ReplaceOne({"_id": id}, {"_id": id, **mark}, upsert=True) for id in left]
            try:
                keys.bulk_write(writes, ordered=False)
            except BulkWriteError as error:
                # Made, or destroyed, at the same moment by somebody else: looked at once more.
                if {each["code"] for each in error.details.get("writeErrors", ())} != {_DUPLICATE_KEY}:
                    raise
                raise Unavailable("keys are being made at the same time") from error
            done += len(left)
    return done


def add_gate(app: FastAPI, gate: Gate) -> None:
    """Answer 503 to every request about data while the gate is not open."""
    app.add_middleware(_Gated, gate=gate)


class _Gated:
    """ASGI middleware."""

    def __init__(self, app: Any, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not self._gate.open and scope["path"].startswith(("/v1/", "/odata/")):
            detail = f"{'; '.join(self._gate.problems())}; try again"
            await problem(503, detail, {"Retry-After": "1"})(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _message(entry: LedgerEntry, topics: Topics) -> Message:
    event = ConsumerErased(
        specversion="1.0",
        id=f"{entry.erasure}/{entry.mode}",
        source="kith/ledger",
        time=entry.time,
        tenant=entry.tenant,
        type="consumer.erased",
        data=ErasedData(consumer_id=entry.consumer_id, mode=entry.mode),
    )
    return Message(topics.of(event), event_key(event), encode(event))


def _batches(found: Sequence[Any]) -> Iterator[list[Any]]:
    pending = iter(found)
    while batch := list(islice(pending, _BATCH)):
        yield batch
