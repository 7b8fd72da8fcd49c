"""Applications and the keys of their tokens, held to the same on MongoDB and in memory."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pymongo.database import Database

from services.apps.key_pairs import MemoryKeyPairs, MongoKeyPairs
from services.apps.registry import NotPossible, Registry
from services.apps.signing import KeyPairs, PrivateKey, Signer
from shared.access.apps.memory import MemoryApps
from shared.access.apps.model import App, Limits, RevokedToken, Secret
from shared.access.apps.mongo import MongoApps
from shared.access.apps.schema import APPS, COLLECTIONS, PRIVATE_KEYS
from shared.access.apps.store import AppStore, PublicKey
from shared.mongo.store import prepare
from shared.vault.keys import Vault
from shared.vault.mongo_store import MongoKeyStore
from shared.vault.schema import COLLECTIONS as VAULT
from tests.support.apps import ISSUER, START, Clock, new_app
from tests.support.vault import MASTERS

Mongo = Database[dict[str, Any]]
WHOLE = App(
    "app_" + "b" * 16,
    "acme",
    "Bonus",
    "suspended",
    ("consumers:read", "relations:read"),
    "a" * 64,
    START,
    "dev12345",
    ("relations:read",),
    ("personal.email",),
    Limits("5/minute", 7, 3),
    (Secret("s1aaaaaa", "b" * 64, START, START + timedelta(days=1)),),
    (RevokedToken("j1", START + timedelta(seconds=600)),),
    "https://bonus.example",
    "https://bonus.example/logo.png",
    "https://bonus.example/policy",
    "https://bonus.example/terms",
    ("ann@bonus.example",),
    "bonus",
    "2.1",
    "client_secret_post",
    "it asked too often",
    4,
)


@pytest.fixture(params=["memory", "mongo"])
def store(request: pytest.FixtureRequest) -> AppStore:
    return MemoryApps() if request.param == "memory" else MongoApps(_prepared(request))


@pytest.fixture(params=["memory", "mongo"])
def pairs(request: pytest.FixtureRequest) -> KeyPairs:
    return MemoryKeyPairs() if request.param == "memory" else MongoKeyPairs(_prepared(request))


def _prepared(request: pytest.FixtureRequest) -> Mongo:
    database: Mongo = request.getfixturevalue("mongo_database")
    prepare(database, COLLECTIONS)
    return database


@pytest.mark.parametrize("app", [new_app(), WHOLE], ids=["new", "whole"])
def test_an_application_is_found_with_every_field(store: AppStore, app: App) -> None:
    assert store.find(app.id) is None
    assert store.insert(app)
    assert store.find(app.id) == app
    assert not store.insert(replace(app, name="another"))
    assert store.find(app.id) == app


def test_no_race_registers_more_applications_than_there_may_be(
    store: AppStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.apps.registry.MOST_APPS", 3)
    registry, together, refused = Registry(store, Clock()), threading.Barrier(6), []

    def register(_: int) -> None:
        together.wait()
        try:
            registry.register(new_app())
        except NotPossible as error:
            refused.append(str(error))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(register, range(6)))
    assert (len(store.all("acme")), len(refused)) == (3, 3)
    registry.register(new_app(tenant="other"))


def test_a_tenant_has_its_applications_oldest_first(store: AppStore) -> None:
    names = ["c", "a", "b"]
    for n, name in enumerate(names):
        store.insert(replace(WHOLE, id=f"app_{name * 16}", created=START + timedelta(seconds=n)))
    store.insert(replace(WHOLE, id="app_" + "d" * 16, tenant="other"))
    assert [app.id[4] for app in store.all("acme")] == names
    assert [app.id[4] for app in store.all("other")] == ["d"]


def test_a_list_is_without_the_tokens_that_were_revoked(store: AppStore) -> None:
    """Of 200 applications, each may have a thousand."""
    revoked = tuple(RevokedToken(f"t{n}", START) for n in range(3))
    store.insert(replace(WHOLE, revoked=revoked))
    [listed] = store.all(WHOLE.tenant)
    assert (listed, store.find(WHOLE.id)) == (replace(WHOLE, revoked=()), replace(WHOLE, revoked=revoked))


def test_of_two_changes_of_the_same_application_one_wins(store: AppStore) -> None:
    store.insert(WHOLE)
    won: list[bool] = []
    threads = [
        threading.Thread(target=lambda n=n: won.append(store.replace(WHOLE, WHOLE.next(name=f"name {n}"))))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]
    found = store.find(WHOLE.id)
    assert found is not None
    assert found.revision == WHOLE.revision + 1


def test_only_an_application_as_it_was_read_is_deleted(store: AppStore) -> None:
    store.insert(WHOLE)
    after = WHOLE.next(state="approved", reason=None)
    assert store.replace(WHOLE, after)
    assert not store.delete(WHOLE)
    assert store.find(WHOLE.id) == after
    assert store.delete(after)
    assert store.find(WHOLE.id) is None
    assert not store.replace(after, after.next(name="back again"))
    assert not store.delete(after)


def key(number: int, issuer: str = ISSUER) -> PrivateKey:
    created = START + timedelta(seconds=number)
    return PrivateKey(PublicKey(f"kith-apps-{number}", issuer, {"kty": "EC"}, created), b"secret", True)


def test_a_pair_is_stored_once_and_only_its_public_part_is_published(pairs: KeyPairs) -> None:
    assert pairs.public() == []
    assert pairs.private("kith-apps-1") is None
    for number in (2, 1):
        assert pairs.add(key(number)) == key(number)
    late = replace(key(1), private=b"another")
    assert pairs.add(late) == key(1)
    assert pairs.public() == [key(1).public, key(2).public]
    assert pairs.private("kith-apps-1") == key(1)


def test_an_end_is_only_moved_forward_and_a_removed_pair_is_gone(pairs: KeyPairs) -> None:
    pairs.add(key(1))
    for seconds in (60, 90, 30):
        pairs.end("kith-apps-1", START + timedelta(seconds=seconds))
    pairs.end("kith-apps-2", START)
    assert [each.until for each in pairs.public()] == [START + timedelta(seconds=30)]
    pairs.remove("kith-apps-1")
    assert pairs.public() == []
    assert pairs.private("kith-apps-1") is None


def test_processes_that_begin_together_agree_on_one_key(pairs: KeyPairs) -> None:
    clock, begin, kids = Clock(), threading.Barrier(4), []

    def work() -> None:
        signer = Signer(pairs, None, ISSUER, clock)
        begin.wait()
        signer.token(WHOLE, WHOLE.secrets[0], ["relations:read"], "j")
        kids.append([each["kid"] for each in signer.jwks()["keys"]])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kids == [["kith-apps-1"]] * 4


def test_what_is_stored_opens_nothing(mongo_database: Mongo) -> None:
    """Neither a private key, nor a secret or token in plain text."""
    prepare(mongo_database, {**COLLECTIONS, **VAULT})
    made = Registry(MongoApps(mongo_database), Clock()).register(new_app())
    vault = Vault(MongoKeyStore(mongo_database), MASTERS)
    Signer(MongoKeyPairs(mongo_database), vault, ISSUER, Clock()).token(made.app, made.secret, [], "j")
    (stored,) = mongo_database[APPS].find()
    for text in (made.secret_text, made.registration_token):
        assert text.rpartition("_")[2] not in str(stored)
    (pair,) = mongo_database[PRIVATE_KEYS].find()
    assert pair["sealed"] is True
    assert b'"d"' not in pair["private"]
    assert "d" not in pair["jwk"]


def test_the_validators_refuse_a_secret_in_the_place_of_its_hash(mongo_database: Mongo) -> None:
    prepare(mongo_database, COLLECTIONS)
    with pytest.raises(Exception, match="Document failed validation"):
        MongoApps(mongo_database).insert(replace(WHOLE, registration="kithr_plain"))
