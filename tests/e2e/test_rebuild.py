"""`kith rebuild` as an operator uses it, on running services."""

import json
import time
from typing import Any

import pytest
from pymongo.database import Database

from services.cli.up import Stack, environment
from shared.contracts.services import CORE_PROJECTIONS
from shared.contracts.topics import Topics
from shared.kafka.clients import open_publisher
from shared.runtime.protocols import Document
from tests.support.end_to_end import call_kith, fields, get, kith, message, run_kith, wait_until_drained
from tests.support.waiting import PATIENCE_SECONDS, wait_for

FACTS = 60


@pytest.fixture(scope="module")
def filled(stack: Stack, database: Database[Document], topics: Topics) -> Stack:
    events = [fields("consumer.upserted", "crm-1", "2026-05-01T08:00:00Z", {"consumer_id": "c1"})]
    for n in range(FACTS):
        place = {"relation_id": f"r{n}", "consumer_id": f"c{n % 5}", "provider_id": f"p{n % 3}"}
        sale = {**place, "kind": "purchase", "amount": 100 + n, "currency": "EUR"}
        events.append(fields("relation.recorded", f"e{n}", f"2026-05-02T08:{n:02}:00Z", sale))
    publisher = open_publisher(stack.settings)
    publisher.send([message(event, topics) for event in events]).result(PATIENCE_SECONDS)
    publisher.close()
    wait_until_drained(stack.settings, database)
    return stack


def run(stack: Stack, *arguments: str) -> str:
    status, output, errors = fails(stack, *arguments)
    assert (status, errors) == (0, "")
    return output


def fails(stack: Stack, *arguments: str) -> tuple[int, str, str]:
    return call_kith("rebuild", *arguments, **environment(stack.settings))


def versions(stack: Stack) -> dict[tuple[str, int], str]:
    rows: list[dict[str, Any]] = json.loads(run(stack, "status", "--json"))
    return {(row["projection"], row["version"]): row["state"] for row in rows}


def amount(stack: Stack) -> int:
    url = f"{stack.addresses['relations']}/v1/relations"
    [sale] = [item for item in get(url, consumer_id="c1")["items"] if item["relation_id"] == "r1"]
    found: int = sale["amount"]
    return found


def test_a_damaged_document_is_named_and_mended(filled: Stack, database: Database[Document]) -> None:
    status, _, errors = fails(filled, "diff", "relations")
    assert (status, errors) == (
        2,
        "kith: relations has no second version; `kith rebuild relations` builds one\n",
    )
    database["relations"].update_one({"relation_id": "r1"}, {"$inc": {"amount": 7}})

    output = run(filled, "relations", "--once")
    assert "version 2 is at 100.0 % (61 of 61 events)" in output
    assert "`kith rebuild switch relations` makes it live" in output
    assert versions(filled) == {
        ("relations", 1): "live",
        ("relations", 2): "being built",
        ("analytics", 1): "live",
    }
    status, output, _ = fails(filled, "diff", "relations")
    assert status == 1
    assert (
        "default:c1:r1: both hold event shop/e1 of 2026-05-02T08:01:00+00:00, and store it differently" in output
    )
    assert "amount: 108 in version 1, 101 in version 2" in output
    assert "version 1 and version 2 of relations differ." in output

    status, output, _ = fails(filled, "switch", "relations")
    assert status == 1
    assert "Not switched: 1 fact is different." in output
    assert amount(filled) == 108
    output = run(filled, "switch", "relations", "--differences", "ignore")
    assert "Version 2 of relations is live" in output
    wait_for("the queries to follow", lambda: amount(filled) == 101)


def test_status_shows_what_is_live(filled: Stack, database: Database[Document]) -> None:
    database["relations"].delete_many({})  # of version 1, which nobody is to count
    found = json.loads(run_kith("status", "--json", **environment(filled.settings)))
    assert found["lag"] == dict.fromkeys(CORE_PROJECTIONS, 0)
    assert found["documents"]["relations"] == FACTS


def test_what_comes_is_stored_by_the_new_version(
    filled: Stack, database: Database[Document], topics: Topics
) -> None:
    sale = {"relation_id": "r1", "consumer_id": "c1", "provider_id": "p1", "kind": "purchase"}
    later = fields(
        "relation.recorded", "e-later", "2026-06-01T08:00:00Z", {**sale, "amount": 5, "currency": "EUR"}
    )
    publisher = open_publisher(filled.settings)
    publisher.send([message(later, topics)]).result(PATIENCE_SECONDS)
    publisher.close()
    wait_for("the amendment", lambda: amount(filled) == 5)
    wait_until_drained(filled.settings, database)
    assert database["relations"].find_one({"relation_id": "r1"}) is None
    url = f"{filled.addresses['analytics']}/v1/aggregates"
    items = get(url, by="consumer", key="c1")["items"]
    assert (
        sum(item["amount"]["EUR"] for item in items) == 5 + sum(100 + n for n in range(FACTS) if n % 5 == 1) - 101
    )


def test_the_old_version_is_dropped_and_a_third_is_built(filled: Stack, database: Database[Document]) -> None:
    status, _, errors = fails(filled, "relations")
    assert status == 2
    assert "version 1 of relations is kept for a rollback; `kith rebuild drop relations` frees it first" in errors
    assert "Deleted version 1 of relations. Version 2 is live." in run(filled, "drop", "relations")
    assert "relations" not in database.list_collection_names()
    status, _, errors = fails(filled, "drop", "relations")
    assert (status, "the only one: there is nothing to drop" in errors) == (2, True)
    status, _, errors = fails(filled, "rollback", "relations")
    assert (status, "version 2 of relations is the only one" in errors) == (2, True)
    lines = [json.loads(line) for line in run(filled, "relations", "--once", "--json").splitlines()]
    assert (lines[-2]["version"], lines[-2]["percent"], lines[-1]["ended"]) == (3, 100.0, "level")
    assert "are equal" in run_quietly(filled, "diff", "relations")
    run(filled, "drop", "relations")
    assert [name for name in database.list_collection_names() if name.endswith("@3")] == []


def run_quietly(stack: Stack, *arguments: str) -> str:
    """Of a command that tells on stderr what it is at."""
    status, output, errors = fails(stack, *arguments)
    assert status == 0, errors
    return output


def test_analytics_go_the_same_way(filled: Stack, database: Database[Document]) -> None:
    before = versions(filled)
    run(filled, "analytics", "--once")
    assert "are equal" in run_quietly(filled, "diff", "analytics")
    run(filled, "switch", "analytics")
    url = f"{filled.addresses['analytics']}/v1/aggregates"
    time.sleep(1.1)  # reports may be a second behind a switch
    [total] = [item for item in get(url, by="total")["items"] if item["bucket"] == "2026-05-02"]
    assert total["count"] == FACTS - 1
    run(filled, "rollback", "analytics")
    run(filled, "drop", "analytics")
    assert versions(filled) == before
    assert not [name for name in database.list_collection_names() if name.startswith(("aggregates@", "presence@"))]


def test_ctrl_c_stops_it_in_order_and_it_goes_on(filled: Stack) -> None:
    with kith("rebuild", "relations", "--rate", "20", "--json", **environment(filled.settings)) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first["percent"] < 100
        process.terminate()
        rest, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert json.loads(rest.splitlines()[-1])["ended"] == "stopped"
    lines = [json.loads(line) for line in run(filled, "relations", "--once", "--json").splitlines()]
    assert lines[0]["version"] == first["version"]
    run(filled, "drop", "relations")
