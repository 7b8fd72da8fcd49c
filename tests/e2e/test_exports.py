"""What comes out of a running system: what was posted, as a frame, in the feed and by the command, and the outcome
of what was recommended."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo.database import Database

from services.cli.up import Stack, environment
from services.demo.emitter import Emitter
from services.demo.market import market
from services.demo.oracle import Oracle
from services.exports.frame import frame
from shared.runtime.protocols import Document
from tests.support.end_to_end import fields, get, post, run_kith, wait_until_drained
from tests.support.waiting import wait_for

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module", autouse=True)
def sent(stack: Stack, database: Database[Document]) -> None:
    events = market(800, 8, NOW, "default")
    emitter = Emitter(stack.addresses["ingest"], events, Oracle().add, headers=stack.headers())
    emitter.start()
    emitter.finish()
    wait_until_drained(stack.settings, database)


def test_what_was_sent_comes_out_by_every_way(stack: Stack, database: Database[Document]) -> None:
    url, key = stack.addresses["exports"], stack.headers()["Authorization"].removeprefix("Bearer ")
    facts = frame("relations", url=url, key=key)
    pairs = frame("relationships", url=url, key=key)
    days = frame("aggregates", url=url, key=key, by="total")
    stored = list(database["relations"].find({"tenant": "default", "retracted": False}))
    assert len(facts) == len(stored) == pairs["count"].sum() == days["count"].sum() > 300
    assert facts["amount"].sum() == sum(fact.get("amount", 0) for fact in stored)
    assert get(f"{url}/odata/v1/Relations", **{"$count": "true", "$top": "0"})["@odata.count"] == len(stored)

    revenue = frame("measures/revenue", url=url, key=key, since="2025-01-01")
    told = get(f"{stack.addresses['relations']}/v1/measures/revenue", **{"from": "2025-01-01"})["items"]
    assert len(revenue) == len(told) > 0

    people = frame("consumers", url=url, key=key, personal=True)
    names = [json.loads(text)["name"] for text in people["personal"].dropna()]
    assert names
    assert all(names)
    assert "kith1." not in str(people.to_dict())
    assert "kith1." in str(list(database["consumers"].find({"personal": {"$exists": True}})))

    lines = run_kith("export", "relations", "--format", "jsonl", "--out", "-", **environment(stack.settings))
    assert {json.loads(line)["id"] for line in lines.splitlines()} == set(facts["id"])


def test_a_relation_that_follows_a_recommendation_is_its_outcome(
    stack: Stack, database: Database[Document]
) -> None:
    url = stack.addresses["intelligence"]
    consumers = sorted(database["relationships"].distinct("consumer_id", {"tenant": "default"}))
    for consumer in consumers:
        shown = get(f"{url}/v1/recommendations", consumer_id=consumer, limit=3)
        if len(shown["items"]) == 3:
            break
    second = shown["items"][1]["provider_id"]
    data = {"consumer_id": consumer, "provider_id": second, "relation_id": "it-followed", "kind": "purchase"}
    event = fields("relation.recorded", "it-followed", datetime.now(UTC).isoformat(), data)
    assert post(f"{stack.addresses['ingest']}/v1/events", event).status_code == 202

    told: dict[str, Any] = {}

    def ended() -> bool:
        """The windows of all lists have ended, and what followed this one is stored."""
        told.update(get(f"{url}/v1/outcomes"))
        return not told["open"] and any(model["lists"]["followed"] for model in told["models"])

    wait_for("the outcome", ended)
    [model] = told["models"]
    assert (model["model"], model["lists"]["followed"]) == ("walk", 1)
    assert {place["rank"]: place["followed"] for place in model["by_rank"]} == {1: 0, 2: 1, 3: 0}
    line = run_kith("evaluate", "--online", "--tenant", "default", "--json", **environment(stack.settings))
    assert json.loads(line) == {name: value for name, value in told.items() if name != "masked"}

    export = get(f"{stack.addresses['privacy']}/v1/consumers/{consumer}/export")
    assert [each["provider_id"] for each in export["recommended"] if each["followed"]] == [second]
