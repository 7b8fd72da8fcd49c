"""Markers in personal data are looked for in every byte that Kith leaves behind.

Planted at the door, in an import and past the door; looked for in the files of Kafka and MongoDB, and, because
both compress, in every message and every document as their own clients give them, the oplog included; in logs,
dead letters, metrics and answers. A marker that is not personal shows that the search finds what is there.
"""

import contextlib
import json
import re
import secrets
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from services.cli.up import Stack, environment
from shared.contracts.topics import INPUTS, OUTPUTS, Topics
from shared.kafka.clients import open_publisher
from shared.mongo.store import connect
from shared.runtime.protocols import Message
from shared.settings import Settings
from shared.vault.open import vault_in
from tests.support.end_to_end import fetch, kith, post, run_kith, running, wait_until_drained
from tests.support.logs import read_topics
from tests.support.plain_http import request
from tests.support.waiting import PATIENCE_SECONDS

TIME = "2026-05-02T09:00:00Z"
MAPPING = """
[[source]]
path = "people.csv"
type = "consumer.upserted"
source = "import"
id = "who"
time = 2026-05-01T00:00:00Z
[source.fields]
consumer_id = "who"
"personal.name" = "name"
"personal.email" = "mail"
"location.city" = "city"
"""


WORD = re.compile(rb"m[0-9a-f]{16}")


class Markers:
    """Words and numbers that are nowhere by chance; random, so that compression leaves them whole."""

    def __init__(self) -> None:
        self.secret: dict[str, bytes] = {}
        self.numbers: dict[str, float] = {}

    def word(self, where: str) -> str:
        word = f"m{secrets.token_hex(8)}"
        self.secret[where] = word.encode()
        return word

    def degrees(self, where: str) -> float:
        self.numbers[where] = number = round(40 + secrets.randbelow(10**9) / 10**9, 9)
        return number

    def needles(self, prefix: str = "") -> dict[str, bytes]:
        """As text and, of numbers, as BSON has them."""
        found = dict(self.secret)
        for where, number in self.numbers.items():
            found[where] = repr(number).encode()
            found[f"{where} in BSON"] = struct.pack("<d", number)
        return {where: needle for where, needle in found.items() if where.startswith(prefix)}

    def found_in(self, data: bytes, prefix: str = "") -> list[str]:
        # All words at once: there are many, and much to look through. No two can overlap.
        words = set(WORD.findall(data))
        needles = self.needles(prefix).items()
        return [where for where, needle in needles if needle in (words if WORD.fullmatch(needle) else data)]


def consumer(id: str, marks: Markers, where: str) -> dict[str, Any]:
    return {
        "consumer_id": id,
        "personal": {
            "name": marks.word(f"{where}: name"),
            "email": f"{marks.word(f'{where}: email')}@example.org",
            "phone": f"+41 {marks.word(f'{where}: phone')} 791",
        },
        "location": {
            "country": "FR",
            "city": marks.word(f"{where}: city"),
            "lat": marks.degrees(f"{where}: lat"),
            "lon": marks.degrees(f"{where}: lon"),
        },
    }


def envelope(type: str, id: str, data: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": id, "source": "shop", "type": type, "time": TIME, "data": data}


def relation(id: str, consumer_id: str, **data: Any) -> dict[str, Any]:
    base = {"relation_id": id, "kind": "review", "consumer_id": consumer_id, "provider_id": "p1"}
    return envelope("relation.recorded", f"e-{id}", {**base, **data})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> "World":
    folder = tmp_path_factory.mktemp("markers")
    ports = {f"{service}_port": 0 for service in ("ingest", "relations", "analytics", "privacy")}
    world = World(folder)
    with running(Settings(**ports, partitions=2, log_level="debug"), folder) as stack:  # type: ignore[arg-type]
        world.fill(stack)
    return world


class World:
    """A stack that has seen all kinds of personal data, and what was found in it; by now it is stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marks, self.open = Markers(), Markers()
        self.answers: list[str] = []
        self.shown = ""
        self.messages: dict[str, bytes] = {}
        self.documents: dict[str, bytes] = {}
        self.metrics = ""
        self.plaintext: dict[str, int] = {}

    def fill(self, stack: Stack) -> None:
        settings, marks = stack.settings, self.marks
        # Not personal: so these must be found.
        city = self.open.word("open: region")
        upserted = consumer("door", marks, "door")
        upserted["location"]["region"] = city
        events = [
            envelope("consumer.upserted", "d1", upserted),
            relation("d2", "door", text=marks.word("door: text"), traits={"k": self.open.word("open: trait")}),
            envelope(
                "relation.retracted",
                "d3",
                {
                    "relation_id": "d9",
                    "consumer_id": "door",
                    "provider_id": "p1",
                    "reason": marks.word("door: reason"),
                },
            ),
        ]
        self._say(post(f"{stack.addresses['ingest']}/v1/events", events), 202)
        self._say(self._binary(stack, consumer("binary", marks, "door in binary mode")), 202)
        twice = json.dumps(relation("d4", "door", text="open")).replace(
            '"text"', f'"text": "{marks.word("door: second member")}", "text"'
        )
        self._say(self._raw(stack, twice), 400)
        bad = consumer("bad", marks, "door: refused")
        bad["personal"]["x"] = {"nested": marks.word("door: nested")}
        bad[marks.word("door: a field's name")] = marks.word("door: an unknown field")
        self._say(post(f"{stack.addresses['ingest']}/v1/events", [envelope("consumer.upserted", "d5", bad)]), 400)
        self._import(settings)
        self._past_the_door(settings)
        with connect(settings.mongo or "") as client:
            database = client[settings.database]
            wait_until_drained(settings, database)
            self._look(stack)
            found = {each["_id"]: each["count"] for each in database["findings"].find()}
            self.plaintext = {name: count for name, count in found.items() if name.startswith("plaintext/")}
            vault = vault_in(settings, database)
            assert vault is not None
            self.shown = fetch(f"{stack.addresses['relations']}/v1/consumers/door").text
            client.admin.command("fsync")
            self.documents = dump(client)
        self.messages = messages_of(settings)
        for service in ("ingest", "relations", "analytics"):
            with contextlib.suppress(httpx.HTTPStatusError):
                self.metrics += fetch(f"{stack.addresses[service]}/metrics").text

    def _say(self, answer: httpx.Response, status: int) -> None:
        assert answer.status_code == status, answer.text
        self.answers.append(answer.text)

    def _binary(self, stack: Stack, data: Any) -> httpx.Response:
        headers = {
            f"ce-{name}": str(value)
            for name, value in envelope("consumer.upserted", "b1", None).items()
            if name != "data"
        }
        url = f"{stack.addresses['ingest']}/v1/events"
        return request("POST", url, json=data, headers={**stack.headers(), **headers})

    def _raw(self, stack: Stack, body: str) -> httpx.Response:
        headers = {**stack.headers(), "Content-Type": "application/cloudevents+json"}
        url = f"{stack.addresses['ingest']}/v1/events"
        return request("POST", url, content=body.encode(), headers=headers)

    def _import(self, settings: Settings) -> None:
        # Outside the folder that is searched: whoever imports has the file.
        source = self.folder.with_name(self.folder.name + "-source")
        source.mkdir()
        rows = [
            [f"i{n}", *(self.marks.word(f"import: {what} {n}") for what in ("name", "mail", "city"))]
            for n in range(20)
        ]
        lines = ["who,name,mail,city", *(",".join(row) for row in rows), "broken,row"]
        (source / "people.csv").write_text("\n".join(lines) + "\n")
        (source / "people.toml").write_text(MAPPING)
        done = run_kith("import", str(source / "people.toml"), "--json", **environment(settings))
        assert json.loads(done)["accepted"] == 20
        self.answers.append(done)

    def _past_the_door(self, settings: Settings) -> None:
        topics, marks = Topics(settings.topic_prefix), self.marks
        good = [
            ("consumers", envelope("consumer.upserted", "x1", consumer("past", marks, "past"))),
            ("relations", relation("x2", "past", text=marks.word("past: text"))),
        ]
        broken = [
            (
                "consumers",
                envelope(
                    "consumer.upserted", "x3", {"consumer_id": "past", "personel": marks.word("past: broken")}
                ),
            ),
            ("relations", relation("x4", "past", amount="much", text=marks.word("past: refused"))),
            ("providers", envelope("consumer.upserted", "x5", consumer("past", marks, "past: in another topic"))),
        ]
        messages = [
            Message(topics.name(short), b"default:past", json.dumps(event).encode())
            for short, event in [*good, *broken]
        ]
        messages.append(Message(topics.name("consumers"), b"default:past", marks.word("past: no JSON").encode()))
        messages.append(Message(topics.name("consumers"), None, b"\xff" + marks.word("past: no text").encode()))
        publisher = open_publisher(settings)
        publisher.send(messages).result(PATIENCE_SECONDS)
        publisher.close()

    def _look(self, stack: Stack) -> None:
        """Reads, good and bad: what is shown to whoever may see it must not stay in a log or a cache file."""
        relations = stack.addresses["relations"]
        mail = self.marks.secret["door: email"].decode()
        for spelled in (f"{mail}@example.org", f"{mail.upper()}@EXAMPLE.org"):
            found = fetch(f"{relations}/v1/consumers", email=spelled).json()["items"]
            assert [item["consumer_id"] for item in found] == ["door"]
        assert fetch(f"{relations}/v1/relations", consumer_id="past").json()["items"][0]["text"]
        fetch(f"{relations}/v1/relations", consumer_id=f" {mail}")
        env = environment(stack.settings)
        self.answers.append(run_kith("dead-letters", "list", "--json", **env))
        self.answers.append(run_kith("status", "--json", **env))
        with kith("explain", "d2", "--json", **env) as process:
            self.answers.append(process.communicate(timeout=PATIENCE_SECONDS)[0])


def dump(client: "MongoClient[dict[str, Any]]") -> dict[str, bytes]:
    """Every document of every collection as BSON, those of MongoDB's own databases included: among them the oplog,
    and with it everything that was ever written."""
    found = {}
    for name in client.list_database_names():
        for collection in client[name].list_collection_names():
            raw: Any = client[name].get_collection(collection, CodecOptions(document_class=RawBSONDocument))
            # Views and the like, of MongoDB's own, cannot be read.
            with contextlib.suppress(OperationFailure):
                found[f"{name}.{collection}"] = b"".join(each.raw for each in raw.find())
    return found


def messages_of(settings: Settings) -> dict[str, bytes]:
    """Every message of every topic: key, value and headers."""
    topics = Topics(settings.topic_prefix)
    names = [topics.name(short) for short in (*INPUTS, *OUTPUTS)]
    found = dict.fromkeys(names, b"")
    for record in read_topics(settings, *names):
        found[record.partition.topic] += repr((record.key, record.headers)).encode() + (record.value or b"")
    return found


def files(folder: Path) -> Iterable[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            # Kafka makes its indexes long before they are full.
            yield str(path.relative_to(folder)), path.read_bytes().rstrip(b"\0")


INPUT_TOPICS = tuple(f"kith.{short}" for short in INPUTS)


def test_the_search_finds_what_is_there(world: World) -> None:
    """Else all that follows says nothing."""
    assert world.open.found_in(b"".join(world.messages.values())) == ["open: region", "open: trait"]
    assert world.open.found_in(world.documents["kith.consumers"]) == ["open: region"]
    assert world.open.found_in(world.documents["local.oplog.rs"])
    assert any(world.open.found_in(data) for name, data in files(world.folder) if name.startswith("mongo"))
    assert any(world.open.found_in(data) for name, data in files(world.folder) if name.startswith("kafka"))
    past = b"".join(world.messages[name] for name in INPUT_TOPICS)
    assert set(world.marks.found_in(past, "past")) >= {"past: text", "past: refused", "past: lat", "past: no text"}
    assert len(world.marks.needles()) > 90


def test_no_message_holds_a_marker_but_what_came_past_the_door_in_its_own_topic(world: World) -> None:
    for topic, data in world.messages.items():
        found = world.marks.found_in(data)
        assert [where for where in found if not where.startswith("past")] == [], topic
        assert topic in INPUT_TOPICS or not found, topic


def test_no_document_of_any_collection_holds_a_marker(world: World) -> None:
    assert {"kith.dead_letters", "kith.consumers", "kith.relations", "kith.audit", "local.oplog.rs"} <= set(
        world.documents
    )
    for collection, data in world.documents.items():
        assert world.marks.found_in(data) == [], collection


def test_no_file_holds_a_marker_but_the_segments_of_the_topics_that_were_sent_to(world: World) -> None:
    seen = 0
    for name, data in files(world.folder):
        found = world.marks.found_in(data)
        own = name.startswith("kafka") and any(f"{topic}-" in name for topic in INPUT_TOPICS)
        assert [where for where in found if not (own and where.startswith("past"))] == [], name
        seen += 1
    assert seen > 50


def test_logs_answers_and_metrics_hold_no_marker(world: World) -> None:
    logs = {name: data for name, data in files(world.folder) if name.startswith("log")}
    assert {"log/ingest.log", "log/relations.log", "log/analytics.log"} <= logs.keys()
    assert all(logs[f"log/{service}.log"] for service in ("ingest", "relations"))
    assert b"dead letter" in logs["log/relations.log"]
    for text in [*world.answers, world.metrics]:
        assert world.marks.found_in(text.encode()) == []
    assert "kith_plaintext_events_total" in world.metrics


def test_who_may_sees_it_all(world: World) -> None:
    door = {
        where
        for where in world.marks.needles("door: ")
        if where.split(": ")[1] in ("name", "email", "phone", "city", "lat", "lon")
    }
    assert set(world.marks.found_in(world.shown.encode())) == door


def test_plain_text_past_the_door_is_a_finding(world: World) -> None:
    assert world.plaintext == {"plaintext/kith.consumers": 1, "plaintext/kith.relations": 1}
    assert json.loads(world.answers[-2])["plaintext"] == {"kith.consumers": 1, "kith.relations": 1}
