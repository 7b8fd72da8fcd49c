"""Times at the edges of the years that there are: no operation fails for them, whatever its parameter means."""

from collections.abc import Iterator, Mapping

import pytest
from fastapi import FastAPI

from services.analytics.dashboard import live
from shared.http.caller import SCOPES
from tests.conftest import Addresses
from tests.support.analytics_driver import get
from tests.support.databases import fresh_database
from tests.support.masked_worlds import POOLS, apps, base
from tests.support.measures_world import store

#: In UTC, the first and the last lie outside of the years 1 to 9999.
EDGES = [
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00Z",
    "0001-01-01",
    "9999-12-31",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-14:00",
]
TIMES = frozenset({"from", "to", "since", "until", "before", "after", "at", "as_of"})
EVERYTHING = {"Authorization": f"Bearer kith_{','.join(SCOPES)}"}


@pytest.fixture(scope="module")
def services(servers: Addresses) -> Iterator[Mapping[str, FastAPI]]:
    with fresh_database(servers) as database, pytest.MonkeyPatch.context() as patched:
        patched.setattr(live, "LIFE_SECONDS", 0.0)
        kith = store(database, base(), sealed=True)
        assert kith.vault is not None
        yield apps(database, kith.vault)


def test_no_parameter_of_any_operation_fails_at_the_edges(services: Mapping[str, FastAPI]) -> None:
    asked = 0
    for service, app in services.items():
        for path, item in app.openapi()["paths"].items():
            parameters = item.get("get", {}).get("parameters", [])
            needed = {one["name"]: POOLS.get(one["name"], ["1"])[0] for one in parameters if one.get("required")}
            query = {name: value for name, value in needed.items() if f"{{{name}}}" not in path}
            for one in parameters:
                if one["in"] != "query" or one["name"] not in TIMES:
                    continue
                for edge in EDGES:
                    answer = get(app, path.format_map(needed), {**query, one["name"]: edge}, EVERYTHING)
                    assert answer.status_code < 500, (service, path, one["name"], edge, answer.text)
                    asked += 1
    assert asked > 100


@pytest.mark.parametrize("column", ["time", "event_time"])
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("operator", ["gt", "eq", "le"])
def test_no_filter_of_the_feed_fails_at_the_edges(
    services: Mapping[str, FastAPI], column: str, edge: str, operator: str
) -> None:
    for text in (f"{column} {operator} {edge}", f"{edge} {operator} {column}", f"year({edge}) eq 1"):
        answer = get(services["exports"], "/odata/v1/Relations/$count", {"$filter": text}, EVERYTHING)
        assert answer.status_code in (200, 400), (text, answer.text)
