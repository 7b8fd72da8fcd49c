"""The HTTP interface where it needs no database: parameters, failures, health, OpenAPI."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from pymongo import MongoClient

from services.analytics.api import create_app
from services.analytics.queries import AnalyticsQueries
from tests.support.analytics_driver import get
from tests.support.builders import OPEN


@pytest.fixture
def app() -> Iterator[FastAPI]:
    """A service whose MongoDB is unavailable."""
    mongo: MongoClient[dict[str, Any]] = MongoClient("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=1)
    with mongo:
        yield create_app(AnalyticsQueries(mongo["kith"]), lambda: ["MongoDB is unavailable"], access=OPEN)


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/v1/aggregates?from=yesterday", 400, "from"),
        ("/v1/aggregates?to=2026-11-21T07:00:00+01:00", 400, "to"),
        ("/v1/aggregates?from=2026-11-21&to=2026-11-21", 400, "to"),
        ("/v1/aggregates?cursor=nonsense", 400, "cursor"),
        ("/v1/aggregates?key=p1", 400, "key"),
        ("/v1/aggregates?by=weekday", 422, "by"),
        ("/v1/aggregates?bucket=minute", 422, "bucket"),
        ("/v1/aggregates?limit=0", 422, "limit"),
        ("/v1/aggregates?limit=1001", 422, "limit"),
        ("/v1/top?from=yesterday", 400, "from"),
        ("/v1/top?measure=consumers&by=kind", 400, "by"),
        ("/v1/top?measure=luck", 422, "measure"),
        ("/v1/top?measure=amount&currency=euro", 422, "currency"),
        ("/v1/top?limit=1001", 422, "limit"),
    ],
)
def test_a_bad_parameter_is_named(app: FastAPI, path: str, status: int, field: str) -> None:
    answer = get(app, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert answer.json()["detail"].startswith(f"{field}: ")


def test_a_tenant_that_cannot_be_is_refused(app: FastAPI) -> None:
    answer = get(app, "/v1/top", headers={"Kith-Tenant": "No Such"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Kith-Tenant")


@pytest.mark.parametrize("path", ["/v1/aggregates", "/v1/aggregates?by=provider&bucket=hour", "/v1/top"])
def test_without_mongodb_it_says_when_to_come_again(app: FastAPI, path: str) -> None:
    answer = get(app, path)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"].isdecimal()


def test_health(app: FastAPI) -> None:
    assert get(app, "/health/live").status_code == 200
    ready = get(app, "/health/ready")
    assert (ready.status_code, ready.json()["detail"]) == (503, "MongoDB is unavailable")


def test_the_openapi_document_describes_everything(app: FastAPI) -> None:
    document = get(app, "/openapi.json").json()
    for path, schema in (("/v1/aggregates", "AggregatePage"), ("/v1/top", "Top")):
        operation = document["paths"][path]["get"]
        assert [p["name"] for p in operation["parameters"] if not p.get("description")] == []
        assert set(operation["responses"]) == {"200", "400", "401", "403", "422", "429", "503"}
        content = operation["responses"]["200"]["content"]["application/json"]
        assert content["schema"]["$ref"] == f"#/components/schemas/{schema}"
    names = {p["name"] for p in document["paths"]["/v1/aggregates"]["get"]["parameters"]}
    assert names == {"Kith-Tenant", "by", "key", "bucket", "from", "to", "limit", "cursor"}
    for name in ("Aggregate", "AggregatePage", "Ranked", "Top"):
        fields = document["components"]["schemas"][name]["properties"]
        assert [field for field, schema in fields.items() if not schema.get("description")] == []
