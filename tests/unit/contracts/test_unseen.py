"""Characters in ids that nobody sees: refused where events come in; stored events with them decode for ever."""

import json
from typing import Any

import pytest

from shared.contracts.codec import decode
from shared.contracts.errors import InvalidEvent
from shared.contracts.unseen import check_seen

#: Refused since the first version: a soft hyphen, joiners and blanks of no width, tags, formats.
ALWAYS = "\u00ad\u200b\u200d\u2060\u2062\ufeff\U0001bca0\U000e0001\U000e0041"
#: Since then: fillers, variation selectors, a blank of Braille, no characters at all.
SINCE = "\u034f\u115f\u1160\u17b4\u180b\u2800\u3164\ufdd0\ufe0f\uffa0\uffff\U000e0100"


def named(characters: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("character", characters, ids=lambda c: f"U+{ord(c):04X}")


def about(type: str, consumer_id: str) -> bytes:
    data: dict[str, Any] = {"consumer_id": consumer_id}
    if type == "relation.recorded":
        data |= {"relation_id": "r1", "provider_id": "p1", "kind": "visit"}
    if type == "relation.retracted":
        data |= {"relation_id": "r1"}
    if type == "consumer.erased":
        data |= {"mode": "delete"}
    envelope = {"specversion": "1.0", "id": "e1", "source": "shop", "time": "2026-11-20T12:00:00Z", "type": type}
    return json.dumps({**envelope, "data": data}).encode()


@named(ALWAYS)
def test_some_were_never_decoded(character: str) -> None:
    with pytest.raises(InvalidEvent, match="is not seen") as caught:
        decode(about("relation.recorded", f"a{character}b"))
    assert caught.value.field == "data.consumer_id"


@named(SINCE)
@pytest.mark.parametrize("type", ["relation.recorded", "consumer.upserted"])
def test_no_new_thing_is_named_with_the_others(type: str, character: str) -> None:
    event = decode(about(type, f"a{character}b"))
    assert event.data.consumer_id == f"a{character}b", "what is stored decodes"  # type: ignore[union-attr]
    with pytest.raises(InvalidEvent, match="is not seen") as caught:
        check_seen(event)
    assert (caught.value.reason, caught.value.field) == ("invalid", "data.consumer_id")


@pytest.mark.parametrize("type", ["relation.retracted", "consumer.erased"])
def test_what_is_stored_with_one_can_be_taken_back(type: str) -> None:
    check_seen(decode(about(type, "a\u3164b")))


@pytest.mark.parametrize("id", ["ann", "Zoë", "李小龍", "أمل", "👩 42", "e\u0301"])
def test_names_that_are_seen_pass(id: str) -> None:
    check_seen(decode(about("relation.recorded", id)))
