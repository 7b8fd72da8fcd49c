"""Consent by purpose on the reads of the relations service: who has not granted it is left out."""

from typing import Any

import pytest
from fastapi import FastAPI

from services.relations.api import create_app
from services.relations.cache import QueryCache
from services.relations.queries import Queries
from tests.support.analytics_driver import get
from tests.support.builders import OPEN, STRENGTH, event, recorded
from tests.support.relations_driver import NOW, Mongo, MongoKith

CONSENTS: dict[str, Any] = {
    "yes": {"mail": True, "ads": False},
    "no": {"mail": False},
    "silent": {},
    "other": {"ads": True},
}


@pytest.fixture
def app(mongo_database: Mongo) -> FastAPI:
    events = []
    for n, (consumer, consent) in enumerate(CONSENTS.items()):
        data = {"consumer_id": consumer, "consent": consent}
        events.append(event("consumer.upserted", f"crm-{n}", "2026-01-01T00:00:00Z", data))
        events += [
            recorded(f"{consumer}-{m}", f"2026-02-0{n + 1}T0{m}:00:00Z", f"r{m}", consumer_id=consumer)
            for m in (1, 2)
        ]
    events.append(recorded("unknown", "2026-02-09T00:00:00Z", consumer_id="unknown"))
    MongoKith(mongo_database).store(events)
    queries = Queries(mongo_database, STRENGTH, QueryCache("lru", 100))
    return create_app(queries, STRENGTH, list, lambda: NOW, access=OPEN)


def seen(app: FastAPI, path: str, **params: str) -> tuple[set[str], bool]:
    """The consumers of all pages, and whether any page says that some were left out."""
    found: set[str] = set()
    left_out, cursor = False, None
    while True:
        page = get(app, path, {**params, **({"cursor": cursor} if cursor else {})}).json()
        found |= {item["consumer_id"] for item in page["items"]}
        left_out = left_out or page.get("left_out", False)
        if (cursor := page["next"]) is None:
            return found, left_out


@pytest.mark.parametrize("path", ["/v1/relations", "/v1/relationships"])
@pytest.mark.parametrize("limit", ["1", "3", "100"])
def test_lists_leave_out_who_has_not_granted(app: FastAPI, path: str, limit: str) -> None:
    assert seen(app, path, provider_id="p1", limit=limit) == ({*CONSENTS, "unknown"}, False)
    assert seen(app, path, provider_id="p1", limit=limit, purpose="mail") == ({"yes"}, True)
    assert seen(app, path, provider_id="p1", limit=limit, purpose="ads") == ({"other"}, True)
    assert seen(app, path, provider_id="p1", limit=limit, purpose="nothing") == (set(), True)
    assert seen(app, path, consumer_id="yes", limit=limit, purpose="mail") == ({"yes"}, False)
    assert seen(app, path, consumer_id="no", limit=limit, purpose="mail") == (set(), True)


def test_nothing_tells_who_was_left_out(app: FastAPI) -> None:
    answer = get(app, "/v1/relations", {"provider_id": "p1", "purpose": "mail"})
    assert {name for name in CONSENTS if f'"{name}"' in answer.text} == {"yes"}
    assert "left_out" not in get(app, "/v1/relations", {"provider_id": "p1"}).json()


def test_a_consumer_is_shown_for_what_they_granted(app: FastAPI) -> None:
    assert get(app, "/v1/consumers/yes", {"purpose": "mail"}).status_code == 200
    for consumer in ("no", "silent", "other"):
        answer = get(app, f"/v1/consumers/{consumer}", {"purpose": "mail"})
        assert (answer.status_code, "mail" in answer.json()["detail"]) == (403, True)
    assert get(app, "/v1/consumers/unknown", {"purpose": "mail"}).status_code == 404
    assert get(app, "/v1/consumers/yes", {"purpose": "mail.$where"}).status_code == 422


def test_a_consent_that_is_withdrawn_counts_at_once(mongo_database: Mongo, app: FastAPI) -> None:
    assert seen(app, "/v1/relationships", provider_id="p1", purpose="mail") == ({"yes"}, True)
    mongo_database["consumers"].update_one({"consumer_id": "yes"}, {"$set": {"consent.mail": False}})
    assert seen(app, "/v1/relationships", provider_id="p1", purpose="mail") == (set(), True)
