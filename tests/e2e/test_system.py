"""The whole system: three processes, real Kafka and MongoDB, and an independent oracle for what must be stored."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import orjson
import pytest
from pymongo.database import Database

from services.cli.up import Stack
from services.demo.emitter import Emitter
from services.demo.market import Emission, market
from services.demo.oracle import Expected, Oracle
from shared.contracts.services import CORE, CORE_PROJECTIONS
from shared.contracts.topics import CHANGES, Topics
from shared.kafka.python_client.publisher import KafkaPublisher
from shared.letters.sealing import with_values
from shared.runtime.protocols import Document, Message
from shared.settings import Settings
from shared.vault.dead_letters import opened, sealed_for
from shared.vault.open import vault_in
from tests.support.end_to_end import (
    behind,
    differences,
    differing,
    ends,
    everything,
    fetch,
    fields,
    get,
    message,
    post,
    values,
    wait_ready,
    wait_until_drained,
)
from tests.support.status import read_status
from tests.support.waiting import PATIENCE_SECONDS, wait_for

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def relation(id: str, time: str, relation_id: str, **data: Any) -> dict[str, Any]:
    base = {"relation_id": relation_id, "kind": "view", "consumer_id": "ann", "provider_id": "café"}
    return fields("relation.recorded", id, time, {**base, **data})


def purchase(id: str, time: str, relation_id: str, amount: int, **data: Any) -> dict[str, Any]:
    return relation(id, time, relation_id, kind="purchase", amount=amount, currency="EUR", **data)


def retraction(id: str, time: str, relation_id: str) -> dict[str, Any]:
    return fields("relation.retracted", id, time, {"relation_id": relation_id, "consumer_id": "ann"})


#: In this order over HTTP …
POSTED = [
    purchase("e1", "2026-03-01T10:00:00Z", "r1", 1299),
    fields("consumer.upserted", "e2", "2026-03-01T00:00:00Z", {"consumer_id": "ann", "personal": {"name": "Ann"}}),
    purchase("e1", "2026-03-01T10:00:00Z", "r1", 1299),
    relation("e3", "2026-03-02T11:00:00Z", "r2", kind="review", rating=4, text="très bon\n"),
    relation("e4", "2026-03-02T12:00:00Z", "r3", provider_id="bar"),
    purchase("e5", "2026-03-05T10:00:00Z", "r1", 999, occurred_at="2026-03-01T10:00:00Z"),
    relation("e6", "2026-03-09T11:00:00Z", "r4", consumer_id="bob"),
]
#: … and then straight into Kafka: late and outdated, repeated, retracted before it is recorded.
PUBLISHED = [
    purchase("e7", "2026-03-04T10:00:00Z", "r1", 5555, occurred_at="2026-03-01T10:00:00Z"),
    relation("e3", "2026-03-02T11:00:00Z", "r2", kind="review", rating=4, text="très bon\n"),
    retraction("e8", "2026-03-06T10:00:00Z", "r3"),
    retraction("e9", "2026-03-06T10:00:00Z", "r5"),
    purchase("e10", "2026-03-03T10:00:00Z", "r5", 100, provider_id="bar"),
    purchase("e11", "2026-03-03T10:00:00Z", "r6", 200, provider_id="bar"),
    fields("provider.upserted", "e12", "2026-03-01T00:00:00Z", {"provider_id": "café", "name": "Café"}),
    fields(
        "provider.upserted", "e13", "2026-02-01T00:00:00Z", {"provider_id": "café", "name": "Old", "traits": {}}
    ),
    fields("provider.closed", "e14", "2026-04-01T00:00:00Z", {"provider_id": "bar"}),
    relation("e15", "2026-03-09T11:00:00Z", "r1", consumer_id="bob") | {"tenant": "acme"},
]


@pytest.fixture(scope="module")
def oracle(stack: Stack, database: Database[Document], topics: Topics) -> Oracle:
    """What the events by hand must lead to. They are all stored then."""
    oracle = Oracle()
    for event in (*POSTED, *PUBLISHED):
        oracle.add(event)
    answer = post(f"{stack.addresses['ingest']}/v1/events", json=POSTED)
    assert (answer.status_code, answer.json()) == (202, {"accepted": len(POSTED), "rejected": []})
    publish(stack.settings, [message(event, topics) for event in PUBLISHED])
    wait_until_drained(stack.settings, database)
    return oracle


def publish(settings: Settings, messages: list[Message]) -> None:
    publisher = KafkaPublisher(settings)
    publisher.send(messages).result(PATIENCE_SECONDS)
    publisher.close()


def test_what_is_stored_is_what_an_independent_fold_expects(
    stack: Stack, database: Database[Document], oracle: Oracle
) -> None:
    assert differences(oracle, stack.settings, database) == []
    assert set(oracle.expected().facts) == {
        ("default", "ann", "r1"),
        ("default", "ann", "r2"),
        ("default", "ann", "r6"),
        ("default", "bob", "r4"),
        ("acme", "bob", "r1"),
    }


@pytest.mark.usefixtures("oracle")
def test_the_relations_api_answers(stack: Stack) -> None:
    url = stack.addresses["relations"]
    assert get(f"{url}/v1/consumers/ann") == {"consumer_id": "ann", "personal": {"name": "Ann"}}
    assert get(f"{url}/v1/providers/café") == {
        "provider_id": "café",
        "name": "Café",
        "closed": False,
    }
    assert get(f"{url}/v1/providers/bar")["closed"] is True
    page = get(f"{url}/v1/relations", consumer_id="ann", limit=2)
    assert [item["relation_id"] for item in page["items"]] == ["r6", "r2"]
    rest = get(f"{url}/v1/relations", consumer_id="ann", limit=2, cursor=page["next"])
    assert [(item["relation_id"], item["amount"]) for item in rest["items"]] == [("r1", 999)]
    assert rest["next"] is None
    (review,) = get(f"{url}/v1/relations", provider_id="café", kind="review")["items"]
    assert (review["text"], review["event"]) == ("très bon\n", {"source": "shop", "id": "e3"})
    listed = get(f"{url}/v1/relationships", provider_id="café")["items"]
    assert [(item["consumer_id"], item["count"]) for item in listed] == [("ann", 2), ("bob", 1)]
    between = get(f"{url}/v1/relationships/ann/café")
    assert (between["count"], between["amount"]) == (2, {"EUR": 999})
    assert (between["rating_count"], between["rating_sum"]) == (1, 4)
    assert (between["first"], between["last"]) == ("2026-03-01T10:00:00Z", "2026-03-02T11:00:00Z")
    assert [item["relation_id"] for item in between["evidence"]] == ["r1", "r2"]
    assert sum(kind["share"] for kind in between["kinds"].values()) == pytest.approx(1)
    assert get(f"{url}/v1/relationships/bob/café", "acme")["count"] == 1
    assert fetch(f"{url}/v1/consumers/nobody").status_code == 404


@pytest.mark.usefixtures("oracle")
def test_the_analytics_api_answers(stack: Stack) -> None:
    url = stack.addresses["analytics"]
    days = get(f"{url}/v1/aggregates", by="provider", key="café", bucket="day")["items"]
    assert [(d["bucket"], d["count"], d["amount"], d["rating_sum"], d["consumers"]) for d in days] == [
        ("2026-03-01", 1, {"EUR": 999}, 0, 1),
        ("2026-03-02", 1, {}, 4, 1),
        ("2026-03-09", 1, {}, 0, 1),
    ]
    hours = get(f"{url}/v1/aggregates", by="kind", key="purchase", bucket="hour")["items"]
    assert [(hour["bucket"], hour["amount"]) for hour in hours] == [
        ("2026-03-01T10:00:00Z", {"EUR": 999}),
        ("2026-03-03T10:00:00Z", {"EUR": 200}),
    ]
    top = get(f"{url}/v1/top", by="provider", measure="amount", currency="EUR")["items"]
    assert [(item["key"], item["value"]) for item in top] == [("café", 999), ("bar", 200)]
    top = get(f"{url}/v1/top", by="provider", measure="consumers")["items"]
    assert [(item["key"], item["value"]) for item in top] == [("café", 2), ("bar", 1)]
    assert get(f"{url}/v1/aggregates", "acme", by="total")["items"][0]["count"] == 1


def test_what_cannot_be_accepted_is_a_dead_letter_with_its_reason(
    stack: Stack, database: Database[Document], topics: Topics, oracle: Oracle
) -> None:
    good = relation("ok", "2026-03-01T00:00:00Z", "r1")
    relations, consumers = topics.name("relations"), topics.name("consumers")
    rating = relation("bad", "2026-03-01T00:00:00Z", "r1", rating=101) | {"tenant": "acme"}
    bad: list[tuple[str, str, bytes]] = [
        ("not_json", relations, b"{"),
        ("not_json", relations, b""),
        ("invalid", relations, orjson.dumps(rating)),
        ("unknown_type", relations, orjson.dumps({**good, "type": "relation.liked"})),
        ("unknown_version", relations, orjson.dumps({**good, "dataversion": 9})),
        ("wrong_topic", consumers, orjson.dumps(good)),
        ("in_the_future", relations, orjson.dumps(relation("late", "2199-01-01T00:00:00Z", "r1"))),
        ("too_large", relations, orjson.dumps({**good, "note": "x" * 40_000})),
    ]
    messages = [Message(topic, b"default:ann", value) for _, topic, value in bad]
    foreign = {**good, "type": "relation.changed", "tenant": "elsewhere"}
    changes = topics.name("relation-changes")
    publish(stack.settings, [*messages, Message(changes, b"k", orjson.dumps(foreign), 0)])
    wait_until_drained(stack.settings, database)
    vault = vault_in(stack.settings, database)
    assert vault is not None
    sealed = list(database.dead_letters.find({"service": "relations"}))
    assert not {letter["value"] for letter in sealed} & {message.value for message in messages}
    letters = {letter["value"]: letter for letter in with_values(sealed, vault)}
    assert {value: (letter["reason"], letter["topic"]) for value, letter in letters.items()} == {
        one.value: (reason, one.topic) for one, (reason, _, _) in zip(messages, bad, strict=True)
    }
    invalid = next(letter for letter in letters.values() if letter["reason"] == "invalid")
    assert (invalid["field"], invalid["event_id"], invalid["tenant"]) == ("data.rating", "bad", "acme")
    # Analytics and intelligence both read the changes: whichever is first, there is one letter of the record.
    (letter,) = database.dead_letters.find({"topic": changes})
    assert letter["reason"] == "invalid"
    reasons = Counter(reason for reason, _, _ in bad) + Counter(["invalid"])
    assert read_status(stack.settings, database).dead_letters == reasons
    # In the topic it may stand twice, if both have met it at the same moment.
    dead = list(
        {
            value: (headers, key, value)
            for headers, key, value in values(stack.settings, topics.name("dead-letters"))
        }.values()
    )
    assert Counter(headers["kith-reason"].decode() for headers, _, _ in dead) == reasons
    told = set()
    for headers, _, value in dead:
        if (owner := sealed_for(value, tuple(headers.items()))) is not None:
            value = opened(value, owner, vault.keys(owner[0], [owner[1]])[owner[1]]) or b""
        told.add(value)
    assert told == {*(m.value for m in messages), orjson.dumps(foreign)}
    assert differences(oracle, stack.settings, database) == [], "a bad event has changed something"


def test_the_door_says_what_it_does_not_take(stack: Stack, database: Database[Document], oracle: Oracle) -> None:
    letters = database.dead_letters.count_documents({})
    bad = relation("bad", "2026-03-01T00:00:00Z", "r1", rating=101)
    mixed = [relation("e3b", "2026-03-01T00:00:00Z", "r1", consumer_id="eve"), bad]
    answer = post(f"{stack.addresses['ingest']}/v1/events", json=mixed)
    (rejected,) = answer.json()["rejected"]
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert (rejected["index"], rejected["id"], rejected["field"]) == (1, "bad", "data.rating")
    oracle.add(mixed[0])
    wait_until_drained(stack.settings, database)
    assert differences(oracle, stack.settings, database) == []
    assert database.dead_letters.count_documents({}) == letters


def stored(database: Database[Document], service: str) -> int:
    """How many messages a service has stored."""
    return sum(p.get("next") or 0 for p in database.positions.find({"_id": {"$regex": f"^{service}@"}}))


def kill_while_it_works(stack: Stack, database: Database[Document], service: str, at: int) -> bool:
    """``kill -9`` as soon as the service has stored so many messages. Whether others were waiting."""
    wait_for(f"{service} at work", lambda: stored(database, service) >= at)
    stack.services[service].kill()
    in_the_middle = service in behind(stack.settings, database)
    stack.services[service].start()
    return in_the_middle


def test_kill_9_in_the_middle_of_a_load_loses_and_repeats_nothing(
    stack: Stack, database: Database[Document]
) -> None:
    oracle, events, all_away = Oracle(), market(5_000, 7, NOW, "load"), threading.Event()

    def in_two_halves() -> Iterator[Emission]:
        yield from islice(events, 2_500)
        all_away.wait(PATIENCE_SECONDS)
        yield from events

    ingest, headers = stack.addresses["ingest"], stack.headers("load")
    emitter = Emitter(ingest, in_two_halves(), oracle.add, rate=1_500, headers=headers)
    before = {service: stored(database, service) for service in ("relations", "analytics")}
    emitter.start()
    struck = [
        kill_while_it_works(stack, database, "relations", before["relations"] + 500),
        kill_while_it_works(stack, database, "analytics", before["analytics"] + 1),
    ]
    wait_for("the first half", lambda: emitter.sent == 2_500)
    for service in before:
        stack.services[service].kill()
    before = {service: stored(database, service) for service in before}
    all_away.set()
    emitter.finish()
    for service in before:
        stack.services[service].start()
    # Both have a backlog now: the next two crashes come while they work it off.
    struck += [kill_while_it_works(stack, database, service, at + 1) for service, at in before.items()]
    assert sum(struck) >= 2, "the crashes came when all was done"
    for service in ("relations", "analytics"):
        wait_ready(stack.addresses[service])
    wait_until_drained(stack.settings, database)
    assert emitter.surprises == []
    assert emitter.sent == 5_000
    assert differences(oracle, stack.settings, database) == []
    answers_agree(stack, oracle.expected())


def answers_agree(stack: Stack, expected: Expected) -> None:
    """The APIs tell of a market what the oracle expects."""
    counts = Counter(fact["provider_id"] for fact in expected.facts.values())
    ranking = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    top = get(f"{stack.addresses['analytics']}/v1/top", "load", by="provider", measure="count", limit=10)
    assert [(item["key"], item["value"]) for item in top["items"]] == ranking
    for key, document in sorted(expected.relationships.items(), key=lambda item: -item[1]["count"])[:10]:
        found = get(f"{stack.addresses['relations']}/v1/relationships/{key[1]}/{key[2]}", "load")
        assert found["count"] == document["count"]


def test_sigterm_under_load_ends_every_service_well(stack: Stack, database: Database[Document]) -> None:
    oracle = Oracle()
    emitter = Emitter(
        stack.addresses["ingest"], market(1_500, 8, NOW, "stop"), oracle.add, headers=stack.headers("stop")
    )
    emitter.start()
    emitter.finish()
    processes = [stack.services[name] for name in ("relations", "analytics", "ingest")]
    for process in processes:
        process.ask_to_stop()
    wait_for("the end of all services", lambda: not any(process.running for process in processes))
    assert [process.returncode for process in processes] == [0, 0, 0]
    for process in processes:
        process.start()
    for name in CORE:
        wait_ready(stack.addresses[name])
    wait_until_drained(stack.settings, database)
    assert differences(oracle, stack.settings, database) == []


def test_a_restart_of_everything_changes_nothing(
    stack: Stack, database: Database[Document], topics: Topics, oracle: Oracle
) -> None:
    logs = [topics.name(short) for short in (*CHANGES.values(), "dead-letters")]
    before, before_ends = everything(database), ends(stack.settings, logs)
    epochs = {position["_id"]: position["epoch"] for position in database.positions.find()}
    folded = sum(len(spec.folds) for spec in CORE_PROJECTIONS.values())
    assert len(epochs) == 2 * folded, "two partitions of each topic that a service folds"
    for process in stack.services.values():
        process.stop()
    for process in stack.services.values():
        process.start()
    wait_for(
        "every partition's new owner",
        lambda: all(p["epoch"] > epochs[p["_id"]] for p in database.positions.find()),
    )
    for name in CORE:
        wait_ready(stack.addresses[name])
    wait_until_drained(stack.settings, database)
    assert differing(before, everything(database)) == {}
    assert ends(stack.settings, logs) == before_ends
    assert differences(oracle, stack.settings, database) == []
