"""A purpose chooses among consumers before the first ones are taken, and nobody else is shown or led through."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from fastapi.testclient import TestClient

from services.intelligence import consented, graph_routes
from services.intelligence.api import create_app
from services.intelligence.consented import first_granted, through_granted
from tests.support.builders import OPEN, MemoryKith, event, recorded
from tests.support.intelligence import MemoryIntelligence

#: c0 … c39 know the hub, the lower the stronger; who has granted is c30 … c34. Each knows a shop of their own.
GRANTED = [f"c{n}" for n in range(30, 35)]
TIME = "2026-10-01T00:00:00Z"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    kith = MemoryKith(slice_events=500)
    pairs = [(f"c{n}", "hub", each) for n in range(40) for each in range(40 - n)]
    pairs += [(f"c{n}", f"p{n}", 0) for n in range(40)]
    # Two ways from c30 to far: by one consumer who refuses and is less busy, and by one who has granted.
    pairs += [("c30", "near", 0), ("c1", "near", 0), ("c31", "near", 0), ("c31", "mid", 0), ("c31", "far", 0)]
    pairs += [("c1", "far", 0), ("c2", "alone", 0), ("c2", "near", 0)]
    kith.publish(
        [
            recorded(f"e{c}-{p}-{n}", TIME, f"r{c}-{p}-{n}", consumer_id=c, provider_id=p)
            for c, p, n in dict.fromkeys(pairs)
        ]
    )
    kith.publish(
        [
            event("consumer.upserted", id, TIME, {"consumer_id": id, "consent": {"mail": id in GRANTED}})
            for id in (f"c{n}" for n in range(40))
        ]
    )
    kith.drain()
    service = MemoryIntelligence(kith)
    service.follow()
    unused = cast(Any, None)
    with TestClient(create_app(service.questions, unused, unused, unused, list, access=OPEN)) as client:
        client.headers["Kith-Tenant"] = "default"
        yield client


def asked(client: TestClient, path: str) -> Any:
    found = client.get(path)
    assert found.status_code == 200, found.text
    return found.json()


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_neighbours_are_chosen_among_those_who_have_granted(client: TestClient, limit: int) -> None:
    """Ten and more who refuse are stronger than all of them."""
    for depth in (1, 2):
        found = asked(client, f"/v1/neighbours/provider/hub?purpose=mail&limit={limit}&depth={depth}")
        consumers = [node["id"] for node in found["nodes"] if node["side"] == "consumer"]
        assert consumers == GRANTED[:limit]
        assert found["left_out"]
        ends = {end for edge in found["edges"] for end in (edge["consumer_id"], edge["provider_id"])}
        assert {node["id"] for node in found["nodes"]} == ends
    assert limit == 1 or {edge["provider_id"] for edge in found["edges"]} >= {"hub", "p30"}


def test_nobody_is_reached_only_through_one_who_refuses(client: TestClient) -> None:
    found = asked(client, "/v1/neighbours/consumer/c30?purpose=mail&limit=50&depth=2")
    ids = {node["id"] for node in found["nodes"]}
    assert ids == {"c30", "hub", "near", "p30", *GRANTED}
    assert found["left_out"]
    assert client.get("/v1/neighbours/consumer/c1?purpose=mail").status_code == 403
    free = asked(client, "/v1/neighbours/consumer/c30?limit=50&depth=2")
    assert {"c1", "c2"} <= {node["id"] for node in free["nodes"]}
    assert "left_out" not in free
    one_step = asked(client, "/v1/neighbours/consumer/c30?purpose=mail&limit=2")
    assert (len(one_step["edges"]), one_step["omitted"], one_step["left_out"]) == (2, 1, False)


def test_the_central_consumers_are_found_behind_all_who_refuse(client: TestClient) -> None:
    found = asked(client, "/v1/central?by=degree&side=consumer&purpose=mail&limit=5")
    assert {item["id"] for item in found["items"]} == set(GRANTED)
    assert [item["rank"] for item in found["items"]] == [1, 2, 3, 4, 5]
    assert found["left_out"]
    many = asked(client, "/v1/central?by=degree&side=consumer&purpose=mail&limit=100")
    assert len(many["items"]) == 5


def test_a_path_leads_through_those_alone_who_have_granted(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = "/v1/paths?from=consumer:c30&to=provider:far"
    free = asked(client, way)
    assert [node["id"] for node in free["nodes"]] == ["c30", "near", "c1", "far"]
    assert "left_out" not in free
    for instead in (1_000, 1):
        monkeypatch.setattr(graph_routes, "_INSTEAD", instead)
        found = asked(client, way + "&purpose=mail")
        assert [node["id"] for node in found["nodes"]] == ["c30", "near", "c31", "far"]
        assert found["left_out"]
    none = asked(client, "/v1/paths?from=consumer:c30&to=provider:alone&purpose=mail")
    assert (none["found"], none["nodes"], none["left_out"]) == (False, [], True)
    assert "no path of at most 6" in none["reason"]
    direct = asked(client, "/v1/paths?from=consumer:c30&to=provider:near&purpose=mail")
    assert (direct["found"], direct["left_out"]) == (True, False)
    for ends in ("from=consumer:c1&to=provider:far", "from=provider:far&to=consumer:c1"):
        assert client.get(f"/v1/paths?{ends}&purpose=mail").status_code == 403
    monkeypatch.setattr(consented, "ATTEMPTS", 1)
    given_up = asked(client, way + "&purpose=mail")
    assert (given_up["found"], given_up["nodes"], given_up["edges"]) == (False, [], [])
    assert "attempts" in given_up["reason"]


def test_nobody_s_consent_is_read_twice() -> None:
    everybody, asked = [f"c{n}" for n in range(500)], list[str]()

    def granted(ids: list[str]) -> set[str]:
        asked.extend(ids)
        return {"c3", "c70", "c400"} & set(ids)

    assert first_granted(lambda size: everybody[:size], granted, 3) == (["c3", "c70", "c400"], True)
    assert asked == everybody
    assert first_granted(lambda size: everybody[:size], granted, 4) == (["c3", "c70", "c400"], True)


def test_whoever_refuses_is_not_looked_at_twice() -> None:
    looks: list[frozenset[str]] = []

    def look(without: frozenset[str]) -> tuple[str, Sequence[str], Sequence[str]]:
        looks.append(without)
        left = [id for id in "abcdef" if id not in without]
        return left[0], left[:1], left[:3]

    assert through_granted(look, lambda ids: set(ids) & {"e"}) == ("e", True, False)
    assert looks == [frozenset(), frozenset("abc"), frozenset("abcdf")]
