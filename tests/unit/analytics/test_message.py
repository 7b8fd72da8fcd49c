"""A dead letter's message as the page shows it: whole and unchanged, what is wrong marked, masks applied."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analytics.dashboard.message import MAX_LINES, Unmaskable, lines_of, missing, shown, tenant_of
from shared.access.masks import MASK, with_masks

names = st.text(st.characters(exclude_characters=".", exclude_categories=["Cs", "Nd"]), min_size=1, max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(names, values, max_size=4)


def text_of(value: bytes, field: str | None = None, masks: tuple[str, ...] = ()) -> str:
    return "\n".join(line.text for line in lines_of(value, field, masks))


@given(values)
def test_what_is_shown_is_the_message(value: Any) -> None:
    sent = json.dumps(value, ensure_ascii=False)
    assert json.loads(text_of(sent.encode())) == json.loads(sent)


def test_numbers_and_repeated_names_stay_as_they_came() -> None:
    sent = '{"id":12345678901234567890123,"amount":1e400,"amount":1.10,"x":-0.0,"y":NaN}'
    assert [line.text.strip(" ,") for line in lines_of(sent.encode(), None)] == [
        "{",
        '"id": 12345678901234567890123',
        '"amount": 1e400',
        '"amount": 1.10',
        '"x": -0.0',
        '"y": NaN',
        "}",
    ]


def test_the_field_that_is_wrong_is_marked() -> None:
    sent = b'{"type":"x","data":{"amount":"12","items":[{"n":1},{"n":"two"}]}}'
    assert [line.text.strip() for line in lines_of(sent, "data.amount") if line.wrong] == ['"amount": "12",']
    assert [line.text.strip() for line in lines_of(sent, "data.items.1.n") if line.wrong] == ['"n": "two"']
    assert not [line for line in lines_of(sent, None) if line.wrong]
    assert not [line for line in lines_of(sent, "data.currency") if line.wrong]
    assert missing(sent, "data.currency")
    assert missing(sent, "data.items.2")
    assert not missing(sent, "data.items.1.n")
    assert not missing(sent, None)
    assert not missing(b"{", "data")


def test_where_it_ends_to_be_json_is_marked() -> None:
    found = lines_of(b'{\n "a": 1,\n "b": tru\n}', None)
    assert [line.text for line in found if line.wrong] == [' "b": tru']


@given(st.binary(max_size=200))
def test_any_bytes_can_be_shown(value: bytes) -> None:
    answer = shown({"_id": "t/0/1", "value": value, "field": "data.amount"})
    json.dumps(answer)
    assert bool(answer["lines"]) == bool(value)


def test_a_message_of_many_lines_says_how_many_more_there_are() -> None:
    answer = shown({"_id": "t/0/1", "value": b"\n" * (MAX_LINES + 9) + b"{", "field": None})
    assert (len(answer["lines"]), answer["more"]) == (MAX_LINES, 10)


@given(objects, st.lists(st.lists(names, min_size=1, max_size=2).map(".".join), max_size=3))
def test_masks_hide_what_they_hide_in_answers(value: dict[str, Any], masks: list[str]) -> None:
    """Whatever ``with_masks`` masks in an answer is masked in a message, too."""
    found = json.loads(text_of(json.dumps(value).encode(), None, tuple(masks)))
    expected = with_masks(json.loads(json.dumps(value)), masks)
    expected.pop("masked", None)

    def hidden(one: Any, other: Any) -> None:
        """Where ``other`` has a mask, ``one`` has it, or something above it has."""
        if one == MASK:
            return
        assert other != MASK
        if isinstance(other, dict):
            for name in other:
                hidden(one[name], other[name])
        elif isinstance(other, list):
            for first, second in zip(one, other, strict=True):
                hidden(first, second)

    hidden(found, expected)


@pytest.mark.parametrize("value", [b"no json", b'["a"]', b"\xff\xfe", b"[" * 100_000])
def test_what_cannot_be_masked_is_not_shown(value: bytes) -> None:
    assert lines_of(value, None)
    with pytest.raises(Unmaskable):
        lines_of(value, None, ("amount",))


def test_whose_message_it_is() -> None:
    assert tenant_of({"tenant": "acme", "key": b"other:c1"}) == "acme"
    assert tenant_of({"key": b"acme:c1:x"}) == "acme"
    assert tenant_of({"key": None}) is None
    assert tenant_of({"key": b"no-tenant"}) is None


@pytest.mark.parametrize(
    ("message", "mask", "secret"),
    [
        # A masked value under a misspelt name, in the wrong place, or of the wrong type.
        ({"data": {"amout": 73177}}, "amount", "73177"),
        ({"data": {"extra": {"money": [73177]}}}, "amount", "73177"),
        ({"amount": 73177, "data": {}}, "amount", "73177"),
        ({"data": {"email": "secret@a.b"}}, "personal.email", "secret@a.b"),
        ({"data": {"personal": "secret@a.b"}}, "personal.email", "secret@a.b"),
        ({"data": {"personal": ["secret@a.b"]}}, "personal.email", "secret@a.b"),
        ({"data": "73177"}, "amount", "73177"),
        ({"data": {"location": "73177"}}, "location.lat", "73177"),
        ({"data": {"data": {"amount": 73177}}}, "amount", "73177"),
        # Under another name of the same fact.
        ({"subject": "secret", "data": {"consumer_id": "secret"}}, "consumer_id", "secret"),
        ({"id": "secret"}, "event.id", "secret"),
        ({"source": "secret"}, "event", "secret"),
        ({"data": {"occurred_at": "2026-01-01T07:31:77Z"}}, "time", "31:77"),
        ({"data_base64": "c2VjcmV0"}, "amount", "c2VjcmV0"),
    ],
)
def test_a_masked_value_is_hidden_wherever_a_faulty_message_has_it(
    message: dict[str, Any], mask: str, secret: str
) -> None:
    assert secret in text_of(json.dumps(message).encode())
    assert secret not in text_of(json.dumps(message).encode(), None, (mask,))


def test_what_events_have_stays_readable_under_a_mask() -> None:
    message = {"type": "relation.recorded", "data": {"kind": "view", "rating": "five", "traits": {"tier": "gold"}}}
    assert json.loads(text_of(json.dumps(message).encode(), None, ("amount", "traits.vip"))) == message
