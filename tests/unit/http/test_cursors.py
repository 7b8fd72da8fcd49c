"""Cursors: only the service makes them, and each belongs to one list."""

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.access.cursor_key import OwnKey
from shared.http.cursors import VERSION, Cursors
from shared.http.parameters import BadParameter

LIST = ["Kith relations", "/v1/relations", "default", [("consumer_id", "c1")]]
PLACES = st.lists(
    st.none()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
)
KEY = OwnKey()
CURSORS = Cursors(KEY, LIST)


def made(place: list[Any]) -> str:
    found = CURSORS.encode(place)
    assert found is not None
    return found


@given(PLACES)
@settings(max_examples=50)
def test_a_place_comes_back_as_it_went(place: list[Any]) -> None:
    assert CURSORS.decode(made(place)) == place
    assert (CURSORS.encode(None), CURSORS.decode(None)) == (None, None)


@given(PLACES, st.data())
@settings(max_examples=100)
def test_a_damaged_cursor_is_refused(place: list[Any], data: st.DataObject) -> None:
    cursor = made(place)
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    flipped = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    cut = cursor[: data.draw(st.integers(0, len(cursor) - 1))]
    at = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.characters(codec="utf-8").filter(lambda one: one != cursor[at]))
    for damaged in (
        flipped,
        cut,
        cursor[:at] + letter + cursor[at + 1 :],
        cursor + "A",
        cursor + "=",
        f" {cursor}",
    ):
        with pytest.raises(BadParameter) as refused:
            CURSORS.decode(damaged)
        assert refused.value.name == "cursor"


@given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
@settings(max_examples=100)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadParameter):
        CURSORS.decode(text)


@pytest.mark.parametrize(
    "other",
    [
        ["Kith analytics", "/v1/relations", "default", [("consumer_id", "c1")]],
        ["Kith relations", "/v1/relationships", "default", [("consumer_id", "c1")]],
        ["Kith relations", "/v1/relations", "acme", [("consumer_id", "c1")]],
        ["Kith relations", "/v1/relations", "default", [("consumer_id", "c2")]],
        ["Kith relations", "/v1/relations", "default", [("consumer_id", "c1"), ("kind", "view")]],
        ["Kith relations", "/v1/relations", "default", []],
    ],
    ids=str,
)
def test_a_cursor_of_another_list_is_refused(other: list[Any]) -> None:
    with pytest.raises(BadParameter, match="with the same parameters"):
        Cursors(KEY, other).decode(made([1, "x"]))


def test_a_cursor_of_another_installation_or_version_is_refused() -> None:
    with pytest.raises(BadParameter, match="is not a value of next"):
        Cursors(OwnKey(), LIST).decode(made([1, "x"]))
    raw = base64.urlsafe_b64decode(made([1, "x"]) + "==")
    for first in (VERSION + 1, ord("["), 0):
        other = base64.urlsafe_b64encode(bytes([first]) + raw[1:]).rstrip(b"=").decode()
        with pytest.raises(BadParameter, match="comes from another version of the service"):
            CURSORS.decode(other)


def test_a_key_that_another_process_has_replaced_is_read_again() -> None:
    class Replaced(OwnKey):
        def renewed(self) -> bytes:
            return KEY.current()

    assert Cursors(Replaced(), LIST).decode(made([1, "x"])) == [1, "x"]
