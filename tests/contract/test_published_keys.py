"""Keys in a topic, on a real MongoDB: each is there before anything is sealed with it, whoever dies in between."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from pymongo.database import Database

from shared.contracts.errors import KeysNotRestored, Unavailable
from shared.mongo.store import prepare
from shared.runtime.periodic import Periodic
from shared.runtime.protocols import Document, Message
from shared.vault.key_records import KeyRecord, read_record
from shared.vault.keys import Vault
from shared.vault.mongo_store import MongoKeyStore
from shared.vault.protocols import DESTROYED, Destroyed, Wrapped, Wrapping
from shared.vault.published_store import PublishedKeyStore
from shared.vault.schema import COLLECTIONS, DATA_KEYS, UNPUBLISHED_KEYS
from tests.support.vault import MASTERS
from tests.support.waiting import wait_for


class Process:
    """One that seals, and its end of the topic. While ``dead`` it publishes nothing, as if it had died there."""

    def __init__(self, database: Database[Document], log: list[Message]) -> None:
        prepare(database, COLLECTIONS)
        self.database, self.log, self.dead = database, log, False
        self.store = PublishedKeyStore(
            MongoKeyStore(database), database, "kith.keys", self._publish, lambda: bool(log)
        )
        self.vault = Vault(self.store, MASTERS)

    def _publish(self, messages: Sequence[Message]) -> None:
        if self.dead:
            raise Unavailable("it has died")
        self.log += messages

    def erase_in_between(self, id: str) -> None:
        """An erasure's transaction destroys the key just before this process's next message is in the topic, and
        its mark is published first."""
        publish = self.store._publish

        def late(messages: Sequence[Message]) -> None:
            self.store._publish = publish
            self.database[DATA_KEYS].replace_one({"_id": id}, {"_id": id, "destroyed": True})
            publish(messages)

        self.store._publish = late


def topic(log: Sequence[Message]) -> tuple[dict[str, Wrapped | Destroyed], dict[int, Wrapping]]:
    """What compaction leaves."""
    keys: dict[str, Wrapped | Destroyed] = {}
    wrappings: dict[int, Wrapping] = {}
    for message in log:
        found = read_record(message.key, message.value)
        if isinstance(found, KeyRecord):
            keys[found.id] = found.key
        else:
            wrappings[found.number] = found
    return keys, wrappings


@pytest.fixture
def log() -> list[Message]:
    return []


@pytest.fixture
def process(mongo_database: Database[Document], log: list[Message]) -> Process:
    return Process(mongo_database, log)


def test_a_key_is_in_the_topic_once_it_can_be_used(process: Process, log: list[Message]) -> None:
    process.vault.keys("t", ["ann", "bob"])
    keys, wrappings = topic(log)
    assert keys == process.store.find(["t:ann", "t:bob"])
    assert list(wrappings.values()) == process.store.wrappings()
    process.vault.destroy("t", "ann")
    assert topic(log)[0]["t:ann"] == DESTROYED
    assert process.database[UNPUBLISHED_KEYS].count_documents({}) == 0


def test_what_a_dead_process_has_made_is_published_before_another_uses_it(
    process: Process, log: list[Message]
) -> None:
    process.vault.keys("t", ["ann"])
    process.dead = True
    with pytest.raises(Unavailable):
        process.vault.keys("t", ["bob"])
    assert process.database[DATA_KEYS].count_documents({"_id": "t:bob"}) == 1
    assert "t:bob" not in topic(log)[0]
    other = Process(process.database, log)
    found = other.vault.keys("t", ["bob"])
    assert not isinstance(found["bob"], Destroyed)
    assert topic(log)[0]["t:bob"] == other.store.find(["t:bob"])["t:bob"]


def test_the_first_wrapping_key_of_a_dead_process_is_published_too(process: Process, log: list[Message]) -> None:
    process.dead = True
    with pytest.raises(Unavailable):
        process.vault.keys("t", ["ann"])
    other = Process(process.database, log)
    other.vault.keys("t", ["ann"])
    assert list(topic(log)[1].values()) == other.store.wrappings()


def test_what_nobody_asks_for_is_published_at_the_next_start(process: Process, log: list[Message]) -> None:
    process.vault.keys("t", ["ann"])
    process.dead = True
    with pytest.raises(Unavailable):
        process.vault.keys("t", ["bob"])
    notes = process.database[UNPUBLISHED_KEYS]
    Process(process.database, log).vault.check()
    assert "t:bob" not in topic(log)[0], "its process may still be about to publish it"
    notes.update_many({}, {"$set": {"at": datetime.now(UTC) - timedelta(minutes=2)}})
    Process(process.database, log).vault.check()
    assert "t:bob" in topic(log)[0]
    assert notes.count_documents({}) == 0


def test_what_nobody_asks_for_is_published_without_a_start_too(process: Process, log: list[Message]) -> None:
    process.vault.keys("t", ["ann"])
    other = Process(process.database, log)
    other.vault.check()
    process.dead = True
    with pytest.raises(Unavailable):
        process.vault.destroy("t", "ann")
    notes = process.database[UNPUBLISHED_KEYS]
    # Two minutes have passed.
    notes.update_many({}, {"$set": {"at": datetime.now(UTC) - timedelta(minutes=2)}})
    assert isinstance(topic(log)[0]["t:ann"], Wrapped)
    sweeper = Periodic("sweeper", other.store.sweep, 0.05)
    sweeper.start()
    try:
        wait_for("its mark", lambda: topic(log)[0]["t:ann"] == DESTROYED)
        wait_for("the note's end", lambda: notes.count_documents({}) == 0)
    finally:
        sweeper.stop()


def test_a_key_that_is_destroyed_meanwhile_does_not_come_back(process: Process, log: list[Message]) -> None:
    process.vault.check()
    process.erase_in_between("t:ann")
    process.vault.keys("t", ["ann"])
    assert topic(log)[0]["t:ann"] == DESTROYED


def test_all_keys_are_published_when_the_topic_is_new(process: Process, log: list[Message]) -> None:
    before = Vault(MongoKeyStore(process.database), MASTERS)
    before.keys("t", [f"c{n}" for n in range(12)])
    before.destroy("t", "c3")
    assert process.store.publish_all() == 11
    keys, wrappings = topic(log)
    assert {id for id, key in keys.items() if key != DESTROYED} == {f"t:c{n}" for n in range(12) if n != 3}
    # A partition in which everybody is erased gets a next record, too.
    assert keys["t:c3"] == DESTROYED
    assert list(wrappings.values()) == process.store.wrappings()


def test_a_lost_database_gets_no_key_beside_those_that_the_topic_has(process: Process, log: list[Message]) -> None:
    process.vault.keys("t", ["ann"])
    before = list(log)
    process.database.client.drop_database(process.database.name)
    other = Process(process.database, log)
    with pytest.raises(KeysNotRestored):
        other.vault.keys("t", ["ann"])
    [problem] = other.vault.problems()
    assert "--keys-from-topic" in problem
    assert log == before
    # Neither does an erasure, whose mark would look like a key that was made here.
    other.vault.destroy("t", "bob")
    assert log == before


def test_an_erasure_before_the_first_key_leaves_nothing_that_looks_like_a_lost_database(
    process: Process, log: list[Message]
) -> None:
    process.vault.destroy("t", "bob")
    assert (process.store.publish_all(), log) == (0, [])
    assert process.vault.problems() == []
    process.vault.keys("t", ["ann", "bob"])
    assert set(topic(log)[0]) == {"t:ann"}
    assert process.store.find(["t:bob"]) == {"t:bob": DESTROYED}
