"""What past the door can put into a topic: each message that is no event becomes a dead letter, and the next good
event passes. MongoDB is real; Kafka is too where its clients have a say."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from services.relations.projection import RelationsProjection
from services.relations.schema import COLLECTIONS
from shared.contracts.codec import encode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import event_key
from shared.contracts.topics import Topics
from shared.kafka.clients import open_publisher, open_reader
from shared.mongo.store import MongoStore, connect, prepare
from shared.runtime.protocols import Document, Message, Partition, Record
from shared.runtime.runner import Runner
from shared.settings import Settings
from tests.support import paths
from tests.support.builders import ARRIVAL_MS, STRENGTH, MemoryKith, recorded
from tests.support.relations_driver import MongoKith
from tests.support.waiting import PATIENCE_SECONDS, wait_for

EXAMPLES = [path.read_bytes() for path in sorted(paths.EXAMPLES.glob("*.json"))]
RECORDED = next(json.loads(raw) for raw in EXAMPLES if json.loads(raw)["type"] == "relation.recorded")


def wire(**data: Any) -> bytes:
    return json.dumps({**RECORDED, "data": {**RECORDED["data"], **data}}).encode()


#: Nothing of this is an event.
BAD: dict[str, bytes | None] = {
    "no value": None,
    "nothing": b"",
    "random bytes": bytes(range(256)),
    "not UTF-8": wire(text="x").replace(b'"x"', b'"\xff\xfe"'),
    "half a surrogate": wire(text="x").replace(b'"x"', rb'"\ud800"'),
    "truncated": wire()[:-1],
    "deep nesting": b"[" * 30_000,
    "deep nesting in a trait": wire(traits={"a": 0}).replace(b'{"a": 0}', b'{"a":' * 5_000 + b"0" + b"}" * 5_000),
    "not an object": b'["relation.recorded"]',
    "a number beyond every float": wire(amount=0).replace(b'"amount": 0', b'"amount": 1e400'),
    "an integer beyond 64 bits": wire(amount=10**30),
    "not a number": wire(traits={"a": 0}).replace(b'{"a": 0}', b'{"a": NaN}'),
    "NUL in an id": wire(relation_id="a\0b"),
    "NUL in a text": wire(text="a\0b"),
    "an override of the direction": wire(text="a\u202eb"),
    "an invisible character in an id": wire(consumer_id="a\u200bb"),
    "a name that begins with a dollar": wire(traits={"$set": 1}),
    "a name with a dot": wire(traits={"a.b": 1}),
    "an operator for a value": wire(consumer_id={"$gt": ""}),
    "a megabyte of text": wire(text="x" * 1_000_000),
    "a megabyte in an attribute of others": json.dumps({**RECORDED, "extra": "x" * 1_000_000}).encode(),
    "a list for an object": json.dumps({**RECORDED, "data": []}).encode(),
    "a boolean for a number": wire(amount=True, currency="EUR"),
    "the year 10000": json.dumps({**RECORDED, "time": "9999-12-31T23:59:59Z"}).encode(),
    "before 1970": json.dumps({**RECORDED, "time": "1969-12-31T23:59:59Z"}).encode(),
}


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """An example with some bytes cut out, exchanged or put in."""
    raw = bytearray(draw(st.sampled_from(EXAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, min(len(raw), start + 8)))
        raw[start:end] = draw(
            st.binary(max_size=8) | st.sampled_from([b"null", b"{}", b"[]", b"-1", b'"$"', b"1e999"])
        )
    return bytes(raw)


@st.composite
def misfit(draw: st.DrawFn) -> bytes:
    """An example one of whose values is any JSON."""
    fields = json.loads(draw(st.sampled_from(EXAMPLES)))
    part = fields["data"] if draw(st.booleans()) else fields
    texts = st.text(st.characters(codec="utf-8"), max_size=40) | st.sampled_from(["$where", "a.b", "\0", "\u2066"])
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
    values = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    )
    part[draw(st.sampled_from(sorted(part)) | texts)] = draw(values)
    return json.dumps(fields).encode()


anything = st.binary(max_size=200) | mangled() | misfit() | st.sampled_from(list(BAD.values()))


def reason(projection: RelationsProjection, value: bytes | None, topic: str = "kith.relations") -> str | None:
    """Why it is no event of the topic; None when it is one after all."""
    try:
        projection.decode(Record(Partition(topic, 0), 0, ARRIVAL_MS, None, value, ()))
    except InvalidEvent as error:
        return error.reason
    return None


def good(number: int) -> Message:
    event = recorded(f"good{number}", "2026-05-01T00:00:00Z", f"good{number}")
    return Message("kith.relations", event_key(event), encode(event))


@pytest.mark.parametrize("name", BAD)
def test_what_is_called_bad_is(name: str) -> None:
    projection = MemoryKith().projection
    assert reason(projection, BAD[name]) is not None
    assert reason(projection, wire()) is None


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(anything, st.none() | st.binary(max_size=30)), min_size=1, max_size=12))
def test_every_message_is_stored_or_a_dead_letter(
    mongo_database: Database[Document], bad: list[tuple[bytes | None, bytes | None]]
) -> None:
    for name in mongo_database.list_collection_names():
        mongo_database[name].delete_many({})
    kith = MongoKith(mongo_database)
    refused = {}
    for number, (value, key) in enumerate(bad):
        record = kith.memory.log.append(Message("kith.relations", key, value, 0))  # type: ignore[arg-type]
        if (why := reason(kith.memory.projection, value)) is not None:
            refused[f"{record.partition}/{record.offset}"] = (why, value)
        kith.memory.log.append(good(number)._replace(partition=0))
    kith.store([])
    letters = {letter["_id"]: (letter["reason"], letter["value"]) for letter in mongo_database.dead_letters.find()}
    assert refused.items() <= letters.items()
    assert mongo_database.relations.count_documents({"relation_id": {"$regex": "^good"}}) == len(bad)
    assert set(kith.memory.values("dead-letters")) >= {value or b"" for _, value in refused.values()}


@pytest.fixture(params=["kafka-python", "librdkafka"])
def chosen(request: pytest.FixtureRequest, real_settings: Settings) -> Settings:
    return real_settings.model_copy(update={"kafka_client": request.param})


def test_bad_input_through_kafka(chosen: Settings) -> None:
    """All of it in one partition, each followed by a good event."""
    topics = Topics(chosen.topic_prefix)
    topic = topics.name("relations")
    messages: list[Message] = []
    for number, value in enumerate(BAD.values()):
        messages.append(Message(topic, b"\xff\0", value, 0))  # type: ignore[arg-type]
        messages.append(good(number)._replace(topic=topic, partition=0))
    with closing(open_publisher(chosen)) as publisher:
        publisher.send(messages).result(PATIENCE_SECONDS)
    projection = RelationsProjection(topics, STRENGTH, chosen.max_future_seconds)
    with connect(chosen.mongo or "") as client:
        database = client[chosen.database]
        prepare(database, COLLECTIONS)
        runner = Runner(
            open_reader(chosen, "relations", projection.topics),
            MongoStore(database, COLLECTIONS),
            open_publisher(chosen),
            projection,
            owner="test",
            dead_letters=topics.name("dead-letters"),
        )
        with finishing(runner):
            position = f"relations@1/{Partition(topic, 0)}"

            def stored() -> bool:
                runner.step(50)
                found = database.positions.find_one({"_id": position}) or {}
                return found.get("next") == len(messages) and not database.outbox.find_one()

            wait_for("all of it", stored, pause=0.0)
        letters = {letter["offset"]: letter["reason"] for letter in database.dead_letters.find()}
        assert letters == {
            2 * number: reason(projection, value, topic) for number, value in enumerate(BAD.values())
        }
        assert database.relations.count_documents({}) == len(BAD)


@contextmanager
def finishing(runner: Runner) -> Iterator[None]:
    try:
        yield
    finally:
        stop = threading.Event()
        stop.set()
        runner.run(stop)
