"""One suite for every KeyStore: in memory and on a real MongoDB replica set, with and without a topic."""

import threading
from collections.abc import Callable

import pytest
from pymongo.database import Database

from shared.mongo.store import prepare
from shared.runtime.protocols import Document
from shared.vault.keys import Vault
from shared.vault.memory_store import MemoryKeyStore
from shared.vault.mongo_store import MongoKeyStore
from shared.vault.protocols import DESTROYED, KeyStore, Wrapped, Wrapping
from shared.vault.published_store import PublishedKeyStore
from shared.vault.rotation import SETTLE_SECONDS, rotate
from shared.vault.schema import COLLECTIONS, DATA_KEYS
from shared.vault.tokens import DataKey
from tests.support.vault import MASTERS


@pytest.fixture(params=["memory", "mongo", "published"])
def store(request: pytest.FixtureRequest) -> KeyStore:
    if request.param == "memory":
        return MemoryKeyStore()
    database = request.getfixturevalue("mongo_database")
    if request.param == "mongo":
        return mongo_store(database)
    return PublishedKeyStore(mongo_store(database), database, "kith.keys", lambda _: None, lambda: False)


def mongo_store(database: Database[Document]) -> MongoKeyStore:
    prepare(database, COLLECTIONS)
    return MongoKeyStore(database)


def key(text: str, wrapping: int = 1) -> Wrapped:
    return Wrapped(text.encode(), wrapping)


def test_new_keys_are_stored_and_those_that_are_there_stay(store: KeyStore) -> None:
    assert store.insert({"t:a": key("a"), "t:b": key("b")}) == set()
    assert store.insert({"t:b": key("other"), "t:c": key("c")}) == {"t:b"}
    assert store.find(["t:a", "t:b", "t:c", "t:d"]) == {"t:a": key("a"), "t:b": key("b"), "t:c": key("c")}
    assert store.find([]) == {}
    assert store.insert({}) == set()


def test_more_than_one_batch(store: KeyStore) -> None:
    keys = {f"t:{n}": key(str(n)) for n in range(12_345)}
    store.insert({f"t:{n}": key("first") for n in range(0, 12_345, 1_000)})
    assert store.insert(keys) == {f"t:{n}" for n in range(0, 12_345, 1_000)}
    assert len(store.find(keys)) == 12_345
    assert store.count_under(1) == 12_345


def test_of_a_destroyed_key_only_the_mark_stays(store: KeyStore) -> None:
    store.insert({"t:a": key("a")})
    for id in ("t:a", "t:a", "t:b"):
        store.destroy(id)
    assert store.find(["t:a", "t:b"]) == {"t:a": DESTROYED, "t:b": DESTROYED}
    assert store.insert({"t:a": key("again"), "t:b": key("again")}) == {"t:a", "t:b"}
    assert store.find(["t:a"]) == {"t:a": DESTROYED}
    assert store.count_under(1) == 0
    assert store.not_under(2, "", 10) == []


def test_keys_under_other_wrapping_keys_come_in_pages(store: KeyStore) -> None:
    store.insert({f"t:{n}": key(str(n), 1 + n % 2) for n in range(6)})
    assert [id for id, _ in store.not_under(2, "", 2)] == ["t:0", "t:2"]
    assert store.not_under(2, "t:2", 2) == [("t:4", key("4", 1))]
    assert store.not_under(2, "t:4", 2) == []


def test_a_key_is_rewrapped_only_while_it_is_as_it_was(store: KeyStore) -> None:
    store.insert({"t:a": key("a"), "t:b": key("b"), "t:c": key("c")})
    store.destroy("t:c")
    changes = [
        ("t:a", key("a"), key("A", 2)),
        ("t:b", key("another"), key("B", 2)),
        ("t:c", key("c"), key("C", 2)),
        ("t:d", key("d"), key("D", 2)),
    ]
    assert store.rewrap(changes) == 1
    assert store.find(["t:a", "t:b", "t:c", "t:d"]) == {"t:a": key("A", 2), "t:b": key("b"), "t:c": DESTROYED}
    assert store.rewrap([]) == 0


def test_wrapping_keys(store: KeyStore) -> None:
    one, two = Wrapping(1, b"one", "m1"), Wrapping(2, b"two", "m1")
    assert store.wrappings() == []
    assert store.add_wrapping(two)
    assert store.add_wrapping(one)
    assert not store.add_wrapping(Wrapping(1, b"other", "m2"))
    assert store.wrappings() == [one, two]
    assert not store.replace_wrapping(Wrapping(1, b"other", "m1"), Wrapping(1, b"x", "m2"))
    assert store.replace_wrapping(one, Wrapping(1, b"x", "m2"))
    assert store.wrappings() == [Wrapping(1, b"x", "m2"), two]


def test_processes_that_begin_together_agree_on_all_keys(mongo_database: Database[Document]) -> None:
    mongo_store(mongo_database)
    ids = [f"c{n}" for n in range(2_000)]
    found: list[dict[str, bytes]] = []
    begin = threading.Barrier(4)

    def work() -> None:
        vault = Vault(MongoKeyStore(mongo_database), MASTERS)
        begin.wait()
        keys = vault.keys("t", ids)
        found.append({id: each.secret for id, each in keys.items() if isinstance(each, DataKey)})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(each) for each in found] == [2_000] * 4
    assert all(each == found[0] for each in found)


def test_rotation_while_keys_are_read_made_and_destroyed(store: KeyStore) -> None:
    """Every key stays what it was, what is destroyed stays so, and in the end nothing is under an older wrapping
    key."""
    ids = [f"c{n}" for n in range(3_000)]
    before = secrets(store, ids)
    stop = threading.Event()
    faults: list[str] = []
    made: dict[str, bytes] = {}
    gone: set[str] = set()

    def work() -> None:
        # The life of a process that holds on to the wrapping key that it knows.
        vault, n = Vault(store, MASTERS, life_seconds=0.0), 0
        while not stop.is_set():
            n += 1
            made.update(secrets(store, [f"new{n}"], vault))
            if n % 5 == 0 and n < len(ids):
                vault.destroy("t", f"c{n}")
                gone.add(f"c{n}")
            look = [f"c{(n * 7 + each) % 3_000}" for each in range(20)]
            for id, each in vault.keys("t", look, create=False).items():
                if isinstance(each, DataKey) and each.secret != before[id]:
                    faults.append(f"{id} is another key")

    worker = threading.Thread(target=work)
    worker.start()
    settled = settling(lambda: len(made) > 5)
    try:
        done = rotate(store, MASTERS, sleep=settled)
        again = rotate(store, MASTERS, sleep=settled)
    finally:
        stop.set()
        worker.join()
    rotate(store, MASTERS, sleep=lambda _: None)
    assert faults == []
    assert (done.number, again.number) == (2, 3)
    assert store.count_under(1) == store.count_under(2) == store.count_under(3) == 0
    assert store.not_under(4, "", 10) == []
    fresh = Vault(store, MASTERS)
    assert {id for id in ids if fresh.keys("t", [id])[id] == DESTROYED} == gone
    kept = [id for id in ids if id not in gone]
    assert secrets(store, kept) == {id: before[id] for id in kept}
    assert secrets(store, made) == made


def settling(ready: Callable[[], bool]) -> Callable[[float], None]:
    """Waits for the condition instead of the seconds, which must be those that the protocol needs."""

    def wait(seconds: float) -> None:
        assert seconds == SETTLE_SECONDS
        for _ in range(12_000):
            if ready():
                return
            threading.Event().wait(0.01)
        raise AssertionError("nothing happens meanwhile")

    return wait


def secrets(store: KeyStore, ids: object, vault: Vault | None = None) -> dict[str, bytes]:
    keys = (vault or Vault(store, MASTERS)).keys("t", list(ids))  # type: ignore[call-overload]
    return {id: each.secret for id, each in keys.items() if isinstance(each, DataKey)}


def test_the_validator_takes_keys_and_marks_and_nothing_else(mongo_database: Database[Document]) -> None:
    store = mongo_store(mongo_database)
    Vault(store, MASTERS).keys("t", ["a"])
    store.destroy("t:b")
    with pytest.raises(Exception, match="Document failed validation"):
        mongo_database[DATA_KEYS].insert_one({"_id": "t:c", "secret": "plain"})
