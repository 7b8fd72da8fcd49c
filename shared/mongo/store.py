"""The Store on MongoDB: one transaction per slice, positions with epochs, and the outbox."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Any

import pymongo.errors
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    InvalidURI,
    OperationFailure,
)
from pymongo.read_concern import ReadConcern

from shared.contracts.collections import Collections, CollectionSpec
from shared.contracts.errors import ConfigurationError, Fenced
from shared.contracts.revision import REVISION
from shared.mongo.bounded import BoundedClient
from shared.mongo.claims import Claims
from shared.mongo.concerns import DURABLE, durable_database
from shared.mongo.errors import translated
from shared.mongo.limits import LIMIT_SECONDS, STREAM_MS
from shared.mongo.writes import PLAIN, write
from shared.runtime import outbox
from shared.runtime.protocols import (
    Answer,
    Ask,
    Claim,
    Document,
    Get,
    GetByPrefix,
    GetCurrent,
    GetKeys,
    GetReduced,
    OutboxBatch,
    Progress,
    Slice,
    Write,
)

log = logging.getLogger(__name__)

POSITIONS, OUTBOX = "positions", "outbox"
#: Begins the title of a validator; the revision follows.
_TITLE = "kith revision "
#: The description of the validator of a collection whose documents a rebuild would complete.
_INCOMPLETE = "holds documents of an earlier version of Kith, which are complete only after kith rebuild"
_NAMESPACE_EXISTS = 48
_MOST_IDS = 10_000  # in one query, which may have 16 MB


def connect(uri: str, limit_seconds: float = LIMIT_SECONDS) -> MongoClient[Document]:
    """A client with Kith's options: timezone-aware UTC times, and an answer or an error within seconds. MongoDB
    ends a read after ``limit_seconds``, unless the read states a limit of its own. Raises ConfigurationError for
    an invalid address."""
    try:
        return BoundedClient(
            uri,
            limit_seconds=limit_seconds,
            tz_aware=True,
            serverSelectionTimeoutMS=5_000,
            connectTimeoutMS=5_000,
            socketTimeoutMS=30_000,
            appname="kith",
        )
    except (InvalidURI, pymongo.errors.ConfigurationError) as error:
        raise ConfigurationError(f"KITH_MONGO is no address of a MongoDB server: {error}") from error


def prepare(database: Database[Document], collections: Collections) -> None:
    """Create the collections, or update the validators and indexes of existing ones.

    A validator that a newer version has written stays: it accepts what this version writes, and the validator of
    this version might refuse what the newer one writes.

    Compares before it changes anything: changing a collection waits for every transaction that has written it,
    even one that a dead process left open. An existing index on the same keys is kept.
    """
    present = {found["name"]: found.get("options", {}) for found in database.list_collections()}
    for name, spec in {**collections, POSITIONS: PLAIN, OUTBOX: PLAIN}.items():
        schema = _schema(spec, incomplete=name in present and _incomplete(database, name, spec, present[name]))
        if name not in present:
            try:
                database.create_collection(name, check_exists=False, validator=schema)
            except OperationFailure as error:
                if error.code != _NAMESPACE_EXISTS:
                    raise
        elif present[name].get("validator", {}) != schema and _revision(present[name]) <= REVISION:
            if _INCOMPLETE in str(schema):
                log.warning("%s: %s", name, _INCOMPLETE)
            database.command("collMod", name, validator=schema)
        wanted = {tuple(keys) for keys in spec.indexes}
        there = {tuple(index["key"]) for index in database[name].index_information().values()}
        for keys in sorted(wanted - there):
            database[name].create_index(list(keys), **_options(spec))
        if spec.expires is not None and ((spec.expires, 1),) not in there:
            database[name].create_index([(spec.expires, 1)], expireAfterSeconds=0)


def _schema(spec: CollectionSpec, *, incomplete: bool = False) -> Mapping[str, Any]:
    if not spec.validator:
        return {}
    mark = {"description": _INCOMPLETE} if incomplete else {}
    return {"$jsonSchema": {**spec.validator, "title": f"{_TITLE}{REVISION}", **mark}}


def _incomplete(database: Database[Document], name: str, spec: CollectionSpec, options: Mapping[str, Any]) -> bool:
    """Whether the collection has documents of a revision in which they lacked something. The mark stays with the
    collection; a rebuild makes another one."""
    if is_incomplete(options):
        return True
    return _revision(options) < spec.complete_since and database[name].find_one({}, {"_id": 1}) is not None


def is_incomplete(options: Mapping[str, Any]) -> bool:
    """Whether the collection with these options is marked as incomplete."""
    return bool(options.get("validator", {}).get("$jsonSchema", {}).get("description") == _INCOMPLETE)


def _revision(options: Mapping[str, Any]) -> int:
    """The revision of the validators that a collection has; 0 from before they had one."""
    title = str(options.get("validator", {}).get("$jsonSchema", {}).get("title", ""))
    number = title.removeprefix(_TITLE)
    return int(number) if number.isdecimal() else 0


def _options(spec: CollectionSpec) -> Document:
    return {"partialFilterExpression": dict(spec.partial)} if spec.partial else {}


def server_time(database: Database[Document]) -> datetime:
    """MongoDB's clock, which makes the times of all workers comparable. Raises pymongo's errors."""
    now: datetime = database.command("hello", codec_options=database.codec_options)["localTime"]
    return now


class MongoStore:
    """A projection's Store in one database. ``collections`` are those that it may write."""

    def __init__(self, database: Database[Document], collections: Collections) -> None:
        self._database = durable_database(database)
        self._specs = collections
        self._positions: Collection[Document] = self._database[POSITIONS]
        self._outbox: Collection[Document] = self._database[OUTBOX]
        self._claims = Claims(self._positions)

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        with translated():
            claim, stored = self._claims.make(position, owner)
        return claim, _progress(stored)

    def unpublished(self, position: str) -> list[OutboxBatch]:
        with translated():
            # "0" is the character after "/": this is the range of ids that begin with the position.
            found = self._outbox.find({"_id": {"$gte": f"{position}/", "$lt": f"{position}0"}}).sort("_id", 1)
            return [OutboxBatch(document["_id"], outbox.messages(document)) for document in found]

    def read(self, ask: Ask) -> Answer:
        with translated():
            if isinstance(ask, Get):
                return {name: self._by_id(name, list(ids)) for name, ids in ask.ids.items()}
            # For which there are the VaultStore, and the store of the sink.
            assert not isinstance(ask, GetKeys | GetCurrent)
            collection = self._database[ask.collection]
            if isinstance(ask, GetByPrefix):
                return [
                    list(collection.find({"_id": beginning_with(prefix)}).sort("_id", 1).limit(ask.most))
                    for prefix in ask.prefixes
                ]
            if isinstance(ask, GetReduced):
                return [
                    reduce(
                        ask.step,
                        collection.find({"_id": beginning_with(prefix)}, max_time_ms=STREAM_MS).sort("_id", 1),
                        ask.start(),
                    )
                    for prefix in ask.prefixes
                ]
            excluding = {"_id": {"$nin": list(ask.excluding)}}
            answers = []
            for wanted in ask.filters:
                found = collection.find({**wanted, **excluding}, {ask.field: 1})
                values = [document[ask.field] for document in found.sort(ask.field, 1).limit(ask.most + 1)]
                if len(values) > ask.most:
                    highest = collection.find_one({**wanted, **excluding}, {ask.field: 1}, sort=[(ask.field, -1)])
                    # None if others have deleted them since. The commit of this slice is then refused.
                    values = [values[0], highest[ask.field] if highest else values[-1]]
                answers.append(values)
            return answers

    def _by_id(self, name: str, ids: Sequence[str]) -> dict[str, Document]:
        collection = self._database[name]
        return {
            document["_id"]: document
            for start in range(0, len(ids), _MOST_IDS)
            for document in collection.find({"_id": {"$in": ids[start : start + _MOST_IDS]}})
        }

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        unpublished = outbox.pack(slice)
        session = self._claims.session(slice.claim)
        with translated():
            session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=DURABLE)
            try:
                if not self._advance(slice, session):
                    session.abort_transaction()
                    return self._resolve_moved(slice, unpublished)
                self._write(slice.outcome.writes, session)
                if unpublished:
                    self._outbox.insert_many([outbox.document(batch) for batch in unpublished], session=session)
                if slice.published:
                    self._outbox.delete_many({"_id": {"$in": list(slice.published)}}, session=session)
                session.commit_transaction()
            except BaseException:
                if session.in_transaction:
                    _abort(session)
                raise
        return unpublished

    def _advance(self, slice: Slice, session: ClientSession) -> bool:
        found = self._positions.update_one(
            {"_id": slice.claim.position, "epoch": slice.claim.epoch, "next": slice.before.next},
            # By the server's clock, so that the times of all workers are comparable.
            {"$set": _progress_fields(slice.after), "$currentDate": {"moved": True}},
            session=session,
        )
        return found.matched_count == 1

    def _resolve_moved(self, slice: Slice, unpublished: list[OutboxBatch]) -> list[OutboxBatch]:
        """Handle a position that has moved: by an earlier attempt whose response was lost, or by another owner.

        The earlier attempt may have made more changes, because the slice has since been folded again, on documents
        that already contain it. Its batches then differ from these, and only a new claim finds them.
        """
        durable = self._positions.with_options(read_concern=ReadConcern("majority"))
        stored = durable.find_one({"_id": slice.claim.position})
        if stored and stored["epoch"] == slice.claim.epoch and _progress(stored) == slice.after:
            return unpublished
        raise Fenced(slice.claim.position)

    def _write(self, writes: Sequence[Write], session: ClientSession) -> None:
        write(self._database, self._specs, writes, session)

    def clear(self, unpublished: Sequence[str]) -> None:
        if unpublished:
            with translated():
                self._outbox.delete_many({"_id": {"$in": list(unpublished)}})


def beginning_with(prefix: str) -> Document:
    """The filter for ids that begin with ``prefix``."""
    return {"$gte": prefix, "$lt": prefix[:-1] + chr(ord(prefix[-1]) + 1)}


def earlier(at: datetime, id: str) -> Document:
    """The filter for what follows a place in a list by the field ``at`` and by id, the latest first."""
    return {"at": {"$lte": at}, "$or": [{"at": {"$lt": at}}, {"_id": {"$lt": id}}]}


def _abort(session: ClientSession) -> None:
    try:
        session.abort_transaction()
    except AutoReconnect:
        log.debug("the transaction could not be aborted; the server does it when it expires")


def _progress(stored: Mapping[str, Any]) -> Progress:
    seen = {entry["origin"]: entry["number"] for entry in stored.get("seen", ())}
    return Progress(stored.get("next"), stored.get("emitted", 0), seen)


def _progress_fields(progress: Progress) -> Document:
    # A list, because origins contain dots, which are unsuitable in field names.
    seen = [{"origin": origin, "number": number} for origin, number in sorted(progress.seen.items())]
    return {"next": progress.next, "emitted": progress.emitted, "seen": seen}
