"""Reading sealed consumers and relations through the API, on a real MongoDB."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.relations.api import create_app
from services.relations.cache import QueryCache
from services.relations.measures.source import Measures
from services.relations.queries import Queries
from services.relations.redaction import redactor
from shared.access.guard import Access
from shared.http.caller import PERSONAL_READ, SCOPES, Caller
from shared.measures.computing import here
from shared.vault.fields import PERSONAL_OF_CONSUMER, PERSONAL_OF_RELATION
from shared.vault.keys import Vault
from shared.vault.tokens import is_token
from tests.support.analytics_driver import get
from tests.support.builders import OPEN, STRENGTH, event, recorded
from tests.support.credentials import Journal, Keys
from tests.support.relations_driver import NOW, Mongo, MongoKith

TIME = "2026-11-01T00:00:00Z"
ADA = {"name": "Ada", "email": "ada@example.org", "phone": "+41 79 123"}
LYON = {"country": "FR", "city": "Lyon", "lat": 45.5, "lon": 4.75}


class World:
    """Ada and her namesakes, in two tenants."""

    def __init__(self, database: Mongo) -> None:
        self.database = database
        self.kith = MongoKith(database, sealed=True)
        self.kith.store(
            [
                event("consumer.upserted", "e1", TIME, {"consumer_id": "ada", "personal": ADA, "location": LYON}),
                event(
                    "consumer.upserted",
                    "e2",
                    TIME,
                    {"consumer_id": "a2", "personal": {"email": "ADA@example.org"}},
                ),
                event("consumer.upserted", "e3", TIME, {"consumer_id": "ada", "personal": ADA}, tenant="acme"),
                recorded("e4", TIME, "r1", consumer_id="ada", text="très bon"),
            ]
        )
        assert self.kith.vault is not None
        self.vault: Vault = self.kith.vault
        self.queries = Queries(database, STRENGTH, QueryCache("lru", 100))

    def app(self, vault: Vault | None = None, access: Access = OPEN) -> FastAPI:
        measures = here(Measures(self.database, str, lambda: NOW, self.vault).of)
        vault = vault or self.vault
        return create_app(self.queries, STRENGTH, list, lambda: NOW, measures, access=access, vault=vault)


@pytest.fixture
def world(mongo_database: Mongo) -> World:
    return World(mongo_database)


def test_stored_is_what_is_sealed_and_shown_what_was_sent(world: World) -> None:
    stored = world.database["consumers"].find_one({"_id": "default:ada"})
    assert stored is not None
    assert all(is_token(value) for value in stored["personal"].values())
    app = world.app()
    shown = get(app, "/v1/consumers/ada").json()
    assert (shown["personal"], shown["location"]) == (ADA, LYON)
    assert "blind" not in shown
    assert "unreadable" not in shown
    [fact] = get(app, "/v1/relations?consumer_id=ada").json()["items"]
    assert fact["text"] == "très bon"


@pytest.mark.parametrize(
    ("query", "tenant", "found"),
    [
        ("email=ada@example.org", "default", ["a2", "ada"]),
        ("email=%20Ada@EXAMPLE.org", "default", ["a2", "ada"]),
        ("email=ada@example.org&limit=1", "default", ["a2"]),
        ("phone=0041(79)123", "default", ["ada"]),
        ("email=ada@example.org", "acme", ["ada"]),
        ("email=bob@example.org", "default", []),
        ("phone=ada@example.org", "default", []),
        ("email=", "default", []),
    ],
)
def test_consumers_are_found_by_address_and_number(
    world: World, query: str, tenant: str, found: list[str]
) -> None:
    answer = get(world.app(), f"/v1/consumers?{query}", headers={"Kith-Tenant": tenant})
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    assert [item["consumer_id"] for item in items] == found
    assert all(item["personal"]["email"].lower() == "ada@example.org" for item in items)


def test_the_search_uses_an_index(world: World) -> None:
    word = world.vault.blind("default", "email", "ada@example.org")
    found = world.database["consumers"].find({"tenant": "default", "blind.email": word}).explain()
    assert "blind.email_1" in str(found["queryPlanner"]["winningPlan"])


@pytest.fixture
def journal() -> Journal:
    return Journal()


def search(world: World, journal: Journal, may: str, query: str) -> httpx.Response:
    app = world.app(access=Access(Keys(), audit=journal))
    return get(app, f"/v1/consumers?{query}", headers={"Authorization": f"Bearer kith_{may}"})


def test_who_may_only_read_texts_finds_nobody(world: World, journal: Journal) -> None:
    refused = search(world, journal, "relations:read,personal:read", "email=ada@example.org")
    assert (refused.status_code, "consumers:read" in refused.text) == (403, True)
    assert "ada" not in refused.text
    assert journal.acts == []


@pytest.mark.parametrize("mask", ["email", "personal", "personal.*", "personal.email"])
def test_nobody_is_found_by_what_is_hidden(world: World, journal: Journal, mask: str) -> None:
    may = f"consumers:read,personal:read/{mask}"
    refused = search(world, journal, may, "email=ada@example.org")
    assert (refused.status_code, "hidden" in refused.text) == (403, True)
    by_phone = search(world, journal, may, "phone=%2B41%2079%20123")
    assert by_phone.status_code == (200 if "email" in mask else 403)
    assert "ada@example.org" not in by_phone.text


@pytest.mark.parametrize("query", ["email=nobody@example.org", "email=ada@example.org&purpose=newsletter"])
def test_a_search_that_shows_nobody_is_on_record_too(world: World, journal: Journal, query: str) -> None:
    """Its answer tells all the same: that nobody has this address, or somebody who has not consented."""
    answer = search(world, journal, "consumers:read,personal:read", query)
    assert (answer.status_code, answer.json()["items"]) == (200, [])
    [act] = journal.acts
    assert (act.action, act.subject, act.fields) == (
        "personal.read",
        {"searched_by": "email"},
        ("personal.email",),
    )


@pytest.mark.parametrize("query", ["", "?email=a&phone=b"])
def test_a_search_says_what_for(world: World, query: str) -> None:
    assert get(world.app(), f"/v1/consumers{query}").status_code == 400


def test_without_encryption_there_is_no_index(world: World) -> None:
    app = create_app(world.queries, STRENGTH, list, lambda: NOW, access=OPEN)
    answer = get(app, "/v1/consumers?email=a@b.c")
    assert (answer.status_code, "KITH_ENCRYPTION" in answer.text) == (409, True)


def test_what_cannot_be_read_is_named(world: World) -> None:
    world.vault.destroy("default", "ada")
    app = world.app()
    shown = get(app, "/v1/consumers/ada").json()
    assert (shown["personal"], shown["location"]) == ({}, {"country": "FR"})
    assert shown["unreadable"] == [
        "location.city",
        "location.lat",
        "location.lon",
        "personal.email",
        "personal.name",
        "personal.phone",
    ]
    page = get(app, "/v1/relations?consumer_id=ada").json()
    assert (page["items"][0].get("text"), page["unreadable"]) == (None, ["text"])


def test_who_may_not_see_personal_fields_sees_masks_and_costs_no_key(world: World) -> None:
    class Untouchable:
        def keys(self, *_: object, **__: object) -> Any:
            raise AssertionError("asked for keys")

    present = redactor(Untouchable())  # type: ignore[arg-type]
    caller = Caller("default", frozenset(SCOPES) - {PERSONAL_READ})
    document = world.queries.profile("consumers", "default", "ada")
    assert document is not None
    shown, fields = present(document, PERSONAL_OF_CONSUMER, caller)
    assert shown["personal"] == dict.fromkeys(ADA, "•••")
    assert shown["location"] == {"country": "FR", **dict.fromkeys(("city", "lat", "lon"), "•••")}
    assert (fields, len(shown["masked"])) == ([], 6)
    page, _ = present(
        world.queries.relations("default", "ada", None, None, 10, None), PERSONAL_OF_RELATION, caller
    )
    assert (page["items"][0]["text"], page["masked"]) == ("•••", ["text"])


def test_places_are_counted_by_what_they_are(world: World) -> None:
    found = get(world.app(), "/v1/measures/geography?side=consumer&level=city&from=2026-10-01&to=2026-11-20")
    assert found.status_code == 200, found.text
    [place] = found.json()["items"]
    assert (place["city"], round(place["lat"], 6), round(place["lon"], 6)) == ("Lyon", 45.5, 4.75)
