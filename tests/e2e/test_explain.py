"""`kith explain` beside the running services: what the command prints of events that really went through."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo.database import Database

from services.cli.up import Stack
from shared.contracts.topics import Topics
from shared.kafka.clients import open_publisher
from shared.runtime.protocols import Document, Message
from tests.support.end_to_end import call_kith, fetch, fields, post, wait_until_drained
from tests.support.waiting import PATIENCE_SECONDS, wait_for

T1, T2 = "2026-05-03T10:15:00Z", "2026-05-03T11:15:00Z"


def purchase(id: str, time: str, amount: object, relation: str) -> dict[str, Any]:
    return fields(
        "relation.recorded",
        id,
        time,
        {
            "relation_id": relation,
            "kind": "purchase",
            "consumer_id": "ada/1",
            "provider_id": "cafe",
            "amount": amount,
            "currency": "EUR",
        },
    )


@contextmanager
def away(stack: Stack, service: str) -> Iterator[None]:
    """The service stands still meanwhile."""
    pid = stack.services[service].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class World:
    def __init__(self, stack: Stack, database: Database[Document], topics: Topics) -> None:
        self.stack, self.database, self.topics = stack, database, topics

    def send(self, *events: dict[str, Any]) -> None:
        """Through the door."""
        answer = post(f"{self.stack.addresses['ingest']}/v1/events", json=list(events))
        assert answer.status_code == 202, answer.text
        assert answer.json()["rejected"] == []

    def publish(self, event: dict[str, Any]) -> None:
        """Past the door."""
        publisher = open_publisher(self.stack.settings)
        message = Message(self.topics.name("relations"), b"default:ada/1", json.dumps(event).encode())
        try:
            publisher.send([message]).result(PATIENCE_SECONDS)
        finally:
            publisher.close()

    def drain(self) -> None:
        wait_until_drained(self.stack.settings, self.database)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        settings = self.stack.settings
        assert settings.kafka is not None
        assert settings.mongo is not None
        assert settings.master_key_file is not None
        given = {
            "KITH_MASTER_KEY_FILE": settings.master_key_file,
            "KITH_KAFKA": settings.kafka,
            "KITH_MONGO": settings.mongo,
            "KITH_DATABASE": settings.database,
            "KITH_TOPIC_PREFIX": settings.topic_prefix,
            "COLUMNS": "80",
        }
        status, output, errors = call_kith("explain", *arguments, **given)
        assert errors == ""
        return subprocess.CompletedProcess(arguments, status, output, errors)

    def explain(self, id: str, *arguments: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        done = self.command(id, "--json", *arguments)
        assert done.returncode == 0, done.stdout
        report = json.loads(done.stdout)
        assert report["found"] is True
        [event] = report["events"]
        return event, event["occurrences"]


@pytest.fixture
def world(stack: Stack, database: Database[Document], topics: Topics) -> World:
    return World(stack, database, topics)


def test_an_accepted_purchase_with_all_that_followed(world: World) -> None:
    world.send(purchase("buy-1", T1, 1250, "sale-1"))
    world.drain()
    event, [o] = world.explain("buy-1")
    assert (event["standing"], event["exact"], o["outcome"], o["processed"]) == ("counts", True, "applied", True)
    assert event["door"].startswith("accepted with 202")
    assert [(d["collection"], d["id"]) for d in o["documents"]] == [
        ("relations", "default:ada/1:sale-1"),
        ("relationships", "default:ada/1:cafe"),
    ]
    [change] = o["changes"]
    [published] = change["published"]
    assert (published["topic"], published["number"]) == (world.topics.name("relation-changes"), 1)
    assert change["counted"] is True
    total = next(move for move in o["aggregates"] if move["by"] == "total")
    assert total["sums"] == {"count": 1, "amount": {"EUR": 1250}, "consumers": 1}
    assert total["day_total"] == total["sums"]
    text = world.command("buy-1").stdout
    assert "applied: it recorded the relation" in text
    assert "the stored documents equal the fold of the" in " ".join(text.split())


def test_an_outdated_version_and_a_duplicate(world: World) -> None:
    world.send(
        purchase("new", T2, 2, "sale-2"), purchase("old", T1, 1, "sale-2"), purchase("new", T2, 2, "sale-2")
    )
    world.drain()
    event, [outdated] = world.explain("old")
    assert (event["standing"], outdated["outcome"], outdated["documents"]) == ("superseded", "outdated", [])
    successor, [first, second] = world.explain("new", "--source", "shop", "--tenant", "default")
    assert (successor["standing"], first["outcome"], second["outcome"]) == ("counts", "applied", "duplicate")
    for because in (outdated["because"], second["because"], event["superseded_by"]):
        [reference] = because
        assert (reference["id"], reference["offset"]) == ("new", first["offset"])


def test_a_dead_letter(world: World) -> None:
    world.publish(purchase("bad", T1, "a lot", "sale-3"))
    world.drain()
    event, [o] = world.explain("bad")
    assert (event["standing"], o["outcome"], o["letter"]["reason"]) == ("dead_letter", "dead_letter", "invalid")
    assert o["letter"]["_id"] == f"{o['topic']}/{o['partition']}/{o['offset']}"
    assert event["door"].startswith("bypassed: ")
    assert "dead letter (invalid: data.amount" in world.command("bad").stdout


def test_what_is_not_processed_yet(world: World) -> None:
    with away(world.stack, "relations"):
        world.send(purchase("late", T1, 7, "sale-4"))
        event, [o] = world.explain("late", "--since", "1h")
        assert (event["standing"], o["processed"], o["outcome"], o["behind"]) == ("waiting", False, "applied", 1)
        assert [d["collection"] for d in o["documents"]] == ["relations", "relationships"]
        assert "not processed yet: relations is 1 message behind" in world.command("late").stdout
    world.drain()
    event, [o] = world.explain("late")
    assert (event["standing"], o["processed"], event["exact"]) == ("counts", True, True)


def test_analytics_that_lags_is_told(world: World) -> None:
    with away(world.stack, "analytics"):
        world.send(purchase("uncounted", T1, 7, "sale-5"))

        def stored() -> object:
            return world.database["relations"].find_one({"relation_id": "sale-5"}) and not world.database[
                "outbox"
            ].count_documents({})

        wait_for("the fact", stored)
        _, [o] = world.explain("uncounted")
        assert o["changes"][0]["counted"] is False
    world.drain()
    _, [o] = world.explain("uncounted")
    assert o["changes"][0]["counted"] is True


def test_an_unknown_id_is_not_found(world: World) -> None:
    done = world.command("nobody-sent-this", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["found"], report["events"]) == (False, [])
    assert report["summary"].startswith("no message in ")
    assert "nobody-sent-this: not found" in world.command("nobody-sent-this").stdout


def test_the_query_api_takes_ids_with_slashes(world: World) -> None:
    """Through a real server: what it decodes and what not is its own affair."""
    world.send(purchase("slash", T1, 1, "sale-6"))
    world.drain()
    url = f"{world.stack.addresses['relations']}/v1/relationships/ada%2F1/cafe"
    answer = fetch(url)
    assert (answer.status_code, answer.json()["consumer_id"]) == (200, "ada/1")
