"""The routes of the measures where they need no database: parameters, failures, OpenAPI."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from pymongo import MongoClient

from services.analytics.api import create_app as analytics_app
from services.analytics.measures import catalogue as analytics
from services.analytics.measures.source import Measures as AnalyticsMeasures
from services.analytics.queries import AnalyticsQueries
from services.relations.api import create_app as relations_app
from services.relations.cache import QueryCache
from services.relations.measures import catalogue as relations
from services.relations.measures.source import Measures as RelationsMeasures
from services.relations.queries import Queries
from shared.access.routes import secure
from shared.http.limits import Limits
from shared.measures.computing import here
from shared.measures.http import add_measures
from tests.support.analytics_driver import get
from tests.support.builders import OPEN, STRENGTH
from tests.support.waiting import PATIENCE_SECONDS

Apps = dict[str, FastAPI]


def now() -> datetime:
    return datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def apps() -> Iterator[Apps]:
    """Both services, whose MongoDB is unavailable."""
    mongo: MongoClient[dict[str, Any]] = MongoClient("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=1)
    with mongo:
        database = mongo["kith"]
        queries = Queries(database, STRENGTH, QueryCache("off", 1))
        yield {
            "analytics": analytics_app(
                AnalyticsQueries(database), list, here(AnalyticsMeasures(database, str, str, now).of), access=OPEN
            ),
            "relations": relations_app(
                queries, STRENGTH, list, now, here(RelationsMeasures(database, str, now).of), access=OPEN
            ),
        }


ALL = [("analytics", measure) for measure in analytics.MEASURES] + [
    ("relations", measure) for measure in relations.MEASURES
]
_NAMES = [f"{service}-{measure.name}" for service, measure in ALL]
each_measure = pytest.mark.parametrize(("service", "measure"), ALL, ids=_NAMES)


@each_measure
def test_every_parameter_and_number_is_documented(apps: Apps, service: str, measure: Any) -> None:
    document = apps[service].openapi()
    route = document["paths"][f"/v1/measures/{measure.name}"]["get"]
    assert route["summary"].endswith("?"), "it says which question it answers"
    names = {parameter["name"] for parameter in route["parameters"]}
    assert names == {field.alias or name for name, field in measure.query.model_fields.items()} | {"Kith-Tenant"}
    assert all(parameter.get("description") for parameter in route["parameters"])
    schema = route["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert schema == measure.answer.__name__
    assert set(route["responses"]) >= {"400", "422", "501", "503"}


@each_measure
def test_without_mongodb_it_says_when_to_come_again(apps: Apps, service: str, measure: Any) -> None:
    answer = get(apps[service], f"/v1/measures/{measure.name}")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"].isdecimal()


@each_measure
@pytest.mark.parametrize(
    ("wrong", "status", "field"),
    [
        ("from=yesterday", 422, "from"),
        ("from=2026-02-30", 422, "from"),
        ("from=1969-12-31", 422, "from"),
        ("to=20261121", 422, "to"),
        ("to=2026-11-21T00:00:00Z", 422, "to"),
        ("from=2026-11-21&to=2026-11-21", 400, "to"),
        ("from=2026-11-23", 400, "to"),
        ("colour=red", 422, "colour"),
    ],
)
def test_what_no_measure_takes_is_named(
    apps: Apps, service: str, measure: Any, wrong: str, status: int, field: str
) -> None:
    complaint(apps[service], f"{measure.name}?{wrong}", status, field)


@pytest.mark.parametrize(
    ("service", "path", "status", "field"),
    [
        ("analytics", "activity?method=guess", 422, "method"),
        ("analytics", "activity?kind=purchase", 422, "kind"),
        ("analytics", "activity?from=2010-01-01", 400, "from"),
        ("analytics", "lifecycle?unit=year", 422, "unit"),
        ("analytics", "cohorts?unit=day&from=2025-01-01", 400, "from"),
        ("analytics", "top-providers?measure=amount&currency=euro", 422, "currency"),
        ("analytics", "top-providers?limit=0", 422, "limit"),
        ("analytics", "top-providers?limit=1001", 422, "limit"),
        ("analytics", "rising?baseline_days=0", 422, "baseline_days"),
        ("analytics", "rising?from=1970-01-02&to=1970-01-03", 400, "from"),
        ("analytics", "ratings?by=luck", 422, "by"),
        ("analytics", "ratings?weight=-1", 422, "weight"),
        ("analytics", "ratings?weight=nan", 422, "weight"),
        ("relations", "rfm?kind=Not+a+kind", 422, "kind"),
        ("relations", "rfm-consumers?segment=rich", 422, "segment"),
        ("relations", "geography?level=street", 422, "level"),
        ("relations", "lifetime?horizon_weeks=0", 422, "horizon_weeks"),
        ("relations", "lifetime?risk_from=1.5", 422, "risk_from"),
        ("relations", "rating-distribution?positive_from=101", 422, "positive_from"),
        ("relations", "revenue?unit=hour", 422, "unit"),
    ],
)
def test_what_a_measure_cannot_use_is_named(apps: Apps, service: str, path: str, status: int, field: str) -> None:
    complaint(apps[service], path, status, field)


def complaint(app: FastAPI, path: str, status: int, field: str) -> None:
    answer = get(app, f"/v1/measures/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert answer.json()["detail"].startswith(f"{field}: ")


def test_a_library_that_is_missing_is_named(apps: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "services.relations.measures.valuing", None)
    answer = get(apps["relations"], "/v1/measures/lifetime")
    assert answer.status_code == 501
    assert "extra measures" in answer.json()["detail"]


def test_only_so_many_are_computed_at_once() -> None:
    """Twice as many requests as threads: so many run, the others wait for their turn, and all are answered."""
    at_once = Limits.usual().measure_processes
    running, most, lock, together = 0, 0, threading.Lock(), threading.Barrier(at_once)

    class Slow:
        def __init__(self, _: str) -> None:
            self.today = 20_000

        def daily(self, _: Any) -> dict[int, tuple[int, int]]:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            # Nobody gets further before as many as may run are there.
            together.wait(timeout=PATIENCE_SECONDS)
            with lock:
                running -= 1
            return {}

        def visits(self, _: Any) -> list[Any]:
            return []

    app = FastAPI()
    secure(app, OPEN)
    add_measures(app, analytics.MEASURES, here(cast(Any, Slow)), "analytics:read")

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://analytics") as client:
            answers = await asyncio.gather(*(client.get("/v1/measures/activity") for _ in range(2 * at_once)))
        return [answer.status_code for answer in answers]

    assert asyncio.run(ask()) == [200] * 2 * at_once
    assert most == at_once
