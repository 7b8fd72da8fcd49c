"""Exports of a running system: what was posted, as a frame, in the feed and by the command."""

import json
from datetime import UTC, datetime

from pymongo.database import Database

from services.cli.up import Stack, environment
from services.demo.emitter import Emitter
from services.demo.market import market
from services.demo.oracle import Oracle
from services.exports.frame import frame
from shared.runtime.protocols import Document
from tests.support.end_to_end import get, run_kith, wait_until_drained

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_what_was_sent_comes_out_by_every_way(stack: Stack, database: Database[Document]) -> None:
    oracle = Oracle()
    sent = market(800, 8, NOW, "default")
    emitter = Emitter(stack.addresses["ingest"], sent, oracle.add, headers=stack.headers())
    emitter.start()
    emitter.finish()
    wait_until_drained(stack.settings, database)

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
