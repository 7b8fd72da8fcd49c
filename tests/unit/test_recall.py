"""Events that are known by their bytes: passed over undecoded where that changes nothing, and only there."""

import random
from datetime import datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import services.relations.erasing as erasing
from services.relations.projection import RelationsProjection
from shared.codec import encode
from shared.events import Event, SubjectErased, SubjectErasedData, event_key
from shared.protocols import Message, Record
from shared.vault.tokens import is_token
from tests.builders import TOPICS, MemoryKith, message, recorded, retracted, stored_state
from tests.strategies import relation_events
from tests.vault_support import memory_vault

JAN, FEB = (f"2026-{month:02d}-10T12:00:00Z" for month in range(1, 3))
FEB_TIME = datetime.fromisoformat(FEB)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The values of all records that are decoded from now on."""
    values: list[bytes] = []
    decode = RelationsProjection.decode

    def watched(self: RelationsProjection, record: Record) -> Any:
        values.append(record.value or b"")
        return decode(self, record)

    monkeypatch.setattr(RelationsProjection, "decode", watched)
    return values


def world(*slices: list[Event], **options: Any) -> MemoryKith:
    kith = MemoryKith(partitions=1, slice_events=100, **options)
    for events in slices:
        kith.publish(events)
        kith.drain()
    return kith


def test_what_is_stored_already_is_not_decoded_again(decoded: list[bytes]) -> None:
    told = [recorded("e1", JAN, "r1"), recorded("e2", JAN, "r2"), retracted("e3", FEB, "r3")]
    kith = world(told)
    before = {name: dict(documents) for name, documents in kith.documents().items()}
    decoded.clear()
    new = recorded("e4", FEB, "r4")
    kith.publish([*told, new, *told])
    kith.drain()
    assert decoded == [encode(new)]
    assert kith.position(kith.inputs[-1]) is not None
    assert set(kith.documents()["relations"]) - before["relations"].keys() == {"default:c1:r4"}
    assert len(kith.values("relation-changes")) == 3, "of r1, r2 and r4"


def test_what_was_amended_since_is_not_taken_for_known(decoded: list[bytes]) -> None:
    first, second = recorded("e1", JAN, rating=1), recorded("e2", FEB, rating=2)
    kith = world([first], [second])
    decoded.clear()
    kith.publish([first])
    kith.drain()
    assert decoded == [encode(first)]
    assert kith.documents() == stored_state([first, second], partitions=1)


def test_the_same_bad_bytes_twice_are_two_dead_letters() -> None:
    good = recorded("e1", JAN)
    bad = encode(good).replace(b'"kind":"view"', b'"kind":"VIEW"')
    kith = world([good])
    for _ in range(2):
        kith.log.append(Message(TOPICS.name("relations"), event_key(good), bad))
        kith.drain()
    assert kith.values("dead-letters") == [bad, bad]


@pytest.mark.parametrize(
    "value",
    [
        b'{"data":{"consumer_id":"\\ud800","relation_id":"r1"}}',
        b'{"data":{"consumer_id":"\xff","relation_id":"r1"}}',
        b'{"data":{"consumer_id":1,"relation_id":"r1"}}',
        b'{"data":[],"tenant":"default"}',
        b'{"data":{"consumer_id":"c1","relation_id":"r1"},"tenant":null}',
        b"[]",
        b'{"a":' * 5_000,
        b"",
    ],
)
def test_what_names_no_fact_is_looked_at_as_ever(value: bytes) -> None:
    kith = world([recorded("e1", JAN)])
    kith.log.append(Message(TOPICS.name("relations"), b"k", value))
    kith.publish([recorded("e2", FEB, "r2")])
    kith.drain()
    assert kith.values("dead-letters") == [value]
    assert len(kith.documents()["relations"]) == 2


def _spelled(one: Event, spelling: int) -> Message:
    """An event in one of several spellings: all say the same."""
    fields = orjson.loads(encode(one))
    if spelling == 1:
        fields = dict(reversed(fields.items()))
    if spelling == 2:
        fields["data"] = dict(sorted(fields["data"].items()))
    option = orjson.OPT_INDENT_2 if spelling == 3 else None
    return message(one)._replace(value=orjson.dumps(fields, option=option))


def _stored(messages: list[Message], slice_events: int) -> Any:
    kith = MemoryKith(slice_events=slice_events)
    for each in messages:
        kith.log.append(each)
    kith.drain()
    return kith.documents(), len(kith.values("relation-changes"))


@given(
    st.lists(st.tuples(relation_events(), st.lists(st.integers(0, 3), min_size=1, max_size=4)), max_size=12),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
@settings(max_examples=300)
def test_however_often_and_in_whatever_spelling_an_event_comes(
    told: list[tuple[Event, list[int]]], slice_events: int, chance: random.Random
) -> None:
    messages = [_spelled(one, spelling) for one, spellings in told for spelling in spellings]
    shuffled = list(messages)
    chance.shuffle(shuffled)
    one, _ = _stored(messages, slice_events)
    other, changes = _stored(shuffled, slice_events)
    assert one == other
    again, changes_twice = _stored([*shuffled, *messages, *shuffled], slice_events)
    assert again == one
    assert changes_twice == changes, "a duplicate in another spelling is told of"


@pytest.mark.parametrize("mode", ["anonymise", "delete"])
def test_an_event_of_somebody_who_is_erased_moves_the_fact_that_it_finds(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Wherever slices end: a rebuild relies on as many orders as there have been."""
    monkeypatch.setattr(erasing, "AT_ONCE", 1)
    told = [message(recorded(f"e{n}", JAN, f"r{n}")) for n in range(4)]
    data = SubjectErasedData(consumer_id="c1", mode=mode)  # type: ignore[arg-type]
    order = SubjectErased(
        specversion="1.0", id="e9", source="kith", time=FEB_TIME, type="relation.subject_erased", data=data
    )
    orders = []
    for slice_events, stored_before in ((1, False), (2, False), (5_000, False), (5_000, True)):
        kith = MemoryKith(partitions=1, slice_events=slice_events)
        for each in told:
            kith.log.append(each)
        if stored_before:
            kith.drain()
        for each in (told[0]._replace(value=encode(order)), *reversed(told)):
            kith.log.append(each)
        kith.drain()
        assert not any(fact["consumer_id"] == "c1" for fact in kith.documents()["relations"].values())
        orders.append(sum(b"subject_erased" in value for value in kith.values("relations")))
    assert orders == [2, 2, 2, 2]


def test_plain_text_from_before_encryption_is_not_trusted(decoded: list[bytes]) -> None:
    told = recorded("e1", JAN, text="MARKER")
    plain = world([told]).documents()
    sealing = world(vault=lambda _: memory_vault())
    for name in ("relations", "relationships"):
        sealing.store.collections[name].update(plain[name])
    decoded.clear()
    sealing.publish([told])
    sealing.drain()
    assert decoded == [encode(told)]
    (fact,) = sealing.documents()["relations"].values()
    assert is_token(fact["text"])
    assert "digest" not in fact["version"]
    sealed = recorded("e2", JAN, "r2", text=fact["text"])
    for _ in range(2):
        sealing.publish([sealed])
        sealing.drain()
    assert decoded == [encode(told), encode(sealed)], "what came sealed is known again"
