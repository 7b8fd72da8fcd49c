"""Which values are personal, and sealing and opening them in events and documents."""

from typing import Any

import orjson
import pytest

from shared.contracts import codec
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Event
from shared.vault.fields import (
    beside,
    first_plaintext_path,
    first_token_path,
    reveal,
    seal_bytes,
    seal_event,
    values,
    without,
)
from shared.vault.tokens import DataKey, is_token, seal
from tests.support.builders import event, recorded, retracted

KEY = DataKey(b"k" * 32)
TIME = "2026-05-02T09:00:00Z"
PLACE = {"country": "FR", "region": "ARA", "city": "Lyon", "lat": 45.76, "lon": 4.84}
ADA = event(
    "consumer.upserted",
    "e1",
    TIME,
    {"consumer_id": "ada", "personal": {"name": "Ada", "email": "a@x.org"}, "location": PLACE, "traits": {"n": 1}},
)
REVIEW = recorded("e2", TIME, kind="review", text="très bon", rating=5)
REFUND = retracted("e3", TIME, reason="did not fit Ada")
VIEW = recorded("e4", TIME)
CLOSED = event("provider.closed", "e5", TIME, {"provider_id": "p"})
CAFE = event("provider.upserted", "e6", TIME, {"provider_id": "p", "name": "Café", "location": PLACE})


@pytest.mark.parametrize(
    ("event", "paths"),
    [
        (ADA, ["personal.name", "personal.email", "location.city", "location.lat", "location.lon"]),
        (REVIEW, ["text"]),
        (REFUND, ["reason"]),
        (VIEW, []),
        (CLOSED, []),
        (CAFE, []),
    ],
)
def test_the_personal_values_of_each_kind_of_event(event: Event, paths: list[str]) -> None:
    assert [path for path, _ in values(event)] == paths
    assert first_plaintext_path(event) == (paths[0] if paths else None)
    sealed = seal_event(event, KEY)
    assert all(is_token(value) for _, value in values(sealed))
    assert (first_plaintext_path(sealed), first_token_path(sealed)) == (None, paths[0] if paths else None)
    assert codec.decode(codec.encode(sealed)) == sealed, "a sealed event is an event"
    assert list(values(without(event))) == []


def test_what_is_not_personal_stays_readable() -> None:
    sealed: Any = seal_event(ADA, KEY)
    assert (sealed.data.location.country, sealed.data.location.region) == ("FR", "ARA")
    assert (sealed.data.traits, sealed.data.consumer_id, sealed.id) == ({"n": 1}, "ada", "e1")
    assert set(sealed.data.personal) == {"name", "email"}


def test_without_leaves_the_rest() -> None:
    left: Any = without(ADA)
    assert left.data.personal == {}
    assert left.data.location.model_dump(exclude_none=True) == {"country": "FR", "region": "ARA"}
    review: Any = without(REVIEW)
    assert (review.data.text, review.data.rating) == (None, 5)


def test_bytes_are_sealed_as_the_event_is_and_keep_what_else_they_say() -> None:
    fields = orjson.loads(codec.encode(ADA)) | {"traceparent": "00-1", "datacontenttype": "application/json"}
    value = orjson.loads(seal_bytes(orjson.dumps(fields), ADA, KEY))
    assert codec.decode(orjson.dumps(value)) == seal_event(ADA, KEY)
    assert (value["traceparent"], value["datacontenttype"]) == ("00-1", "application/json")


def test_of_members_of_one_name_only_the_last_is_left() -> None:
    raw = codec.encode(REVIEW).replace(b'"text":', b'"text":"MARKER one","te\\u0078t":"MARKER two","text":')
    with pytest.raises(InvalidEvent, match=r"^duplicate_member: data\.text: "):
        codec.decode(raw)
    value = seal_bytes(raw, REVIEW, KEY)
    assert b"MARKER" not in value
    assert codec.decode(value) == seal_event(REVIEW, KEY)


@pytest.mark.parametrize("member", [b'"text":"MARKER"', b'"t\\u0065xt":"MARKER"', b'"reason":"x"'])
def test_an_event_may_hold_more_than_its_personal_values(member: bytes) -> None:
    for one in (VIEW, REVIEW):
        raw = codec.encode(one)
        assert not beside(raw, one)
        assert beside(raw[:-1] + b',"x":{' + member + b"}}", one)


def test_half_an_emoji_is_no_json() -> None:
    raw = codec.encode(REVIEW)[:-1] + b',"x":"\\ud83d"}'
    with pytest.raises(InvalidEvent, match="not_json"):
        seal_bytes(raw, REVIEW, KEY)


def test_the_longest_values_still_fit_when_sealed() -> None:
    longest = recorded("e7", TIME, text="€" * 10_000)
    assert len(codec.encode(longest)) < codec.MAX_EVENT_BYTES
    sealed = codec.encode(seal_event(longest, KEY))
    assert len(sealed) > codec.MAX_EVENT_BYTES
    assert codec.decode(sealed) == seal_event(longest, KEY)
    many = event(
        "consumer.upserted", "e8", TIME, {"consumer_id": "c", "personal": {f"n{n}": "x" * 640 for n in range(50)}}
    )
    assert codec.MAX_EVENT_BYTES - 3_000 < len(codec.encode(many)) < codec.MAX_EVENT_BYTES
    assert codec.decode(codec.encode(seal_event(many, KEY)))


def test_plain_text_may_not_be_longer_because_something_else_is_sealed() -> None:
    token = seal(KEY, "default", "c", "personal.a", "x")
    personal = {"a": token, **{f"n{n}": "x" * 1_000 for n in range(49)}}
    fields = {"specversion": "1.0", "id": "1", "source": "s", "type": "consumer.upserted", "time": TIME}
    raw = orjson.dumps({**fields, "data": {"consumer_id": "c", "personal": personal}})
    with pytest.raises(InvalidEvent, match="too_large"):
        codec.decode(raw)


DOCUMENT = {
    "tenant": "default",
    "consumer_id": "ada",
    "personal": {"name": seal(KEY, "default", "ada", "personal.name", "Ada"), "old": "plain"},
    "location": {
        "country": "FR",
        "city": seal(KEY, "default", "ada", "location.city", "Lyon"),
        "lat": seal(KEY, "default", "ada", "location.lat", 45.76),
    },
}


def test_a_document_is_revealed() -> None:
    shown, unreadable = reveal(DOCUMENT, "default", KEY)
    assert shown["personal"] == {"name": "Ada", "old": "plain"}
    assert shown["location"] == {"country": "FR", "city": "Lyon", "lat": 45.76}
    assert unreadable == []
    assert is_token(DOCUMENT["personal"]["name"]), "what was given is as it was"  # type: ignore[index]


@pytest.mark.parametrize("key", [None, DataKey(b"other".ljust(32))])
def test_what_does_not_open_is_left_out_and_named(key: DataKey | None) -> None:
    shown, unreadable = reveal(DOCUMENT, "default", key)
    assert shown["personal"] == {"old": "plain"}
    assert shown["location"] == {"country": "FR"}
    assert unreadable == ["personal.name", "location.city", "location.lat"]


def test_a_token_of_another_consumer_does_not_open() -> None:
    shown, unreadable = reveal({**DOCUMENT, "consumer_id": "bob"}, "default", KEY)
    assert (shown["personal"], len(unreadable)) == ({"old": "plain"}, 3)


def test_a_fact_is_revealed() -> None:
    fact = {"consumer_id": "c1", "provider_id": "p1", "text": seal(KEY, "default", "c1", "text", "bon")}
    assert reveal(fact, "default", KEY) == ({**fact, "text": "bon"}, [])
    assert reveal(fact, "default", None) == ({**fact, "text": None}, ["text"])
