"""The vault: keys in bulk, remembered briefly, destroyed for good; blind index and pseudonyms."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.errors import Unavailable
from shared.vault.keys import Vault, normalised
from shared.vault.memory_store import MemoryKeyStore
from shared.vault.protocols import DESTROYED, Destroyed
from shared.vault.tokens import DataKey, Unreadable
from tests.support.vault import MASTERS, memory_vault


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def secret(key: DataKey | Destroyed) -> bytes:
    assert isinstance(key, DataKey)
    return key.secret


def test_a_key_is_made_once_and_is_another_for_everyone() -> None:
    store = MemoryKeyStore()
    one = {id: secret(key) for id, key in memory_vault(store).keys("t", ["a", "b"]).items()}
    other = {id: secret(key) for id, key in memory_vault(store).keys("t", ["b", "c"]).items()}
    elsewhere = secret(memory_vault(store).keys("u", ["b"])["b"])
    assert one["b"] == other["b"]
    assert len({one["a"], one["b"], other["c"], elsewhere}) == 4


def test_without_create_nothing_is_made() -> None:
    store = MemoryKeyStore()
    assert memory_vault(store).keys("t", ["a"], create=False) == {}
    assert not store.keys


def test_a_hundred_thousand_keys_take_a_few_round_trips() -> None:
    store = MemoryKeyStore()
    ids = [f"c{n}" for n in range(100_000)]
    # Its clock stands: a slow machine takes longer than a key is kept.
    vault = Vault(store, MASTERS, most=200_000, clock=Clock())
    assert len(vault.keys("t", ids)) == 100_000
    assert store.finds == 10
    assert vault.cached("t", ids) is not None


def test_keys_are_asked_for_again_after_their_life_and_not_before() -> None:
    store, clock = MemoryKeyStore(), Clock()
    vault = Vault(store, MASTERS, life_seconds=5, clock=clock)
    vault.keys("t", ["a"])
    clock.now = 4.9
    vault.keys("t", ["a"])
    assert store.finds == 1
    assert vault.cached("t", ["a"]) is not None
    clock.now = 5.1
    assert vault.cached("t", ["a"]) is None
    vault.keys("t", ["a"])
    assert store.finds == 2


def test_the_cache_is_bounded() -> None:
    vault = Vault(MemoryKeyStore(), MASTERS, most=10, clock=Clock())
    vault.keys("t", [f"c{n}" for n in range(100)])
    assert sum(vault.cached("t", [f"c{n}"]) is not None for n in range(100)) == 10


def test_what_is_destroyed_is_never_made_again() -> None:
    store = MemoryKeyStore()
    vault = memory_vault(store)
    vault.keys("t", ["a", "b"])
    vault.destroy("t", "a")
    vault.destroy("t", "never-there")
    assert vault.keys("t", ["a", "never-there"]) == {"a": DESTROYED, "never-there": DESTROYED}
    assert isinstance(vault.keys("t", ["b"])["b"], DataKey)


def test_others_hear_of_a_destroyed_key_within_its_life_or_at_once() -> None:
    store, clock = MemoryKeyStore(), Clock()
    one, other = memory_vault(store), Vault(store, MASTERS, life_seconds=5, clock=clock)
    other.keys("t", ["a", "b"])
    one.destroy("t", "a")
    one.destroy("t", "b")
    assert isinstance(other.keys("t", ["a"])["a"], DataKey), "still remembered"
    other.forget("t", "a")
    assert other.keys("t", ["a"])["a"] == DESTROYED
    clock.now = 5.1
    assert other.keys("t", ["b"])["b"] == DESTROYED


def test_what_is_forgotten_while_it_is_loaded_is_not_remembered() -> None:
    class Slow(MemoryKeyStore):
        def find(self, ids):  # type: ignore[no-untyped-def]
            found = super().find(ids)
            if vault is not None:
                super().destroy("t:a")
                vault.forget("t", "a")
            return found

    vault: Vault | None = None
    store = Slow()
    memory_vault(store).keys("t", ["a"])
    vault = memory_vault(store)
    vault.keys("t", ["a"])
    assert vault.cached("t", ["a"]) is None


def test_many_threads_agree_on_the_keys_that_they_make() -> None:
    store = MemoryKeyStore()
    ids = [f"c{n}" for n in range(300)]
    found: list[dict[str, bytes]] = []

    def work() -> None:
        found.append({id: secret(key) for id, key in memory_vault(store).keys("t", ids).items()})

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(one == found[0] for one in found)


def test_a_key_that_others_have_made_but_that_is_not_durable_yet_is_waited_for() -> None:
    class Late(MemoryKeyStore):
        hidden = 3

        def find(self, ids):  # type: ignore[no-untyped-def]
            self.hidden -= 1
            return {} if self.hidden >= 0 else super().find(ids)

    store = Late()
    store.hidden = 0
    there = secret(memory_vault(store).keys("t", ["a"])["a"])
    store.hidden = 3
    assert secret(memory_vault(store).keys("t", ["a"])["a"]) == there
    store.hidden = 1_000
    with pytest.raises(Unavailable, match="cannot be read yet"):
        memory_vault(store).keys("t", ["a"])


def test_a_store_that_is_away_is_unavailable_and_what_is_remembered_goes_on() -> None:
    store = MemoryKeyStore()
    vault = memory_vault(store)
    vault.keys("t", ["a"])
    store.available = False
    assert isinstance(vault.keys("t", ["a"])["a"], DataKey)
    with pytest.raises(Unavailable):
        vault.keys("t", ["a", "b"])


def test_a_key_that_was_moved_to_another_name_does_not_open() -> None:
    store = MemoryKeyStore()
    memory_vault(store).keys("t", ["a"])
    store.keys["t:b"] = store.keys["t:a"]
    with pytest.raises(Unreadable):
        memory_vault(store).keys("t", ["b"])


def test_the_blind_index_is_keyed_by_tenant_and_field() -> None:
    vault = memory_vault()
    found = {
        vault.blind("t", "email", "ada@example.org"),
        vault.blind("u", "email", "ada@example.org"),
        vault.blind("t", "phone", "ada@example.org"),
        vault.blind("t", "email", "bob@example.org"),
        memory_vault().blind("t", "email", "ada@example.org"),
    }
    assert len(found) == 5
    assert vault.blind("t", "email", "ada@example.org") in found


@pytest.mark.parametrize(
    ("field", "one", "other", "same"),
    [
        ("email", "Ada@Example.ORG", " ada@example.org ", True),
        ("email", "straße@example.org", "STRASSE@example.org", True),
        ("email", "ada@example.org", "ada@example.com", False),
        ("phone", "+41 (0)79 123-45-67", "+410791234567", True),
        ("phone", "0041 79 123 45 67", "+41791234567", True),
        ("phone", "079 123 45 67", "+41791234567", False),
        ("phone", "٠٧٩ ١٢٣", "079123", True),
    ],
)
def test_spellings_of_one_address_or_number(field: str, one: str, other: str, same: bool) -> None:
    assert (normalised(field, one) == normalised(field, other)) is same


@given(st.sampled_from(["email", "phone"]), st.text(max_size=30))
def test_normalising_twice_changes_nothing(field: str, text: str) -> None:
    once = normalised(field, text)
    assert normalised(field, once) == once


def test_a_pseudonym_is_the_same_for_ever_and_does_not_show_whose_it_is() -> None:
    store = MemoryKeyStore()
    vault = memory_vault(store)
    name = vault.pseudonym("t", "ada")
    assert name == memory_vault(store).pseudonym("t", "ada")
    assert len({name, vault.pseudonym("t", "bob"), vault.pseudonym("u", "ada")}) == 3
    assert "ada" not in name
    vault.destroy("t", "ada")
    assert vault.pseudonym("t", "ada") == name, "it comes of the tenant's key, not of the consumer's"
