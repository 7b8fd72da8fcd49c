"""The HTTP interface of the relations service on a real MongoDB, in this process."""

from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from pymongo import MongoClient

from services.relations import answers
from services.relations.api import create_app
from services.relations.cache import QueryCache
from services.relations.queries import Queries
from shared.runtime.protocols import Document
from tests.support.analytics_driver import get
from tests.support.builders import OPEN, STRENGTH, event, recorded, retracted
from tests.support.relations_driver import NOW, Mongo, MongoKith

PROBLEM = "application/problem+json"
EVERYTHING = {
    "kind": "purchase",
    "amount": 1299,
    "currency": "EUR",
    "rating": 4,
    "text": "bon",
    "traits": {"a": [1.5]},
}


def application(database: Mongo) -> FastAPI:
    queries = Queries(database, STRENGTH, QueryCache("lru", 100))
    return create_app(queries, STRENGTH, list, lambda: NOW, access=OPEN)


@pytest.fixture
def app(mongo_database: Mongo) -> FastAPI:
    """c:1 with p1 (a purchase, two views, one retracted) and with p2; a namesake in the tenant acme."""
    personal = {"personal": {"name": "Ann"}, "location": {"city": "León"}, "traits": {}, "consent": {"mail": True}}
    shop = {"name": "Café", "categories": ["food"], "location": {"lat": 1.0, "lon": 2.0}, "traits": {"seats": 4}}
    MongoKith(mongo_database).store(
        [
            event("consumer.upserted", "e1", "2026-11-01T00:00:00Z", {"consumer_id": "c:1", **personal}),
            event("consumer.erased", "e2", "2026-11-01T00:00:00Z", {"consumer_id": "c2", "mode": "anonymise"}),
            event("provider.upserted", "e3", "2026-11-01T00:00:00Z", {"provider_id": "p1", **shop}),
            recorded("e4", "2026-11-02T00:00:00.123456Z", "r1", consumer_id="c:1", **EVERYTHING),
            recorded("e5", "2026-11-03T00:00:00Z", "r2", consumer_id="c:1"),
            recorded("e6", "2026-11-04T00:00:00Z", "r3", consumer_id="c:1"),
            retracted("e7", "2026-11-05T00:00:00Z", "r3", consumer_id="c:1"),
            recorded("e8", "2026-05-05T00:00:00Z", "r4", consumer_id="c:1", provider_id="p2"),
            event(
                "relation.recorded",
                "e9",
                "2026-11-05T00:00:00Z",
                {"relation_id": "r1", "kind": "view", "consumer_id": "c:1", "provider_id": "p1"},
                tenant="acme",
            ),
        ]
    )
    return application(mongo_database)


def found(app: FastAPI, path: str, model: type[BaseModel], **headers: str) -> Any:
    """The JSON of an answer that fits its documented model, with no field beyond it."""
    answer = get(app, path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    model.model_validate_json(answer.content, extra="forbid")
    return answer.json()


def test_a_consumer(app: FastAPI) -> None:
    assert found(app, "/v1/consumers/c:1", answers.Consumer) == {
        "consumer_id": "c:1",
        "personal": {"name": "Ann"},
        "location": {"city": "León"},
        "consent": {"mail": True},
    }
    erased = found(app, "/v1/consumers/c2", answers.Consumer)
    assert erased == {"consumer_id": "c2", "erased": "anonymise"}


def test_a_provider(app: FastAPI) -> None:
    assert found(app, "/v1/providers/p1", answers.Provider) == {
        "provider_id": "p1",
        "name": "Café",
        "categories": ["food"],
        "location": {"lat": 1.0, "lon": 2.0},
        "traits": {"seats": 4},
        "closed": False,
    }


def test_relations(app: FastAPI) -> None:
    page = found(app, "/v1/relations?consumer_id=c:1&limit=2", answers.RelationPage)
    assert [item["relation_id"] for item in page["items"]] == ["r2", "r1"]
    assert page["items"][1] == {
        "relation_id": "r1",
        "consumer_id": "c:1",
        "provider_id": "p1",
        "time": "2026-11-02T00:00:00.123000Z",
        **EVERYTHING,
        "event": {"source": "test", "id": "e4"},
    }
    page = found(app, f"/v1/relations?consumer_id=c:1&limit=2&cursor={page['next']}", answers.RelationPage)
    assert ([item["relation_id"] for item in page["items"]], page["next"]) == (["r4"], None)
    for query, expected in (
        ("provider_id=p1", ["r2", "r1"]),
        ("provider_id=p1&kind=purchase", ["r1"]),
        ("provider_id=p2&consumer_id=c:1", ["r4"]),
        ("consumer_id=nobody", []),
    ):
        page = found(app, f"/v1/relations?{query}", answers.RelationPage)
        assert ([item["relation_id"] for item in page["items"]], page["next"]) == (expected, None)


def test_relationships(app: FastAPI) -> None:
    first = found(app, "/v1/relationships?consumer_id=c:1&limit=1", answers.RelationshipPage)
    assert first["items"] == [
        {
            "consumer_id": "c:1",
            "provider_id": "p1",
            "count": 2,
            "kinds": {"purchase": 1, "view": 1},
            "first": "2026-11-02T00:00:00.123000Z",
            "last": "2026-11-03T00:00:00Z",
            "strength": 5.5,
        }
    ]
    path = f"/v1/relationships?consumer_id=c:1&limit=1&cursor={first['next']}"
    second = found(app, path, answers.RelationshipPage)
    assert [(item["provider_id"], item["strength"]) for item in second["items"]] == [("p2", 0.25)]
    assert second["next"] is None
    of_provider = found(app, "/v1/relationships?provider_id=p1", answers.RelationshipPage)
    assert of_provider["items"] == first["items"]
    assert found(app, "/v1/relationships?provider_id=p3", answers.RelationshipPage) == {"items": [], "next": None}


def test_a_relationship(app: FastAPI) -> None:
    one = found(app, "/v1/relationships/c:1/p1", answers.Relationship)
    assert (one["strength"], one["count"], one["amount"]) == (5.5, 2, {"EUR": 1299})
    assert one["as_of"] == "2026-11-21T12:00:00Z"
    assert [(item["relation_id"], item["weight"]) for item in one["evidence"]] == [("r1", 5.0), ("r2", 0.5)]
    assert sum(kind["share"] for kind in one["kinds"].values()) == pytest.approx(1.0)


@pytest.mark.parametrize(("months", "strength"), [("6", 0.25), ("3", 0.125), ("1200", 0.49827), ("0.01", 0.0)])
def test_a_relationship_under_another_half_life(app: FastAPI, months: str, strength: float) -> None:
    one = found(app, f"/v1/relationships/c:1/p2?half_life_months={months}", answers.Relationship)
    assert one["strength"] == pytest.approx(strength, rel=1e-4)
    assert one["kinds"]["view"]["share"] == 1.0


def test_a_relation_centuries_ahead_has_a_strength(mongo_database: Mongo) -> None:
    # The door refuses such a relation, but whoever sets KITH_MAX_FUTURE_SECONDS high may have let one in.
    MongoKith(mongo_database).store([recorded("e1", "2026-11-01T00:00:00Z")])
    mongo_database["relationships"].update_one({}, {"$set": {"kinds": {"view": {"8999-12": {"count": 1}}}}})
    app = application(mongo_database)
    (listed,) = found(app, "/v1/relationships?consumer_id=c1", answers.RelationshipPage)["items"]
    assert 1e300 < listed["strength"] < float("inf")
    assert found(app, "/v1/relationships/c1/p1", answers.Relationship)["kinds"]["view"]["share"] == 1.0


def test_tenants_see_only_their_own(app: FastAPI) -> None:
    acme = {"Kith-Tenant": "acme"}
    (fact,) = found(app, "/v1/relations?consumer_id=c:1", answers.RelationPage, **acme)["items"]
    assert fact["event"]["id"] == "e9"
    (pair,) = found(app, "/v1/relationships?consumer_id=c:1", answers.RelationshipPage, **acme)["items"]
    assert pair["count"] == 1
    assert found(app, "/v1/relationships/c:1/p1", answers.Relationship, **acme)["count"] == 1
    assert found(app, "/v1/relationships/c:1/p1", answers.Relationship, **{"Kith-Tenant": "default"})["count"] == 2
    for path in ("/v1/consumers/c:1", "/v1/providers/p1", "/v1/relationships/c:1/p2"):
        assert get(app, path, headers=acme).status_code == 404
    for path in ("/v1/relations?provider_id=p2", "/v1/relationships?provider_id=p2"):
        assert get(app, path, headers=acme).json() == {"items": [], "next": None}


@pytest.mark.parametrize("id", ["100%", "a b", "c:1", "é😀", "a.b", "$gt", "%2525", "a?b#c"])
def test_ids_of_any_characters_are_found(mongo_database: Mongo, id: str) -> None:
    MongoKith(mongo_database).store(
        [
            event("consumer.upserted", "e1", "2026-11-01T00:00:00Z", {"consumer_id": id}),
            recorded("e2", "2026-11-01T00:00:00Z", consumer_id=id, provider_id=id),
        ]
    )
    app, quoted = application(mongo_database), quote(id, safe="")
    assert found(app, f"/v1/consumers/{quoted}", answers.Consumer) == {"consumer_id": id}
    assert found(app, f"/v1/relationships/{quoted}/{quoted}", answers.Relationship)["provider_id"] == id
    for path in (f"/v1/relations?provider_id={quoted}", f"/v1/relationships?consumer_id={quoted}"):
        assert [item["consumer_id"] for item in get(app, path).json()["items"]] == [id]


def test_the_longest_ids_give_cursors_that_are_taken_back(mongo_database: Mongo) -> None:
    consumer, provider = "😀" * 200, "😎" * 200
    relations = [f"{'😇' * 199}{n}" for n in range(2)]
    MongoKith(mongo_database).store(
        recorded(f"e{relation[-1]}", "2026-11-01T00:00:00Z", relation, consumer_id=consumer, provider_id=provider)
        for relation in relations
    )
    app = application(mongo_database)
    query = {"consumer_id": consumer, "limit": "1"}
    first = get(app, "/v1/relations", query).json()
    second = get(app, "/v1/relations", {**query, "cursor": first["next"]}).json()
    assert [item["relation_id"] for item in first["items"] + second["items"]] == relations[::-1]


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/v1/relations", 400, "the query needs consumer_id, provider_id or both"),
        ("/v1/relations?kind=view", 400, "the query needs consumer_id, provider_id or both"),
        ("/v1/relations?consumer_id=c1&cursor=x", 400, "cursor: is not a value of next from this query"),
        # What a version before authenticated cursors made.
        (
            "/v1/relations?consumer_id=c1&cursor=WzEsIngtbG9uZy1lbm91Z2giXQ",
            400,
            "cursor: comes from another version",
        ),
        ("/v1/relationships", 400, "the query needs exactly one of consumer_id and provider_id"),
        (
            "/v1/relationships?consumer_id=c1&provider_id=p1",
            400,
            "the query needs exactly one of consumer_id and provider_id",
        ),
        ("/v1/relationships?consumer_id=c1&cursor=", 400, "cursor: is not a value of next from this query"),
        ("/v1/consumers/nobody", 404, "no consumer is known under this id"),
        ("/v1/providers/c:1", 404, "no provider is known under this id"),
        ("/v1/relationships/c:1/p3", 404, "there are no relations between this consumer and this provider"),
        ("/v1/relationships/p1/c:1", 404, "there are no relations between this consumer and this provider"),
        ("/v2/consumers/c:1", 404, "there is nothing at this path"),
        ("/v1/consumers/%20c", 422, "consumer_id: "),
        ("/v1/providers/a%00b", 422, "provider_id: "),
        ("/v1/relations?consumer_id=", 422, "consumer_id: "),
        (f"/v1/relations?provider_id={'x' * 201}", 422, "provider_id: "),
        ("/v1/relations?consumer_id=c1&kind=Purchase", 422, "kind: "),
        ("/v1/relations?consumer_id=c1&limit=0", 422, "limit: "),
        ("/v1/relations?consumer_id=c1&limit=1001", 422, "limit: "),
        ("/v1/relationships?consumer_id=c1&limit=many", 422, "limit: "),
        (f"/v1/relationships?consumer_id=c1&cursor={'x' * 3001}", 422, "cursor: "),
        ("/v1/relationships/c:1/p1?half_life_months=0", 422, "half_life_months: "),
        ("/v1/relationships/c:1/p1?half_life_months=0.0001", 422, "half_life_months: "),
        ("/v1/relationships/c:1/p1?half_life_months=nan", 422, "half_life_months: "),
        ("/v1/relationships/c:1/p1?half_life_months=inf", 422, "half_life_months: "),
        ("/v1/relationships/c:1/p1?half_life_months=1201", 422, "half_life_months: "),
    ],
)
def test_what_cannot_be_answered_is_explained(app: FastAPI, path: str, status: int, detail: str) -> None:
    answer = get(app, path)
    body = answer.json()
    assert (answer.status_code, answer.headers["content-type"], body["status"]) == (status, PROBLEM, status)
    assert body["detail"].startswith(detail)


@pytest.mark.parametrize("tenant", ["No Such", "", "a:b", "-a", "x" * 64])
def test_a_tenant_that_cannot_be_is_refused(app: FastAPI, tenant: str) -> None:
    answer = get(app, "/v1/consumers/c:1", headers={"Kith-Tenant": tenant})
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
    assert answer.json()["errors"][0]["field"] == "Kith-Tenant"


PATHS = {
    "/v1/consumers": ("ConsumerList", {"200", "400", "409", "422", "503"}),
    "/v1/consumers/{consumer_id}": ("Consumer", {"200", "404", "422", "503"}),
    "/v1/names": ("Names", {"200", "400", "403", "422", "503"}),
    "/v1/providers/{provider_id}": ("Provider", {"200", "404", "422", "503"}),
    "/v1/relations": ("RelationPage", {"200", "400", "422", "503"}),
    "/v1/relationships": ("RelationshipPage", {"200", "400", "422", "503"}),
    "/v1/relationships/{consumer_id}/{provider_id}": ("Relationship", {"200", "404", "422", "503"}),
    "/v1/relationships/{consumer_id}/{provider_id}/cells": ("CellPage", {"200", "400", "404", "422", "503"}),
}


@pytest.mark.parametrize(
    "path",
    ["consumers/a", "providers/a", "relations?consumer_id=a", "relationships?consumer_id=a", "relationships/a/b"],
)
def test_without_mongodb_it_says_when_to_come_again(path: str) -> None:
    away: MongoClient[Document] = MongoClient("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=1)
    with away:
        answer = get(application(away["kith"]), f"/v1/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
    assert answer.headers["retry-after"] == "5"
    assert "127.0.0.1" not in answer.text


def test_openapi_describes_every_route_and_its_answers(app: FastAPI) -> None:
    document = get(app, "/openapi.json").json()
    shown = {path: item["get"] for path, item in document["paths"].items() if not path.startswith("/health")}
    assert shown.keys() == PATHS.keys()
    for path, (model, statuses) in PATHS.items():
        operation = shown[path]
        assert operation["responses"].keys() == statuses | {"401", "403", "429"}
        content = operation["responses"]["200"]["content"]["application/json"]
        assert content["schema"] == {"$ref": f"#/components/schemas/{model}"}
        for status in statuses - {"200"}:
            problem = operation["responses"][status]["content"][PROBLEM]["schema"]
            assert problem == {"$ref": "#/components/schemas/Problem"}
        assert "Kith-Tenant" in {parameter["name"] for parameter in operation["parameters"]}
    assert {"Problem", *(model for model, _ in PATHS.values())} <= document["components"]["schemas"].keys()
    assert {"/health/live", "/health/ready"} <= document["paths"].keys()


@pytest.mark.parametrize("id", ["a/b", "/a/", "a%2Fb", "a/%2F é", "ü/%"])
def test_ids_in_paths_may_hold_slashes(mongo_database: Mongo, id: str) -> None:
    MongoKith(mongo_database).store(
        [
            event("consumer.upserted", "e1", "2026-11-01T00:00:00Z", {"consumer_id": id, "traits": {}}),
            event("provider.upserted", "e2", "2026-11-01T00:00:00Z", {"provider_id": id, "name": "A"}),
            recorded("e3", "2026-11-02T00:00:00Z", "r1", consumer_id=id, provider_id="b/" + id),
            recorded("e4", "2026-11-02T00:00:00Z", "r2", consumer_id=id + "/b", provider_id=id),
        ]
    )
    app = application(mongo_database)
    segment = quote(id, safe="")
    assert found(app, f"/v1/consumers/{segment}", answers.Consumer)["consumer_id"] == id
    assert found(app, f"/v1/providers/{segment}", answers.Provider)["provider_id"] == id
    for consumer, provider in ((id, "b/" + id), (id + "/b", id)):
        path = f"/v1/relationships/{quote(consumer, safe='')}/{quote(provider, safe='')}"
        relationship = found(app, path, answers.Relationship)
        assert (relationship["consumer_id"], relationship["provider_id"]) == (consumer, provider)
    assert get(app, f"/v1/consumers/{segment}/{segment}").status_code == 404
    assert get(app, "/v1/consumers/%1F%2f").status_code == 422
