"""Events that are known by their bytes: passed over undecoded where that changes nothing, and only there."""

import random
from datetime import datetime
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import services.relations.fact_erasure as erasing
from services.relations.projection import RelationsProjection
from shared.contracts.codec import encode
from shared.contracts.events import Event, SubjectErased, SubjectErasedData, event_key
from shared.runtime.protocols import Message, Record
from shared.vault.tokens import is_token
from tests.support.builders import TOPICS, MemoryKith, message, recorded, retracted, stored_state
from tests.support.strategies import relation_events
from tests.support.vault import memory_vault

JAN, FEB = (f"2026-{month:02d}-10T12:00:00Z" for month in range(1, 3))
FEB_TIME = datetime.fromisoformat(FEB)
DAY_MS = 86_400_000


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


def watch(kith: MemoryKith) -> list[tuple[str, str]]:
    """The collection and id of every document that is asked for from now on."""
    asked: list[tuple[str, str]] = []
    read = kith.store.read

    def watched(ask: Any) -> Any:
        asked.extend((name, id) for name, ids in ask.ids.items() for id in ids)
        return read(ask)

    kith.store.read = watched  # type: ignore[method-assign]
    return asked


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


def test_an_event_that_arrives_before_its_time_is_a_dead_letter_whatever_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for told in (recorded("e1", JAN), recorded("e1", JAN, occurred_at="2026-03-01T00:00:00.0005Z")):
        kith = world([told])
        late = max(told.time, getattr(told.data, "occurred_at", None) or told.time)
        arrivals = [int(late.timestamp() * 1000) - DAY_MS + offset for offset in (-1, 0, 1)]
        early = arrivals[0] - 2 * DAY_MS
        # In seconds, micro- and nanoseconds as well; -1 and 0 tell no arrival.
        for arrived in (*arrivals, -1, 0, 2**62, early, early // 1000, early * 1000, early * 10**6):
            monkeypatch.setattr(kith.log, "_clock", partial(int, arrived))
            kith.publish([told])
        kith.drain()
        refused = [orjson.loads(value) for value in kith.values("dead-letters")]
        judged = [arrived for arrived in arrivals if late.timestamp() * 1000 > arrived + DAY_MS]
        assert len(refused) == len(judged) + 4 >= 5


@pytest.mark.parametrize("name", ["consumer_id", "relation_id"])
def test_ids_beyond_all_measure_are_not_asked_for(name: str) -> None:
    """They may be larger than a question to MongoDB may be."""
    kith = world([recorded("e1", JAN)])
    asked = watch(kith)
    fields = orjson.loads(encode(recorded("e2", FEB)))
    for length in (201, 200, 1_000_000):
        fields["data"][name] = "%" * length
        kith.log.append(Message(TOPICS.name("relations"), b"k", orjson.dumps(fields)))
    kith.drain()
    assert max(len(id) for _, id in asked) == len("default:") + 3 * 200 + len(":r1")
    assert len(kith.values("dead-letters")) == 2


def test_a_slice_asks_once_for_each_document() -> None:
    kith = world([recorded("e1", JAN), recorded("e2", JAN, "r2")])
    asked = watch(kith)
    kith.publish([recorded("e1", JAN), recorded("e3", FEB, "r2"), recorded("e4", FEB, "r4", provider_id="p2")])
    kith.drain()
    assert sorted(asked) == [
        ("erased", "default:c1"),
        ("relations", "default:c1:r1"),
        ("relations", "default:c1:r2"),
        ("relations", "default:c1:r4"),
        ("relationships", "default:c1:p1"),
        ("relationships", "default:c1:p2"),
    ]


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


@pytest.mark.parametrize("spelled", [b"subject_erased", b"sub\\u006aect_erased"])
@pytest.mark.parametrize("mode", ["anonymise", "delete"])
def test_an_event_of_somebody_who_is_erased_moves_the_fact_that_it_finds(
    monkeypatch: pytest.MonkeyPatch, mode: str, spelled: bytes
) -> None:
    """Wherever slices end: a rebuild relies on as many orders as there have been."""
    monkeypatch.setattr(erasing, "AT_ONCE", 1)
    told = [message(recorded(f"e{n}", JAN, f"r{n}")) for n in range(4)]
    data = SubjectErasedData(consumer_id="c1", mode=mode)  # type: ignore[arg-type]
    order = SubjectErased(
        specversion="1.0", id="e9", source="kith", time=FEB_TIME, type="relation.subject_erased", data=data
    )
    written = encode(order).replace(b'"type":"', b'"type" : "').replace(b"subject_erased", spelled)
    orders = []
    for slice_events, stored_before in ((1, False), (2, False), (5_000, False), (5_000, True)):
        kith = MemoryKith(partitions=1, slice_events=slice_events)
        for each in told:
            kith.log.append(each)
        if stored_before:
            kith.drain()
        for each in (told[0]._replace(value=written), *reversed(told)):
            kith.log.append(each)
        kith.drain()
        assert not any(fact["consumer_id"] == "c1" for fact in kith.documents()["relations"].values())
        orders.append(len(kith.values("relations")) - 2 * len(told))
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
