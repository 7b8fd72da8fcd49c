"""Messages as the door gets them: every mode, and nothing that differs between two deliveries."""

import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.door import Accepted, Door, Rejected
from services.rabbitmq.judging import judge
from services.rabbitmq.protocols import Delivery, Properties
from services.rabbitmq.translation import requests_of
from shared.contracts.codec import decode
from shared.contracts.errors import InvalidEvent
from shared.contracts.limits import MAX_BODY_BYTES
from shared.contracts.topics import Topics

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DATA = {"relation_id": "r1", "consumer_id": "c1", "provider_id": "p1", "kind": "view"}
EVENT = {
    "specversion": "1.0",
    "id": "e1",
    "source": "shop",
    "type": "relation.recorded",
    "time": "2026-05-01T10:00:00Z",
    "data": DATA,
}
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
BARE = {name: EVENT[name] for name in ("type", "time", "data")}


def delivery(body: Any, redelivered: bool = False, **properties: Any) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Delivery(1, raw, Properties(**properties), redelivered)


def accepted(one: Delivery, tenant: str = "*") -> list[dict[str, Any]]:
    verdicts = judged(one, tenant)
    assert all(isinstance(verdict, Accepted) for verdict in verdicts), verdicts
    return [json.loads(verdict.message.value) for verdict in verdicts if isinstance(verdict, Accepted)]


def judged(one: Delivery, tenant: str = "*") -> list[Any]:
    found = judge(Door(Topics(), 86_400), "orders", tenant, [one], NOW, MAX_BODY_BYTES)
    return [*found.verdicts, *found.unreadable]


def test_a_structured_event_is_published_with_its_own_bytes() -> None:
    one = delivery(EVENT, content_type=STRUCTURED)
    [verdict] = judged(one)
    assert verdict.message.value == one.body
    assert verdict.message.topic == "kith.relations"


@pytest.mark.parametrize("content_type", [STRUCTURED.upper(), f"{STRUCTURED}; charset=utf-8"])
def test_the_content_type_is_read_as_http_reads_it(content_type: str) -> None:
    assert accepted(delivery(EVENT, content_type=content_type)) == [EVENT]


@pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_", "ce-", "CLOUDEVENTS:"])
def test_a_binary_event_has_its_attributes_in_headers(prefix: str) -> None:
    headers = {f"{prefix}{name}": value for name, value in EVENT.items() if name != "data"}
    assert accepted(delivery(DATA, content_type="application/json", headers=headers)) == [EVENT]


def test_attributes_can_be_of_any_type_that_amqp_has() -> None:
    headers = {
        "cloudEvents:id": "é%20",
        "cloudEvents:source": b"shop",
        "cloudEvents:type": "relation.recorded",
        "cloudEvents:time": datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))),
        "cloudEvents:n": 7,
        "cloudEvents:flag": True,
        "x-other": {"a": [1]},
    }
    [event] = accepted(delivery(DATA, headers=headers))
    assert event == {**EVENT, "id": "é%20", "n": "7", "flag": "true"}


@pytest.mark.parametrize("value", [1.5, None, {"a": 1}, b"\xff"])
def test_an_attribute_that_is_no_text_is_a_bad_message(value: object) -> None:
    [bad] = judged(delivery(DATA, headers={"cloudEvents:id": value}))
    assert bad.error.reason == "invalid"
    assert bad.error.field == "id"


def test_what_a_message_lacks_comes_from_its_properties() -> None:
    properties: dict[str, Any] = {
        "message_id": "m1",
        "type": "relation.recorded",
        "timestamp": datetime(2026, 5, 1, 10, tzinfo=UTC),
    }
    plain = accepted(delivery({"data": DATA}, **properties))
    binary = accepted(delivery(DATA, headers={"cloudEvents:specversion": "1.0"}, **properties))
    assert plain == binary == [{**EVENT, "id": "m1", "source": "rabbitmq/orders"}]


def test_what_an_event_states_itself_wins() -> None:
    one = delivery(EVENT, message_id="m1", type="consumer.erased", timestamp=NOW)
    assert accepted(one) == [EVENT]


def test_without_an_id_equal_bodies_are_one_event() -> None:
    first, second = delivery(BARE), delivery(BARE, redelivered=True, timestamp=NOW)
    [event] = accepted(first)
    assert event["id"] == f"sha256-{hashlib.sha256(first.body).hexdigest()}"
    assert accepted(second) == [event]


def test_arrays_and_batches_are_judged_event_by_event() -> None:
    other = {**BARE, "data": {**DATA, "relation_id": "r2"}}
    for content_type in (None, "application/json"):
        ids = [event["id"] for event in accepted(delivery([BARE, other], content_type=content_type))]
        assert len(set(ids)) == 2
    good, bad = judged(delivery([EVENT, {**EVENT, "type": "nothing"}], content_type=BATCH))
    assert isinstance(good, Accepted)
    assert isinstance(bad, Rejected)
    assert bad.reason == "unknown_type"


def test_each_item_of_an_array_has_an_id_of_its_own() -> None:
    items = [{**BARE, "data": {**DATA, "relation_id": f"r{n}"}} for n in range(3)]
    items[1]["id"] = "own"
    sent = delivery(items, message_id="m1")
    assert [event["id"] for event in accepted(sent)] == ["m1/0000", "own", "m1/0002"]
    assert accepted(sent) == accepted(sent._replace(redelivered=True))
    # One item is the message, as without the array.
    assert accepted(delivery([BARE], message_id="m1")) == accepted(delivery(BARE, message_id="m1"))
    long = [event["id"] for event in accepted(delivery([BARE, BARE], message_id="m" * 200))]
    assert len(set(long)) == 2
    assert all(each.startswith("sha256-") for each in long)


def test_the_tenant_is_that_of_the_queue() -> None:
    assert accepted(delivery(EVENT, content_type=STRUCTURED), "acme")[0]["tenant"] == "acme"
    stated = {**EVENT, "tenant": "other"}
    for one in (
        delivery(stated, content_type=STRUCTURED),
        delivery(stated),
        delivery([stated]),
        delivery(DATA, headers={f"ce-{name}": value for name, value in stated.items() if name != "data"}),
    ):
        found = judge(Door(Topics(), 86_400), "orders", "acme", [one], NOW, MAX_BODY_BYTES)
        [bad] = found.bad()
        assert (bad.error.reason, bad.error.field) == ("wrong_tenant", "tenant")
        assert "KITH_RABBITMQ_QUEUES" in bad.error.detail
    assert accepted(delivery(stated, content_type=STRUCTURED), "*")[0]["tenant"] == "other"


def test_a_header_of_a_structured_event_may_not_contradict_it() -> None:
    [verdict] = judged(delivery(EVENT, content_type=STRUCTURED, headers={"cloudEvents:id": "e2"}))
    assert isinstance(verdict, Rejected)
    assert accepted(delivery(EVENT, content_type=STRUCTURED, headers={"cloudEvents:id": "e1"})) == [EVENT]


def test_gzip_is_inflated() -> None:
    packed = gzip.compress(json.dumps(EVENT).encode())
    one = delivery(packed, content_type=STRUCTURED, content_encoding="gzip")
    assert accepted(one) == [EVENT]


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", " utf8 "])
def test_the_encoding_that_clients_state_of_text_is_no_compression(encoding: str) -> None:
    assert accepted(delivery(EVENT, content_type=STRUCTURED, content_encoding=encoding)) == [EVENT]


@pytest.mark.parametrize(
    ("body", "properties", "reason"),
    [
        (b"x" * (MAX_BODY_BYTES + 1), {}, "too_large"),
        (gzip.compress(b" " * (MAX_BODY_BYTES + 1)), {"content_encoding": "gzip"}, "too_large"),
        (b"no gzip", {"content_encoding": "gzip"}, "invalid"),
        (b"{}", {"content_encoding": "br"}, "invalid"),
        (b"<a/>", {"content_type": "text/xml"}, "invalid"),
        (b"{}", {"content_type": "application/cloudevents+xml"}, "invalid"),
        (b"{}", {"content_type": "application/json; charset=utf-16"}, "invalid"),
        (b"{}", {"content_type": f"{STRUCTURED}; charset=utf-16"}, "invalid"),
        (b"[", {"content_type": BATCH}, "invalid"),
        (b"[]", {"content_type": BATCH, "headers": {"ce-id": "1"}}, "invalid"),
        (b"", {}, "not_json"),
        (b"null", {}, "invalid"),
        (b"{", {"content_type": STRUCTURED}, "not_json"),
        (b'{"type": 5}', {}, "unknown_type"),
    ],
)
def test_what_cannot_be_read_is_bad_and_says_why(body: bytes, properties: dict[str, Any], reason: str) -> None:
    found = judge(Door(Topics(), 86_400), "orders", "acme", [delivery(body, **properties)], NOW, MAX_BODY_BYTES)
    [bad] = found.bad()
    assert bad.error.reason == reason
    assert bad.error.detail
    assert not found.accepted()


HEADERS = st.dictionaries(
    st.text(max_size=20) | st.sampled_from(["ce-id", "cloudEvents:type", "cloudEvents_tenant", "ce-"]),
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats() | st.datetimes(),
    max_size=4,
)


@given(
    st.binary(max_size=60) | st.sampled_from([b"{}", b"[{}]", json.dumps(EVENT).encode()]),
    st.none() | st.text(max_size=30) | st.sampled_from([STRUCTURED, BATCH, "application/json"]),
    st.none() | st.text(max_size=10) | st.just("gzip"),
    st.none() | st.text(max_size=30),
    HEADERS,
)
def test_any_message_gets_a_verdict_and_the_same_one_again(
    body: bytes, content_type: str | None, encoding: str | None, id: str | None, headers: dict[str, object]
) -> None:
    properties = Properties(content_type, encoding, id, None, None, headers)
    door = Door(Topics(), 86_400)

    def look(redelivered: bool) -> list[tuple[bytes, str]]:
        found = judge(door, "orders", "acme", [Delivery(3, body, properties, redelivered)], NOW, MAX_BODY_BYTES)
        for verdict in found.accepted():
            assert decode(verdict.message.value).tenant == "acme"
        return [(each.message.value, "") for each in found.accepted()] + [
            (each.body, str(each.error)) for each in found.bad()
        ]

    assert look(False) == look(True)


def test_a_message_that_cannot_be_read_raises_only_invalid_event() -> None:
    with pytest.raises(InvalidEvent):
        requests_of(delivery(b"[", content_type=BATCH), "orders")


def test_a_batch_ends_where_it_has_enough_bytes_however_they_are_compressed() -> None:
    raw = json.dumps([{**EVENT, "id": f"e{n}"} for n in range(10)]).encode()
    sent = Properties(content_type=BATCH, content_encoding="gzip")
    deliveries = [Delivery(tag, gzip.compress(raw), sent, tag == 2) for tag in range(1, 5)]
    door, most = Door(Topics(), 86_400), 2 * len(raw) - 100
    first = judge(door, "orders", "*", deliveries, NOW, most)
    assert (first.last, first.deliveries, first.redelivered, len(first.accepted())) == (2, 2, 1, 20)
    rest = judge(door, "orders", "*", deliveries[first.deliveries :], NOW, most)
    assert (rest.last, rest.deliveries) == (4, 2)
    # What is larger than that alone is judged alone.
    assert judge(door, "orders", "*", deliveries, NOW, 1).deliveries == 1
