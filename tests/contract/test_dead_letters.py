"""Dead letters on real servers: a bad event, its replay, its repair, and what came in between."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from pymongo.database import Database
from typer.testing import CliRunner

from services.cli.dead_letters import dead_letters_app
from services.relations.projection import RelationsProjection
from services.relations.schema import COLLECTIONS
from shared.contracts.topics import Topics
from shared.kafka.clients import open_publisher, open_reader
from shared.kafka.python_client.reader import connection
from shared.mongo.store import MongoStore, connect, prepare
from shared.runtime.dead_letters import KEPT_BYTES, VALUE_BYTES, VALUE_SHA256
from shared.runtime.protocols import Document, Message
from shared.runtime.runner import Runner
from shared.settings import Settings
from tests.support.builders import STRENGTH
from tests.support.logs import read_topics
from tests.support.waiting import PATIENCE_SECONDS, Deadline


class Service:
    """The relations service, as far as events go, and the command beside it."""

    def __init__(self, settings: Settings, database: Database[Document], monkeypatch: pytest.MonkeyPatch) -> None:
        self.topics = Topics(settings.topic_prefix)
        self.database = database
        prepare(database, COLLECTIONS)
        projection = RelationsProjection(self.topics, STRENGTH, 86_400)
        self.reader = open_reader(settings, projection.name, projection.topics)
        self.publisher = open_publisher(settings)
        self.runner = Runner(
            self.reader,
            MongoStore(database, COLLECTIONS),
            self.publisher,
            projection,
            owner="test",
            dead_letters=self.topics.name("dead-letters"),
        )
        for name in ("kafka", "mongo", "topic_prefix", "group", "database", "encryption"):
            monkeypatch.setenv(f"KITH_{name.upper()}", getattr(settings, name))

    def close(self) -> None:
        self.reader.close()
        self.publisher.close()

    def publish(self, value: bytes, key: bytes = b"default:c1", topic: str = "relations") -> None:
        self.publisher.send([Message(self.topics.name(topic), key, value)]).result(PATIENCE_SECONDS)

    def wait(self, **counts: int) -> None:
        """Work until there are so many open dead letters (``letters``) and facts (``facts``)."""
        queries = {
            "letters": ("dead_letters", {"replayed_at": None, "discarded_at": None}),
            "facts": ("relations", {}),
        }
        deadline = Deadline()

        def found() -> dict[str, int]:
            return {n: self.database[queries[n][0]].count_documents(queries[n][1]) for n in counts}

        while (now := found()) != counts:
            deadline.check(now)
            self.runner.step(50)

    def settle(self) -> None:
        """Work until everything that was published is stored: the marker comes after it in its partition."""
        before = self.database["dead_letters"].count_documents({"value": b"marker"})
        self.publish(b"marker")
        deadline = Deadline()
        while self.database["dead_letters"].count_documents({"value": b"marker"}) == before:
            deadline.check("the marker did not come")
            self.runner.step(50)
        self.database["dead_letters"].delete_many({"value": b"marker"})

    def command(self, *arguments: str, status: int = 0) -> Any:
        """`kith dead-letters …`; its JSON, if it is to succeed."""
        result = CliRunner().invoke(dead_letters_app, [*arguments, *(["--json"] if status == 0 else [])])
        assert result.exit_code == status, result.output
        return json.loads(result.stdout.splitlines()[-1]) if status == 0 else result.output

    def open_letters(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.command("list")["items"]
        return items

    def fact(self, relation: str = "r1") -> Document | None:
        return self.database["relations"].find_one({"relation_id": relation})


@pytest.fixture
def service(real_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    assert real_settings.mongo is not None
    with connect(real_settings.mongo) as client:
        service = Service(real_settings, client[real_settings.database], monkeypatch)
        with closing(service):
            yield service


def event(id: str = "e1", minute: int = 0, relation: str = "r1", **data: Any) -> bytes:
    """A purchase of consumer c1, as upstreams write it."""
    base = {
        "relation_id": relation,
        "kind": "purchase",
        "consumer_id": "c1",
        "provider_id": "p1",
        "currency": "EUR",
    }
    return json.dumps(
        {
            "specversion": "1.0",
            "id": id,
            "source": "shop",
            "type": "relation.recorded",
            "time": f"2026-11-21T10:{minute:02}:00Z",
            "data": {**base, **data},
        }
    ).encode()


BAD = event(amount="a lot")
GOOD = event(amount=100)


def test_a_replay_that_is_refused_again_is_a_letter_of_its_own(service: Service) -> None:
    service.publish(BAD)
    service.wait(letters=1)
    [first] = service.open_letters()
    assert (first["reason"], first["field"], first["type"]) == ("invalid", "data.amount", "relation.recorded")

    assert service.command("replay", first["id"], "--dry-run")["ids"] == [first["id"]]
    assert service.open_letters() == [first]
    wrong = "invalid: data.amount Input should be a valid integer"
    assert service.command("replay", first["id"]) == {
        "replayed": 1,
        "dry_run": False,
        "ids": [first["id"]],
        "left_out": [],
        "letters": [
            {
                "id": first["id"],
                "failed": wrong,
                "published": True,
                "because": f"this version refuses it, too ({wrong}), so that it becomes a new dead letter",
            }
        ],
    }
    assert service.open_letters() == []
    service.wait(letters=1)
    [second] = service.open_letters()
    assert second["id"] != first["id"]
    assert second["replay_of"] == first["id"]
    shown = service.command("show", second["id"])
    assert shown["value"] == json.loads(BAD)
    assert shown["key"] == "default:c1"
    assert service.command("show", first["id"])["replays"] == 1
    assert {letter["state"] for letter in service.command("list", "--all")["items"]} == {"open", "replayed"}


def test_a_mended_event_is_stored_and_a_second_replay_changes_nothing(service: Service, tmp_path: Any) -> None:
    service.publish(BAD)
    service.wait(letters=1)
    [letter] = service.open_letters()
    file = tmp_path / "event.json"
    file.write_bytes(CliRunner().invoke(dead_letters_app, ["show", letter["id"], "--raw"]).stdout_bytes)
    assert file.read_bytes() == BAD
    assert "rejected again" in service.command("replay", letter["id"], "--value", str(file), status=2)

    file.write_bytes(GOOD)
    service.command("replay", letter["id"], "--value", str(file))
    service.wait(letters=0, facts=1)
    stored = service.fact()
    assert stored is not None
    assert stored["amount"] == 100
    relationships = list(service.database["relationships"].find())

    service.command("replay", letter["id"], "--value", str(file))
    service.settle()
    assert service.fact() == stored
    assert list(service.database["relationships"].find()) == relationships
    assert service.command("show", letter["id"])["replays"] == 2


def test_a_newer_event_stays_when_an_older_one_is_replayed(service: Service, tmp_path: Any) -> None:
    service.publish(event("e1", minute=0, amount="a lot"))
    service.publish(event("e2", minute=5, amount=500))
    service.wait(letters=1, facts=1)
    [letter] = service.open_letters()
    file = tmp_path / "event.json"
    file.write_bytes(event("e1", minute=0, amount=100))
    service.command("replay", letter["id"], "--value", str(file))
    service.settle()
    stored = service.fact()
    assert stored is not None
    assert (stored["amount"], stored["version"]["id"]) == (500, "e2")
    [relationship] = service.database["relationships"].find()
    assert relationship["count"] == 1


def test_replays_keep_the_order_of_the_log_and_obey_filters(service: Service) -> None:
    for n in range(30):
        service.publish(b"no json %d" % n)
    service.publish(event("e1", relation="r1", amount="a lot"))
    service.publish(b"{}", topic="providers")
    service.wait(letters=32)
    assert service.command("list", "--summary") == {"total": 32, "reasons": {"not_json": 30, "invalid": 2}}
    assert [one["reason"] for one in service.command("list", "--topic", "providers")["items"]] == ["invalid"]
    assert service.command("list", "--type", "relation.recorded", "--summary")["total"] == 1
    assert service.command("list", "--until", "1h", "--summary")["total"] == 0
    assert len(service.command("list", "--limit", "5")["items"]) == 5

    assert service.command("replay", "--reason", "not_json", "--since", "1h")["replayed"] == 30
    service.wait(letters=32)
    again = service.database["dead_letters"].find({"replay_of": {"$exists": True}}).sort("offset", 1)
    assert [one["value"] for one in again] == [b"no json %d" % n for n in range(30)]


def test_discarded_letters_are_no_longer_open(service: Service) -> None:
    service.publish(b"no json")
    service.publish(BAD)
    service.wait(letters=2)
    done = service.command("discard", "--reason", "not_json", "--reason-text", "a test message")
    assert done["discarded"] == 1
    [left] = service.open_letters()
    assert left["reason"] == "invalid"
    assert service.command("replay", "--since", "1h", "--dry-run")["ids"] == [left["id"]]
    shown = service.command("show", done["ids"][0])
    assert (shown["state"], shown["discard_reason"]) == ("discarded", "a test message")


def test_changes_are_left_out_of_a_replay(service: Service) -> None:
    service.publish(BAD)
    service.wait(letters=1)
    [letter] = service.open_letters()
    change = service.database["dead_letters"].find_one({"_id": letter["id"]})
    assert change is not None
    topic = service.topics.name("relation-changes")
    service.database["dead_letters"].insert_one({**change, "_id": f"{topic}/0/3", "topic": topic})
    done = service.command("replay", "--reason", "invalid")
    assert (done["ids"], done["left_out"]) == ([letter["id"]], [f"{topic}/0/3"])
    assert service.command("show", f"{topic}/0/3")["state"] == "open"


@pytest.fixture(params=["kafka-python", "librdkafka"])
def chosen(
    request: pytest.FixtureRequest, real_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """The service with either client."""
    assert real_settings.mongo is not None
    with connect(real_settings.mongo) as client:
        settings = real_settings.model_copy(update={"kafka_client": request.param})
        service = Service(settings, client[real_settings.database], monkeypatch)
        with closing(service):
            yield service


def test_a_message_that_kafka_holds_only_compressed_is_cut(
    chosen: Service, real_settings: Settings, tmp_path: Path
) -> None:
    topic, dead = chosen.topics.name("relations"), chosen.topics.name("dead-letters")
    # Of both the gzip is below Kafka's limit. The one is more than Kafka takes uncompressed, the other more than
    # MongoDB takes in a document.
    large = [event("e1", text="x" * 3_000_000), event("e2", text="x" * 17_000_000)]
    options = {"compression_type": "gzip", "max_request_size": 50_000_000, "acks": "all"}
    with closing(KafkaProducer(**connection(real_settings), **options)) as producer:
        places = [producer.send(topic, value, b"default:c1").get(PATIENCE_SECONDS) for value in large]
    chosen.publish(event("e3", amount=100))
    chosen.wait(letters=2, facts=1)

    # And all of it is published.
    deadline = Deadline()
    while chosen.database["outbox"].find_one():
        deadline.check("the outbox is not empty")
        chosen.runner.step(50)
    messages = {dict(r.headers)["kith-origin-record"]: r for r in read_topics(real_settings, dead)}
    for number, (value, place) in enumerate(zip(large, places, strict=True), 1):
        id = f"{topic}/{place.partition}/{place.offset}"
        message, digest = messages[id.encode()], hashlib.sha256(value).hexdigest()
        assert message.value == value[:KEPT_BYTES]
        assert dict(message.headers)[VALUE_BYTES] == str(len(value)).encode()
        assert dict(message.headers)[VALUE_SHA256] == digest.encode()
        shown = chosen.command("show", id)
        assert (shown["reason"], shown["event_id"]) == ("too_large", f"e{number}")
        assert shown["value"] == value[:KEPT_BYTES].decode()
        assert shown["cut"] == {"key_bytes": 10, "value_bytes": len(value), "headers": 0, "sha256": digest}
        assert f"offset {place.offset}" in shown["note"]

    # It is not replayed, but what is mended is.
    assert f"{len(value):,}" in chosen.command("show", id, "--raw", status=2)
    assert "--value" in chosen.command("replay", id, status=2)
    done = chosen.command("replay", "--reason", "too_large")
    assert (done["replayed"], len(done["left_out"])) == (0, 2)
    file = tmp_path / "event.json"
    file.write_bytes(event("e2", amount=100, relation="r2"))
    assert chosen.command("replay", id, "--value", str(file))["replayed"] == 1
    chosen.wait(letters=1, facts=2)


def test_an_unknown_id_is_named(service: Service) -> None:
    for command in (["show", "x/0/1"], ["replay", "x/0/1"], ["discard", "x/0/1", "--reason-text", "old"]):
        assert "x/0/1" in service.command(*command, status=2)
