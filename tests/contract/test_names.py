"""``GET /v1/names``: what ids are called, for those who may know it, and what the audit is told."""

from typing import Any

import pytest
from fastapi import FastAPI

from services.relations.api import create_app
from services.relations.cache import QueryCache
from services.relations.naming import MAX_IDS, Names
from services.relations.queries import Queries
from shared.access.guard import Access
from shared.http.caller import Caller
from tests.support.analytics_driver import get
from tests.support.builders import STRENGTH, event
from tests.support.credentials import RecordsAtOnce
from tests.support.relations_driver import NOW, Mongo, MongoKith

RIGHTS = ("relations:read", "consumers:read", "personal:read")


class One:
    def __init__(self, scopes: tuple[str, ...], masks: tuple[str, ...] = ()) -> None:
        self._caller = Caller("default", frozenset(scopes), masks, "ada", "kith_a")

    async def caller(self, _: str) -> Caller:
        return self._caller


class Told(RecordsAtOnce):
    """An audit that remembers."""

    def __init__(self) -> None:
        self.acts: list[Any] = []

    def record(self, *acts: Any) -> None:
        self.acts += acts


@pytest.fixture
def kith(mongo_database: Mongo) -> MongoKith:
    kith = MongoKith(mongo_database, sealed=True)
    person = {"consumer_id": "c1", "personal": {"name": "Ann Öz", "email": "a@example.org"}}
    kith.store(
        [
            event("consumer.upserted", "e1", "2026-11-01T00:00:00Z", person),
            event("consumer.upserted", "e2", "2026-11-01T00:00:00Z", {"consumer_id": "c2", "traits": {"a": 1}}),
            event("provider.upserted", "e3", "2026-11-01T00:00:00Z", {"provider_id": "p1", "name": "Café"}),
            event("provider.upserted", "e4", "2026-11-01T00:00:00Z", {"provider_id": "p2"}),
            event(
                "provider.upserted", "e5", "2026-11-01T00:00:00Z", {"provider_id": "p3", "name": "X"}, tenant="b"
            ),
        ]
    )
    return kith


def asked(kith: MongoKith, database: Mongo, query: str, scopes: tuple[str, ...], *masks: str) -> tuple[Any, Told]:
    told = Told()
    queries = Queries(database, STRENGTH, QueryCache("off", 1))
    access = Access(One(scopes, masks), audit=told)
    app: FastAPI = create_app(queries, STRENGTH, list, lambda: NOW, access=access, vault=kith.vault)
    return get(app, f"/v1/names?{query}", headers={"Authorization": "Bearer kith_x"}), told


def test_names_of_both_sides_and_each_consumer_in_the_audit(kith: MongoKith, mongo_database: Mongo) -> None:
    query = "provider_id=p1&provider_id=p2&provider_id=p3&consumer_id=c1&consumer_id=c2&consumer_id=none"
    answer, told = asked(kith, mongo_database, query, RIGHTS)
    assert answer.json() == {
        "items": [
            {"consumer_id": "c1", "personal": {"name": "Ann Öz"}},
            {"provider_id": "p1", "name": "Café"},
        ]
    }
    Names.model_validate_json(answer.content)
    assert [(act.action, dict(act.subject), act.fields) for act in told.acts] == [
        ("personal.read", {"consumer_id": "c1"}, ("personal.name",))
    ]


def test_without_personal_read_names_of_consumers_are_masked(kith: MongoKith, mongo_database: Mongo) -> None:
    answer, told = asked(kith, mongo_database, "consumer_id=c1&provider_id=p1", RIGHTS[:2])
    assert answer.json()["items"] == [
        {"consumer_id": "c1", "personal": {"name": "•••"}},
        {"provider_id": "p1", "name": "Café"},
    ]
    assert answer.json()["masked"] == ["personal.name"]
    assert told.acts == []


def test_a_mask_and_a_missing_scope(kith: MongoKith, mongo_database: Mongo) -> None:
    answer, _ = asked(kith, mongo_database, "consumer_id=c1", RIGHTS, "personal.name")
    assert answer.json()["items"][0]["personal"]["name"] == "•••"
    assert asked(kith, mongo_database, "consumer_id=c1", RIGHTS[:1])[0].status_code == 403
    assert asked(kith, mongo_database, "provider_id=p1", RIGHTS[:1])[0].status_code == 200
    assert asked(kith, mongo_database, "provider_id=p1", RIGHTS[1:])[0].status_code == 403


def test_one_to_fifty_ids(kith: MongoKith, mongo_database: Mongo) -> None:
    for number, status in ((0, 400), (1, 200), (MAX_IDS, 200), (MAX_IDS + 1, 400)):
        query = "&".join(f"provider_id=p{at}" for at in range(number))
        assert asked(kith, mongo_database, query, RIGHTS)[0].status_code == status


def test_who_is_erased_has_no_name(kith: MongoKith, mongo_database: Mongo) -> None:
    assert kith.vault is not None
    kith.vault.destroy("default", "c1")
    answer, _ = asked(kith, mongo_database, "consumer_id=c1", RIGHTS)
    assert "Ann" not in answer.text
