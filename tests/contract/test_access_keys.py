"""API keys, held to the same on MongoDB and in memory."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.database import Database

from shared.access.keys import ApiKeys, KeyStore, digest, matches, prefix_of
from shared.access.keys_memory import MemoryKeys
from shared.access.keys_mongo import COLLECTION, MongoKeys
from shared.contracts.errors import ConfigurationError

Mongo = Database[dict[str, Any]]


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(params=["memory", "mongo"])
def store(request: pytest.FixtureRequest) -> KeyStore:
    return MemoryKeys() if request.param == "memory" else MongoKeys(request.getfixturevalue("mongo_database"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(store: KeyStore, clock: Clock) -> ApiKeys:
    return ApiKeys(store, clock)


def test_a_key_is_found_by_its_prefix_with_all_that_it_may(keys: ApiKeys, store: KeyStore) -> None:
    key, text = keys.create("acme", "till", ["events:write", "admin", "admin"], ["personal.email"], "5/second")
    assert text.startswith(f"kith_{key.prefix}_")
    assert prefix_of(text) == key.prefix
    found = store.find(key.prefix)
    assert found == key
    assert matches(found, text)
    assert not matches(found, text[:-1] + ("A" if text[-1] != "A" else "B"))
    caller = found.caller()
    assert (caller.tenant, caller.name, caller.key) == ("acme", "till", key.prefix)
    assert caller.scopes == {"events:write", "admin"}
    assert (caller.masks, caller.limit) == (("personal.email",), "5/second")
    assert store.find("nobody00") is None


def test_no_two_secrets_are_the_same_and_none_is_short(keys: ApiKeys) -> None:
    texts = [keys.create("acme", "x", ["admin"])[1] for _ in range(20)]
    secrets = {text.split("_", 2)[2] for text in texts}
    assert len(secrets) == 20
    assert {len(secret) for secret in secrets} == {43}, "256 bits in base64"


def test_a_prefix_is_given_once(keys: ApiKeys, store: KeyStore) -> None:
    key, _ = keys.create("acme", "till", ["admin"])
    assert not store.insert(replace(key, tenant="other"))
    assert store.find(key.prefix) == key


def test_keys_are_listed_oldest_first(keys: ApiKeys, clock: Clock) -> None:
    made = []
    for name in ("a", "b", "c"):
        made.append(keys.create("acme", name, ["admin"])[0])
        clock.now += timedelta(seconds=1)
    assert keys.all() == made


def test_a_rotated_key_stays_good_for_the_overlap_and_then_ends(keys: ApiKeys, clock: Clock) -> None:
    old, _ = keys.create("acme", "till", ["events:write"], ["amount"], "9/minute")
    new, text = keys.rotate(old.prefix, timedelta(hours=1))
    assert (new.tenant, new.name, new.scopes, new.masks, new.limit) == (
        old.tenant,
        old.name,
        old.scopes,
        old.masks,
        old.limit,
    )
    assert matches(new, text)
    rotated = keys.get(old.prefix)
    assert rotated.successor == new.prefix
    assert rotated.valid(clock.now + timedelta(minutes=59, seconds=59))
    assert not rotated.valid(clock.now + timedelta(hours=1))
    with pytest.raises(ConfigurationError, match="rotated already"):
        keys.rotate(old.prefix, timedelta())


def test_a_revoked_key_is_revoked_for_good(keys: ApiKeys, clock: Clock) -> None:
    key, _ = keys.create("acme", "till", ["admin"])
    assert key.valid(clock.now)
    revoked = keys.revoke(key.prefix)
    assert not revoked.valid(clock.now)
    clock.now += timedelta(days=1)
    assert keys.revoke(key.prefix) == revoked, "the first time counts"
    with pytest.raises(ConfigurationError, match="has ended"):
        keys.rotate(key.prefix, timedelta(hours=1))


def test_a_rotation_that_meets_a_revocation_leaves_no_new_key(store: KeyStore, clock: Clock) -> None:
    class Beaten:
        """Whoever replaces a key here comes second."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def replace(self, before: Any, after: Any) -> bool:
            current = store.find(before.prefix)
            if current is not None and current.revoked is None and after.successor is not None:
                store.replace(before, replace(before, revoked=clock.now.replace(microsecond=0)))
            return store.replace(before, after)

    keys = ApiKeys(Beaten(), clock)
    key, _ = keys.create("acme", "till", ["admin"])
    with pytest.raises(ConfigurationError, match="was changed by another process"):
        keys.rotate(key.prefix, timedelta(hours=1))
    assert [each.valid(clock.now) for each in keys.all()] == [False, False]


def test_of_two_replacements_of_the_same_key_one_wins(keys: ApiKeys, store: KeyStore) -> None:
    key, _ = keys.create("acme", "till", ["admin"])
    won: list[bool] = []
    threads = [
        threading.Thread(target=lambda n=n: won.append(store.replace(key, replace(key, successor=f"new{n}"))))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("No Tenant", "x", ["admin"]), "not a tenant's name"),
        (("acme", "x", ["root"]), "no scope root"),
        (("acme", "x", ["admin"], ["a b"]), "not a field's path"),
        (("acme", "x", ["admin"], ["*"]), "not a field's path"),
        (("acme", "x", ["admin"], [], "often"), "not a rate"),
        (("acme", "x", ["admin"], [], "0/second"), "not a rate"),
    ],
)
def test_what_makes_no_sense_is_refused(keys: ApiKeys, arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        keys.create(*arguments)
    assert keys.all() == []


def test_nobody_finds_a_key_that_is_not_there(keys: ApiKeys) -> None:
    with pytest.raises(ConfigurationError, match="no key nobody00"):
        keys.revoke("nobody00")


def test_what_is_stored_does_not_hold_the_secret(mongo_database: Mongo, clock: Clock) -> None:
    key, text = ApiKeys(MongoKeys(mongo_database), clock).create("acme", "till", ["admin"])
    (stored,) = mongo_database[COLLECTION].find()
    secret = text.split("_", 2)[2]
    assert secret not in str(stored)
    assert stored["hash"] == digest(text) == key.hash
    assert len(stored["hash"]) == 64


def test_a_key_is_bound_to_its_purpose_and_quotas_and_so_is_its_successor(keys: ApiKeys, store: KeyStore) -> None:
    bounds: dict[str, Any] = {"purpose": "app_7", "events_a_day": 1000, "endpoints": 2}
    key, _ = keys.create("acme", "app", ["relations:read"], **bounds)
    caller = keys.get(key.prefix).caller()
    assert (caller.purpose, caller.events_a_day, caller.endpoints) == ("app_7", 1000, 2)
    successor, _ = keys.rotate(key.prefix, timedelta(hours=1))
    assert store.find(successor.prefix) == successor
    assert {name: getattr(successor, name) for name in bounds} == bounds
    assert keys.revoke(key.prefix).revoked is not None
    for wrong in ({"purpose": "a.b"}, {"purpose": ""}, {"purpose": "$where"}, {"endpoints": -1}):
        with pytest.raises(ConfigurationError):
            keys.create("acme", "app", ["relations:read"], **wrong)


def test_a_key_without_bounds_is_stored_as_earlier_versions_know_it(mongo_database: Mongo) -> None:
    """They fail for a key that is bound, for they would not hold to its purpose."""
    made = ApiKeys(MongoKeys(mongo_database), Clock())
    plain, bound = made.create("acme", "till", ["admin"])[0], made.create("acme", "app", ["admin"], purpose="a")[0]
    stored = {found["_id"]: set(found) for found in mongo_database[COLLECTION].find()}
    assert stored[bound.prefix] - stored[plain.prefix] == {"purpose"}
    assert made.revoke(plain.prefix).revoked is not None
