"""CloudEvents in Kafka's binary mode: the attributes in ``ce_`` headers, the data as the value."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.relations.projection import RelationsProjection
from shared.contracts.codec import decode, encode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Event, event_key
from shared.contracts.wire import is_binary, structured
from shared.letters.letter import mended, replay
from shared.letters.sealing import sealed_again, with_values
from shared.runtime.forms import in_structured_mode, readable
from shared.runtime.protocols import Headers, Message, Partition, Record
from shared.vault.dead_letters import sealed_for
from tests.support import strategies
from tests.support.builders import STRENGTH, TOPICS, MemoryKith, event, recorded, stored_state
from tests.support.vault import memory_vault

TIME, LATER = "2026-05-02T09:00:00Z", "2026-05-03T09:00:00Z"
PROJECTION = RelationsProjection(TOPICS, STRENGTH, 10**9)


def binary(one: Event, content_type: str | None = "application/json", /, **changed: bytes | None) -> Message:
    """An event as a CloudEvents SDK publishes it in binary mode."""
    fields: dict[str, Any] = orjson.loads(encode(one))
    data = fields.pop("data")
    stated = {f"ce_{name}": str(value).encode() for name, value in fields.items()}
    stated |= {f"ce_{name}": value for name, value in changed.items() if value is not None}
    headers: Headers = tuple(
        (n, v) for n, v in stated.items() if changed.get(n.removeprefix("ce_"), v) is not None
    )
    if content_type is not None:
        headers = (("content-type", content_type.encode()), *headers)
    return Message(TOPICS.of(one), event_key(one), orjson.dumps(data), headers=headers)


def record(message: Message, offset: int = 0) -> Record:
    place = Partition(message.topic, 0)
    return Record(place, offset, 1_800_000_000_000, message.key, message.value, message.headers)


def refusal(message: Message) -> tuple[str, str | None]:
    with pytest.raises(InvalidEvent) as refused:
        PROJECTION.decode(record(message))
    return refused.value.reason, refused.value.field


@given(strategies.events(), st.sampled_from([None, "application/json", "Application/Vnd.x+JSON; charset=UTF-8"]))
def test_it_is_the_event_that_it_is_in_structured_mode(one: Event, content_type: str | None) -> None:
    message = binary(one, content_type, traceparent=b"00-1-2-3")
    assert PROJECTION.decode(record(message)) == one
    again = in_structured_mode(record(message))
    assert decode(again.value or b"") == one
    assert in_structured_mode(again) is again
    assert not is_binary(again.headers)


def test_headers_beside_a_structured_event_do_not_make_it_binary() -> None:
    one = recorded("e1", TIME)
    raw = encode(one)
    for headers in (
        (),
        (("traceparent", b"00-1"), ("content-type", b"application/json")),
        (("content-type", b"application/cloudevents+json; charset=utf-8"), ("ce_id", b"e1")),
        (("ce_partitionkey", b"c1"),),
        (("ce_id", b""), ("ce_type", b"")),
    ):
        message = Message(TOPICS.of(one), event_key(one), raw, headers=headers)
        assert PROJECTION.decode(record(message)) == one
        assert in_structured_mode(record(message)).value == raw


@pytest.mark.parametrize("header", [("ce_id", b"other"), ("ce_tenant", b"acme"), ("ce_sequence", b"7")])
def test_headers_that_say_otherwise_than_a_structured_event_are_refused(header: tuple[str, bytes]) -> None:
    # A reader of headers would believe another event than a reader of the body.
    one = recorded("e1", TIME)
    headers = (("content-type", b"application/cloudevents+json; charset=utf-8"), header)
    with pytest.raises(InvalidEvent):
        PROJECTION.decode(record(Message(TOPICS.of(one), event_key(one), encode(one), headers=headers)))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"id": None}, "id"),
        ({"source": None}, "source"),
        ({"time": None}, "time"),
        ({"time": b"20260502"}, "time"),
        ({"specversion": b"0.3"}, "specversion"),
        ({"id": b"\xff"}, "id"),
        ({"id": b""}, "id"),
        ({"Id": b"x"}, None),
        ({"data": b"x"}, "data"),
        ({"data_base64": b"x"}, "data_base64"),
        ({"datacontenttype": b"application/json"}, "datacontenttype"),
    ],
)
def test_attributes_that_are_wrong_are_named(changed: dict[str, bytes | None], field: str | None) -> None:
    assert refusal(binary(recorded("e1", TIME), **changed)) == ("invalid", field)


def test_an_attribute_in_two_headers_is_refused() -> None:
    message = binary(recorded("e1", TIME))
    twice = message._replace(headers=(*message.headers, ("ce_tenant", b"a"), ("ce_tenant", b"a")))
    assert refusal(twice) == ("invalid", "tenant")


def test_a_header_without_a_value_states_nothing() -> None:
    # Java's clients write headers whose value is null.
    one = recorded("e1", TIME)
    message = binary(one, "", sequence=b"", subject=b"", partitionkey=b"")
    assert PROJECTION.decode(record(message)) == one


@pytest.mark.parametrize("content_type", ["text/plain", "application/avro", "application/json; charset=latin-1"])
def test_data_that_is_not_json_is_refused(content_type: str) -> None:
    assert refusal(binary(recorded("e1", TIME), content_type)) == ("invalid", "datacontenttype")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "not_json"),
        (b'{},"tenant":"other"', "not_json"),
        (b'{"relation_id":"r1","relation_id":"r2"}', "duplicate_member"),
        (b'{"x":1e400}', "inexact_number"),
        (b"[]", "invalid"),
        (b"", "invalid"),
    ],
)
def test_a_value_that_is_wrong_is_named(value: bytes, reason: str) -> None:
    found = refusal(binary(recorded("e1", TIME))._replace(value=value))
    assert found[0] == reason
    assert (found[1] or "").split(".")[0] == "data"


def test_what_only_kith_sends_itself_is_never_in_binary_mode() -> None:
    data = {"consumer_id": "c1", "mode": "delete"}
    message = binary(recorded("e1", TIME), type=b"relation.subject_erased")
    assert refusal(message._replace(value=orjson.dumps(data)))[0] == "unknown_type"


def test_it_is_stored_as_the_same_event_would_be() -> None:
    told = [recorded(f"e{n}", TIME, f"r{n}", rating=n) for n in range(5)]
    kith = MemoryKith(1, 100)
    for one in told:
        kith.log.append(binary(one))
    kith.drain()
    found, wanted = kith.documents(), stored_state(told, partitions=1)
    for documents in (found, wanted):
        for fact in documents["relations"].values():
            fact["version"] = {**fact["version"], "digest": None}
    assert found == wanted


def test_of_two_events_with_the_same_value_the_headers_tell_which_is_known() -> None:
    """Known by its value alone the second would be taken for the first, and be lost."""
    kith = MemoryKith(1, 100)
    kith.log.append(binary(recorded("e1", TIME, rating=1)))
    kith.drain()
    kith.log.append(binary(recorded("e1", TIME, rating=1)))
    kith.log.append(binary(recorded("e2", LATER, rating=1)))
    other = binary(recorded("e1", TIME, rating=1), tenant=b"acme")
    kith.log.append(other)
    kith.drain()
    facts = {id: fact["version"]["id"] for id, fact in kith.documents()["relations"].items()}
    assert facts == {"default:c1:r1": "e2", "acme:c1:r1": "e1"}
    assert kith.values("dead-letters") == []


def test_a_structured_event_that_is_known_does_not_excuse_headers_that_say_otherwise() -> None:
    one = recorded("e1", TIME)
    kith = MemoryKith(1, 100)
    kith.publish([one])
    kith.drain()
    stated = binary(one)
    kith.log.append(stated._replace(value=encode(one)))  # binary by its headers: a whole event is no data
    kith.drain()
    assert kith.values("dead-letters") == [encode(one)]


def test_a_duplicate_is_known_by_all_that_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    kith = MemoryKith(1, 100)
    kith.log.append(binary(recorded("e1", TIME)))
    kith.drain()
    decoded: list[Record] = []
    decode_one = RelationsProjection.decode

    def watched(self: RelationsProjection, found: Record) -> Any:
        decoded.append(found)
        return decode_one(self, found)

    monkeypatch.setattr(RelationsProjection, "decode", watched)
    again = binary(recorded("e1", TIME))
    kith.log.append(again._replace(headers=tuple(reversed(again.headers))))
    kith.drain()
    assert decoded == [], "not even decoded, as with one in structured mode"


def test_a_dead_letter_keeps_the_headers_and_can_be_replayed() -> None:
    kith = MemoryKith(1, 100)
    bad = binary(recorded("e1", TIME), time=b"yesterday")
    kith.log.append(bad)
    kith.drain()
    (letter,) = kith.documents()["dead_letters"].values()
    assert (letter["value"], letter["key"]) == (bad.value, bad.key)
    assert [(h["name"], h["value"]) for h in letter["headers"]] == list(bad.headers)
    assert (letter["tenant"], letter["type"], letter["event_id"]) == ("default", "relation.recorded", "e1")
    (published,) = (
        r for p, log in kith.log.records.items() if p.topic == TOPICS.name("dead-letters") for r in log
    )
    assert set(bad.headers) <= set(published.headers)
    again = replay({**letter, "_id": "kith.relations/0/0"})
    assert (again.value, again.key) == (bad.value, bad.key)
    assert again.headers[:-1] == bad.headers
    assert refusal(again) == ("invalid", "time")


def test_a_letter_is_mended_by_its_data_or_by_a_whole_event() -> None:
    bad = binary(recorded("e1", TIME))._replace(value=b'{"relation_id":7}')
    letter = {
        "_id": "kith.relations/0/0",
        "value": bad.value,
        "headers": [{"name": name, "value": value} for name, value in bad.headers],
    }
    good = binary(recorded("e1", TIME))
    for value in (good.value, encode(recorded("e1", TIME))):
        message = mended(letter, value, TOPICS)
        assert (message.topic, message.key) == (good.topic, good.key)
        assert PROJECTION.decode(record(message)) == recorded("e1", TIME)
    with pytest.raises(InvalidEvent):
        mended(letter, b'{"relation_id":8}', TOPICS)


PERSON = {"consumer_id": "ada", "personal": {"email": "MARKER@example.org"}}


def test_what_it_says_in_plain_text_is_sealed() -> None:
    kith = MemoryKith(1, 100, lambda _: memory_vault())
    kith.log.append(binary(event("consumer.upserted", "e1", TIME, PERSON)))
    kith.log.append(binary(recorded("e2", TIME, text="MARKER")))
    kith.drain()
    assert "MARKER" not in repr(kith.documents())
    (fact,) = kith.documents()["relations"].values()
    assert "digest" not in fact["version"]


def test_a_dead_letter_is_sealed_for_whom_it_is_about_and_replayed_as_the_door_would_publish_it() -> None:
    kith = MemoryKith(1, 100, lambda _: memory_vault())
    bad = binary(event("consumer.upserted", "e1", TIME, PERSON), time=b"yesterday")._replace(key=None)
    kith.log.append(bad._replace(key=b"?"))
    kith.drain()
    (letter,) = kith.documents()["dead_letters"].values()
    headers = tuple((h["name"], h["value"]) for h in letter["headers"])
    assert b"MARKER" not in letter["value"]
    assert sealed_for(letter["value"], headers) == ("default", "ada")
    (whole,) = with_values([letter], kith.vault)
    assert whole["value"] == bad.value
    assert sealed_again(replay({"_id": "x", **whole}), kith.vault) is None, "it would be refused again"
    good = binary(event("consumer.upserted", "e1", TIME, PERSON))
    sealed = sealed_again(good, kith.vault)
    assert sealed is not None
    assert b"MARKER" not in sealed.value
    assert not is_binary(sealed.headers)
    assert PROJECTION.decode(record(sealed)).data.consumer_id == "ada"  # type: ignore[union-attr]


def test_who_only_looks_reads_any_form() -> None:
    one = recorded("e1", TIME)
    assert json.loads(readable(record(binary(one))).value or b"")["id"] == "e1"
    damaged = record(binary(one, id=b"\xff"))
    assert readable(damaged) == damaged
    with pytest.raises(InvalidEvent):
        structured(damaged.headers, damaged.value or b"")
