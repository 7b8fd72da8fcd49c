"""A KeyStore whose keys are in a topic as well, each before anything is sealed with it: the log restores them."""

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta

import pymongo
from pymongo.collection import Collection as MongoCollection
from pymongo.database import Database
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from shared.contracts.errors import KeysNotRestored, Unavailable
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.runtime.protocols import Document, Message
from shared.vault.key_records import key_messages, wrapping_messages
from shared.vault.protocols import Destroyed, KeyStore, Wrapped, Wrapping
from shared.vault.schema import DATA_KEYS, UNPUBLISHED_KEYS

#: In place of the ids of data keys: all wrapping keys.
_WRAPPINGS = "*"
#: Whoever has written a note has published, or failed to, within this time.
_ABANDONED = timedelta(seconds=60)
_TIMEOUT_SECONDS = 10.0
_TRIES = 20
_BATCH = 5_000


class PublishedKeyStore:
    """``store``, whose changes are published to ``topic`` by ``publish``, which returns once all replicas have the
    messages and raises Unavailable. ``kept`` says whether the topic has records, and raises Unavailable.

    A store without a single wrapping key beside a topic with records is a database that was lost: every read of
    its wrapping keys raises KeysNotRestored, so that no new key replaces one that only the topic has.

    A change is noted in MongoDB first, then made, then published, and the note removed. Whoever finds a note that
    another process has left publishes what it names. What is published is read again afterwards: where a key was
    destroyed in between, its mark follows it.
    """

    def __init__(
        self,
        store: KeyStore,
        database: Database[Document],
        topic: str,
        publish: Callable[[Sequence[Message]], None],
        kept: Callable[[], bool],
    ) -> None:
        self._store, self._topic, self._publish, self._kept = store, topic, publish, kept

        def collection(name: str) -> MongoCollection[Document]:
            return database.get_collection(
                name,
                # Where the keys are read, too: a secondary may have a key and not its note yet.
                read_preference=ReadPreference.PRIMARY,
                read_concern=ReadConcern("majority"),
                write_concern=DURABLE,
            )

        self._notes, self._ids = collection(UNPUBLISHED_KEYS), collection(DATA_KEYS)
        self._swept = False

    def find(self, ids: Collection[str]) -> dict[str, Wrapped | Destroyed]:
        found = self._store.find(ids)
        if found and (noted := self._noted(found)):
            with self._published(noted):
                pass
            return self._store.find(ids)
        return found

    def insert(self, keys: Mapping[str, Wrapped]) -> set[str]:
        if not keys:
            return set()
        with self._published(keys):
            return self._store.insert(keys)

    def destroy(self, id: str) -> None:
        if not self._store.wrappings():
            # There was never a key. A mark alone in the topic would look like what a lost database has left.
            self._store.destroy(id)
            return
        with self._published([id]):
            self._store.destroy(id)

    def not_under(self, number: int, after: str, limit: int) -> list[tuple[str, Wrapped]]:
        return self._store.not_under(number, after, limit)

    def rewrap(self, changes: Sequence[tuple[str, Wrapped, Wrapped]]) -> int:
        if not changes:
            return 0
        with self._published([id for id, _, _ in changes]):
            return self._store.rewrap(changes)

    def count_under(self, number: int) -> int:
        return self._store.count_under(number)

    def wrappings(self) -> list[Wrapping]:
        if not self._swept:
            self.sweep()
            self._swept = True
        if self._noted([_WRAPPINGS]):
            with self._published([_WRAPPINGS]):
                pass
        # Stored before it is published: what another process has made meanwhile is found by the second look.
        found = self._store.wrappings()
        # The second look has time of its own: Kafka may have used up what pymongo.timeout gives for all of this.
        if not found and self._kept() and not (found := Context().run(self._store.wrappings)):
            raise KeysNotRestored(
                f"the topic {self._topic} has keys, and this database none: run `kith restore` with "
                "--keys-from-topic. New keys would replace those in the topic for good. If they are given up, "
                "delete the topic and make it anew"
            )
        return found

    def add_wrapping(self, wrapping: Wrapping) -> bool:
        with self._published([_WRAPPINGS]):
            return self._store.add_wrapping(wrapping)

    def replace_wrapping(self, old: Wrapping, new: Wrapping) -> bool:
        with self._published([_WRAPPINGS]):
            return self._store.replace_wrapping(old, new)

    def sweep(self) -> None:
        """Publish what processes have left that died in between. Raises Unavailable."""
        before = datetime.now(UTC) - _ABANDONED
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            left = list(self._notes.find({"at": {"$lt": before}}))
        for note in left:
            with self._published(note["ids"]):
                pass
            with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
                self._notes.delete_one({"_id": note["_id"]})

    def publish_all(self) -> int:
        """Publish every key, and every mark, whether it has been or not. Returns the number of keys. Raises
        Unavailable.

        The marks are published again because Kafka compacts a partition with the next record that it gets, and a
        partition may have nothing but marks to get."""
        if not self._store.wrappings():
            # As above: marks alone would look like what a lost database has left.
            return 0
        with self._published([_WRAPPINGS]):
            pass
        count = 0
        for page in self._pages():
            with self._published([each["_id"] for each in page]):
                pass
            count += sum(not each.get("destroyed") for each in page)
        return count

    def _pages(self) -> Iterator[list[Document]]:
        """The ids of all keys and marks, in order."""
        after = ""
        while True:
            with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
                found = self._ids.find({"_id": {"$gt": after}}, {"destroyed": 1}).sort("_id", 1).limit(_BATCH)
                page = list(found)
            if not page:
                return
            yield page
            after = page[-1]["_id"]

    def _noted(self, ids: Collection[str]) -> list[str]:
        """Finds those among ``ids`` that some note names."""
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            notes = self._notes.find({"ids": {"$in": list(ids)}}, {"ids": 1})
            named = {id for note in notes for id in note["ids"]}
        return [id for id in ids if id in named]

    @contextmanager
    def _published(self, ids: Collection[str]) -> Iterator[None]:
        """Around a change of these keys, or of none."""
        named = list(ids)
        note: Document = {"_id": uuid.uuid4().hex, "ids": named, "at": datetime.now(UTC)}
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            self._notes.insert_one(note)
        yield
        self._send(named)
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            self._notes.delete_one({"_id": note["_id"]})

    def _send(self, ids: Sequence[str]) -> None:
        sent: tuple[object, object] | None = None
        for _ in range(_TRIES):
            wrappings = self._store.wrappings() if _WRAPPINGS in ids else []
            keys = self._store.find([id for id in ids if id != _WRAPPINGS])
            if (wrappings, keys) == sent:
                return
            self._publish([*wrapping_messages(self._topic, wrappings), *key_messages(self._topic, keys)])
            sent = wrappings, keys
        raise Unavailable("the keys are changed faster than they can be published")
