"""Where the notes of unpublished keys are read."""

from pymongo import MongoClient
from pymongo.read_preferences import ReadPreference

from shared.runtime.protocols import Document
from shared.vault.mongo_store import MongoKeyStore
from shared.vault.published_store import PublishedKeyStore


def test_notes_are_read_where_the_keys_are_whatever_the_address_prefers() -> None:
    """A secondary may lack the note of a key that the primary has: the key would pass for published."""
    with MongoClient[Document]("mongodb://127.0.0.1:1/?readPreference=secondary", connect=False) as client:
        store = PublishedKeyStore(MongoKeyStore(client["kith"]), client["kith"], "kith.keys", lambda _: None)
        assert store._notes.read_preference == ReadPreference.PRIMARY
