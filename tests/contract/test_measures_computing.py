"""Measures computed in processes of their own: byte for byte what a thread answers, on a real MongoDB."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from services.analytics.measures import catalogue as analytics
from services.analytics.measures.source import Measures as AnalyticsMeasures
from services.relations.measures import catalogue as relations
from services.relations.measures.source import Measures as RelationsMeasures
from shared.measures.computing import Compute, Elsewhere, children_of, here
from shared.measures.query import BadMeasure, PeriodQuery
from shared.measures.spec import Measure
from tests.conftest import Addresses
from tests.support.measures_world import World

Pair = tuple[Compute, Compute]


def clock() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module", params=["analytics", "relations"])
def both(request: pytest.FixtureRequest, servers: Addresses, world: World) -> Iterator[tuple[str, Pair]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"MONGO": servers.mongo, "DATABASE": world.database.name, "ENCRYPTION": "off"}.items():
            patch.setenv(f"KITH_{name}", value)
        children = children_of(f"services.{request.param}.measures", 1, 120)
        thread: Compute
        if request.param == "analytics":
            thread = here(AnalyticsMeasures(world.database, str, str, clock).of)
        else:
            thread = here(RelationsMeasures(world.database, str, clock).of)
        yield request.param, (Elsewhere(children.ask), thread)
        children.close()


def test_every_measure_is_the_same_in_every_byte(both: tuple[str, Pair]) -> None:
    service, (elsewhere, thread) = both
    for measure in {"analytics": analytics, "relations": relations}[service].MEASURES:
        for given in ({}, {"from": "2026-10-01", "to": "2026-11-22"}, {"category": "café", "currency": "EUR"}):
            known: dict[str, Any] = {
                name: value
                for name, value in given.items()
                if name in {field.alias or name for name, field in measure.query.model_fields.items()}
            }
            query = measure.query.model_validate(known)
            found = outcome(elsewhere, measure, query)
            # Again, where midnight has passed between both.
            assert found in (outcome(thread, measure, query), outcome(thread, measure, query)), measure.name
        assert orjson.loads(elsewhere(measure, "default", measure.query.model_validate({"to": "2026-11-22"})))


def outcome(compute: Compute, measure: Measure[Any], query: PeriodQuery) -> bytes | str:
    try:
        return compute(measure, "default", query)
    except BadMeasure as error:
        return str(error)
