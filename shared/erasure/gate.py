"""Compares the database with the ledger before a service answers: a restored dump may be older than an erasure.

First the keys of all consumers in the ledger are destroyed again, so that their sealed values cannot be read. A
consumer who is not erased in the database is then erased again through Kafka, as by any other erasure. Until the
fold has done that, the service answers 503.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from pymongo import ReplaceOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import BulkWriteError

from shared.contracts.codec import encode
from shared.contracts.errors import Unavailable
from shared.contracts.events import ConsumerErased, ErasedData, document_id, event_key
from shared.contracts.spelling import other_spellings
from shared.contracts.topics import Topics
from shared.erasure.records import KEYS, LedgerEntry, Mode, stronger_mode
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import only_duplicates, translated
from shared.mongo.restores import restore_problems
from shared.mongo.store import beginning_with
from shared.runtime.protocols import Document, Message, Publisher
from shared.runtime.readiness import ReadinessGate

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 2.0
_BATCH = 5_000
#: How many ranges of ids one query covers.
_RANGES = 200


class ErasureGate(ReadinessGate):
    """``names`` returns the current name of a collection of relations, ``read`` the ledger, ``open_publisher`` a
    publisher. Without a publisher the gate changes nothing, and waits for another service to act."""

    def __init__(
        self,
        database: Database[Document],
        names: Callable[[str], str],
        read: Callable[[], Mapping[str, LedgerEntry]],
        open_publisher: Callable[[], Publisher] | None,
        topics: Topics,
    ) -> None:
        super().__init__("the ledger of erasures has not been read yet")
        self._database, self._names = database, names
        self._read, self._open_publisher, self._topics = read, open_publisher, topics
        self._keys_gone = threading.Event()
        self._left: Sequence[LedgerEntry] | None = None

    def check(self) -> None:
        """Lets workers wait: raises Unavailable until every destroyed key is destroyed again."""
        if not self._keys_gone.wait(_PATIENCE_SECONDS):
            raise Unavailable("the ledger of erasures has not been read yet")

    def look(self) -> list[str]:
        if self._left is None and (problems := restore_problems(self._database)):
            return problems
        if self._left is None:
            entries = list(self._read().values())
            ids = [entry.document_id for entry in entries]
            # From before ids were normalised; of nearly nobody are there any.
            others = [
                document_id(entry.tenant, other)
                for entry in entries
                for other in other_spellings(entry.consumer_id)
            ]
            if self._open_publisher is None:
                check_destroyed(self._database, [*ids, *others])
            else:
                destroy(self._database, [*ids, *existing(self._database, others)])
            self._keys_gone.set()
            left = list(self._unerased(entries))
            if left and self._open_publisher is not None:
                log.warning("%d erasures are missing in the database and are published again", len(left))
                self._publish_again(left, self._open_publisher)
            self._left = left
        self._left = list(self._unerased(self._left))
        if not self._left:
            return []
        return [f"the database was restored: {len(self._left)} erasures are not carried out in it yet"]

    def _unerased(self, entries: Sequence[LedgerEntry]) -> Iterator[LedgerEntry]:
        """Entries whose consumers are not erased in the database, or only in part, or less thoroughly."""
        erased = dict(_modes(self._database[self._names("consumers")], "erased", entries))
        facts = {entry.document_id for entry in with_facts(self._database, self._names, entries)}
        for entry in entries:
            if not _reached(erased.get(entry.document_id), entry) or entry.document_id in facts:
                yield entry

    def _publish_again(self, entries: Sequence[LedgerEntry], open_publisher: Callable[[], Publisher]) -> None:
        publisher = open_publisher()
        try:
            publisher.send([_message(entry, self._topics) for entry in entries]).result()
        finally:
            publisher.close()


def with_facts(
    database: Database[Document], names: Callable[[str], str], entries: Sequence[LedgerEntry]
) -> Iterator[LedgerEntry]:
    """Entries of the ledger whose facts may still be stored. Raises Unavailable."""
    marked = dict(_modes(database[names("erased")], "mode", entries))
    relations = database[names("relations")]
    done = []
    for entry in entries:
        if _reached(marked.get(entry.document_id), entry):
            done.append(entry)
        else:
            yield entry
    for start in range(0, len(done), _RANGES):
        batch = done[start : start + _RANGES]
        # If a consumer has many facts, the marker is stored before the last of them is erased.
        if _any_fact(relations, batch):
            yield from (entry for entry in batch if _any_fact(relations, [entry]))


def _any_fact(relations: Collection[Document], entries: Sequence[LedgerEntry]) -> bool:
    ranges = [{"_id": beginning_with(f"{entry.document_id}:")} for entry in entries]
    with translated():
        return relations.find_one({"$or": ranges}, {"_id": 1}) is not None


def _modes(
    collection: Collection[Document], field: str, entries: Sequence[LedgerEntry]
) -> Iterator[tuple[str, Mode]]:
    for batch in _batches(entries):
        wanted = {"_id": {"$in": [entry.document_id for entry in batch]}, field: {"$exists": True}}
        with translated():
            yield from ((each["_id"], each[field]) for each in collection.find(wanted, {field: 1}))


def _reached(mode: Mode | None, entry: LedgerEntry) -> bool:
    return mode is not None and stronger_mode(mode, entry.mode) == mode


def check_destroyed(database: Database[Document], ids: Sequence[str]) -> None:
    """Raise Unavailable if one of these keys still exists."""
    for batch in _batches(ids):
        with translated():
            left = database[KEYS].find_one({"_id": {"$in": batch}, "destroyed": {"$ne": True}}, {"_id": 1})
        if left is not None:
            raise Unavailable("a destroyed key exists again; waiting for a service that destroys it")


def existing(database: Database[Document], ids: Sequence[str]) -> Iterator[str]:
    """Finds those of these keys that are there, destroyed or not. Raises Unavailable."""
    for batch in _batches(ids):
        with translated():
            yield from [each["_id"] for each in database[KEYS].find({"_id": {"$in": batch}}, {"_id": 1})]


def destroy(database: Database[Document], ids: Sequence[str]) -> int:
    """Destroy these keys where they are not destroyed. Returns how many existed again, or had no document. Raises
    Unavailable."""
    keys = database.get_collection(KEYS, write_concern=DURABLE)
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
                # Another process made or destroyed it at the same moment. Check it again.
                if not only_duplicates(error):
                    raise
                raise Unavailable("keys are being made at the same time") from error
            done += len(left)
    return done


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
