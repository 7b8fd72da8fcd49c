"""Dead letters of messages that never reached Kafka."""

import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.door import Door
from services.rabbitmq.judging import Bad, judge
from services.rabbitmq.letters import letters_of, record_of
from services.rabbitmq.protocols import Delivery, Properties
from services.rabbitmq.schema import COLLECTIONS
from shared.contracts.errors import InvalidEvent
from shared.contracts.limits import MAX_BODY_BYTES
from shared.contracts.topics import Topics
from shared.letters.fate import fate
from shared.letters.letter import replayable
from shared.runtime.protocols import Document
from shared.testing.validators import violations
from shared.vault.dead_letters import MARK, sealed_for
from tests.support.vault import memory_vault

BODY = b'{"specversion":"1.0","id":"e1","type":"relation.recorded","tenant":"other","data":{"consumer_id":"c1"}}'
ERROR = InvalidEvent("wrong_tenant", "is not the tenant of the queue", "tenant")
PROPERTIES = Properties("application/json", None, "m1", None, None, {"ce-n": 7, "raw": b"\xff"})


def bad(body: bytes = BODY) -> Bad:
    return Bad(body, PROPERTIES, ERROR)


def test_a_redelivery_is_the_same_letter_and_another_message_is_another() -> None:
    first, again = record_of("orders", bad(), 1), record_of("orders", bad(), 2)
    assert (first.partition, first.offset) == (again.partition, again.offset)
    others = (
        record_of("orders", bad(BODY + b" "), 1),
        record_of("orders", Bad(BODY, Properties(message_id="m2"), ERROR), 1),
        record_of("returns", bad(), 1),
    )
    assert len({(each.partition, each.offset) for each in (first, *others)}) == 4


def test_a_letter_has_the_message_the_reason_and_the_tenant_of_the_queue() -> None:
    outcome = letters_of("orders", "acme", [bad()], 5, "kith.dead-letters", None)
    [write] = outcome.writes
    assert write.after is not None
    assert write.after["tenant"] == "acme"
    assert (write.after["reason"], write.after["field"], write.after["topic"]) == (
        "wrong_tenant",
        "tenant",
        "rabbitmq/orders",
    )
    assert write.after["value"] == BODY
    assert {"name": "message-id", "value": b"m1"} in write.after["headers"]
    [spec] = COLLECTIONS.values()
    assert not list(violations(spec.validator, {"_id": write.id, **write.after}))
    [message] = outcome.messages
    assert (message.topic, message.value) == ("kith.dead-letters", BODY)


def test_where_events_state_their_tenant_so_does_the_letter() -> None:
    [write] = letters_of("orders", "*", [bad()], 5, "kith.dead-letters", None).writes
    assert write.after is not None
    assert write.after["tenant"] == "other"


def test_it_is_sealed_under_a_key_of_the_tenant_of_the_queue() -> None:
    for tenant, owner in (("acme", ("acme", "")), ("*", ("other", "c1")), ("other", ("other", "c1"))):
        [write] = letters_of("orders", tenant, [bad()], 5, "kith.dead-letters", memory_vault()).writes
        assert write.after is not None
        assert write.after["value"].startswith(MARK)
        headers = tuple((each["name"], each["value"]) for each in write.after["headers"])
        assert sealed_for(write.after["value"], headers) == owner


def test_it_is_not_replayed_as_it_is_and_says_what_to_do() -> None:
    [write] = letters_of("orders", "acme", [bad()], 5, "kith.dead-letters", None).writes
    assert write.after is not None
    letter = {"_id": write.id, **write.after}
    assert not replayable(letter, Topics())
    told = fate(letter, False, Topics())
    assert "never reached Kafka" in told.because
    assert f"replay {write.id} --value" in told.because


DATA = {"consumer_id": "ada", "personal": {"email": "ada@x.org"}}
#: An attribute that no event has, and one whose value is none of its own.
FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "data": ({}, {"persnal": {"name": "Ada"}}),
    "time": ({"time": "yesterday"}, {}),
    "type": ({"type": "consumer.upsetted"}, {}),
    "id": ({"id": 5.5}, {}),
    "name": ({"Name": "x"}, {"consumer": 1}),
}


def message(mode: str, attributes: dict[str, Any], data: dict[str, Any], packed: bool) -> Delivery:
    structured = {**attributes, "data": data}
    encoded = base64.b64encode(json.dumps(data).encode()).decode()
    messages: dict[str, tuple[Any, str | None, dict[str, object]]] = {
        "structured": (structured, "application/cloudevents+json", {}),
        "base64": ({**attributes, "data_base64": encoded}, "application/cloudevents+json", {}),
        "contradicted": (structured, "application/cloudevents+json", {"ce-subject": "s"}),
        "batched": ([structured], "application/cloudevents-batch+json", {}),
        "plain": (structured, None, {}),
        "array": ([structured], None, {}),
        "binary": (data, "application/json", {f"cloudEvents:{name}": it for name, it in attributes.items()}),
        "no colon": (data, None, {f"cloudEvents_{name}": it for name, it in attributes.items()}),
        "no JSON": (structured, "text/xml", {}),
    }
    body, content_type, headers = messages[mode]
    raw = json.dumps(body).encode()
    encoding = "gzip" if packed else None
    properties = Properties(content_type, encoding, "m1", None, None, headers)
    return Delivery(1, gzip.compress(raw, mtime=0) if packed else raw, properties, False)


def letter_of(one: Delivery, tenant: str) -> Document:
    found = judge(
        Door(Topics(), 86_400), "orders", tenant, [one], datetime(2026, 6, 1, tzinfo=UTC), MAX_BODY_BYTES
    )
    [write] = letters_of("orders", tenant, found.bad(), 5, "kith.dead-letters", memory_vault()).writes
    assert write.after is not None
    assert write.after["value"].startswith(MARK)
    return write.after


def owner(letter: Document) -> tuple[str, str] | None:
    return sealed_for(letter["value"], tuple((each["name"], each["value"]) for each in letter["headers"]))


MODES = ["structured", "base64", "contradicted", "batched", "plain", "array", "binary", "no colon", "no JSON"]


@given(
    st.sampled_from(MODES),
    st.sampled_from(sorted(FAULTS)),
    st.sampled_from([None, "acme", "other"]),
    st.sampled_from(["*", "acme"]),
    st.booleans(),
)
def test_erasing_a_consumer_reaches_the_letter_in_every_mode(
    mode: str, fault: str, stated: str | None, queue: str, packed: bool
) -> None:
    attributes = {"specversion": "1.0", "id": "e1", "source": "s", "type": "consumer.upserted"}
    attributes |= {"time": "2026-05-01T00:00:00Z", **({} if stated is None else {"tenant": stated})}
    faulty, wrong = FAULTS[fault]
    letter = letter_of(message(mode, {**attributes, **faulty}, {**DATA, **wrong}, packed), queue)
    # Without a tenant an event is the queue's, or that of ``default``.
    belongs_to = stated or ("default" if queue == "*" else queue)
    mine = queue in ("*", belongs_to)
    assert owner(letter) == ((belongs_to, "ada") if mine else (queue, ""))
    assert letter["tenant"] == (belongs_to if mine else queue)
    assert letter["type"] == faulty.get("type", "consumer.upserted")
    assert letter.get("event_id") == (None if fault == "id" else "e1")


@pytest.mark.parametrize("headers", [{"ce-tenant": "acme", "cloudEvents:tenant": "other"}, {"ce-tenant": "ACME"}])
def test_where_no_one_tenant_is_stated_the_letter_is_nobodys(headers: dict[str, object]) -> None:
    letter = letter_of(Delivery(1, json.dumps(DATA).encode(), Properties(headers=headers), False), "*")
    assert owner(letter) == ("default", "")
    assert "tenant" not in letter


def test_what_a_binary_event_lacks_comes_from_the_properties_in_its_letter_too() -> None:
    properties = Properties(None, None, "m1", "consumer.upsetted", None, {"ce-tenant": "acme"})
    letter = letter_of(Delivery(1, json.dumps(DATA).encode(), properties, False), "*")
    assert (letter["tenant"], letter["type"], letter["event_id"]) == ("acme", "consumer.upsetted", "m1")
    assert owner(letter) == ("acme", "ada")
