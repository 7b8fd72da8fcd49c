"""Where the notes of unpublished keys are read, and by whom; and how a lost database is noticed."""

import pymongo
import pytest
from pymongo import MongoClient, _csot
from pymongo.read_preferences import ReadPreference

from shared.contracts.errors import KeysNotRestored, Unavailable
from shared.runtime.protocols import Document
from shared.settings import Settings
from shared.vault.memory_store import MemoryKeyStore
from shared.vault.mongo_store import MongoKeyStore
from shared.vault.open import key_sweeper
from shared.vault.protocols import Wrapping
from shared.vault.published_store import PublishedKeyStore


def test_notes_are_read_where_the_keys_are_whatever_the_address_prefers() -> None:
    """A secondary may lack the note of a key that the primary has: the key would pass for published."""
    with MongoClient[Document]("mongodb://127.0.0.1:1/?readPreference=secondary", connect=False) as client:
        store = PublishedKeyStore(
            MongoKeyStore(client["kith"]), client["kith"], "kith.keys", lambda _: None, lambda: False
        )
        assert store._notes.read_preference == ReadPreference.PRIMARY


def test_who_died_is_looked_for_only_where_there_is_a_topic() -> None:
    with MongoClient[Document]("mongodb://127.0.0.1:1/", connect=False) as client:
        for encryption, topic, swept in (("on", "on", True), ("on", "off", False), ("off", "on", False)):
            settings = Settings(kafka="127.0.0.1:1", encryption=encryption, keys_topic=topic)
            assert (key_sweeper(settings, client["kith"]) is not None) == swept


class Hurried(MemoryKeyStore):
    """Unavailable once the time of pymongo.timeout is over, as MongoDB is."""

    def wrappings(self) -> list[Wrapping]:
        if (left := _csot.remaining()) is not None and left <= 0:
            raise Unavailable("late")
        return super().wrappings()


def test_a_lost_database_is_noticed_although_kafka_took_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness gives a second for all of it, and a server that is late is no reason not to be ready."""

    def slow() -> bool:
        _csot.DEADLINE.set(0.0)
        return True

    with MongoClient[Document]("mongodb://127.0.0.1:1/", connect=False) as client:
        store = PublishedKeyStore(Hurried(), client["kith"], "kith.keys", lambda _: None, slow)
        monkeypatch.setattr(store, "sweep", lambda: None)
        monkeypatch.setattr(store, "_noted", lambda _: [])
        with pymongo.timeout(60), pytest.raises(KeysNotRestored):
            store.wrappings()
