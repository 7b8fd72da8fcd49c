"""Sealed values: they come back as they were, and open nowhere else and not changed."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.events import ConsumerLocation, RelationData, RetractedData
from shared.vault import tokens
from shared.vault.tokens import KEY_BYTES, PREFIX, DataKey, Unreadable, is_token, seal, unseal

SECRETS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
VALUES = st.one_of(
    st.text(max_size=80), st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.booleans()
)
WORDS = st.text(max_size=12)
KEY = DataKey(bytes(range(KEY_BYTES)))


@given(SECRETS, WORDS, WORDS, WORDS, VALUES)
def test_what_is_sealed_comes_back(secret: bytes, tenant: str, consumer: str, field: str, value: object) -> None:
    token = seal(DataKey(secret), tenant, consumer, field, value)  # type: ignore[arg-type]
    back = unseal(DataKey(secret), tenant, consumer, field, token)
    assert (type(back), back) == (type(value), value)
    assert is_token(token)


@given(VALUES)
def test_the_same_value_in_the_same_place_is_the_same_token(value: object) -> None:
    assert seal(KEY, "t", "c", "f", value) == seal(KEY, "t", "c", "f", value)  # type: ignore[arg-type]


@given(st.text(max_size=40), st.text(max_size=40))
def test_other_values_are_other_tokens_of_other_nonces(one: str, other: str) -> None:
    a, b = seal(KEY, "t", "c", "f", one), seal(KEY, "t", "c", "f", other)
    assert (a == b) == (one == other)
    assert (a[6:22] == b[6:22]) == (one == other)


@given(st.text(min_size=1, max_size=40), st.data())
def test_a_token_changed_in_any_character_does_not_open(value: str, data: st.DataObject) -> None:
    token = seal(KEY, "t", "c", "f", value)
    at = data.draw(st.integers(0, len(token) - 1))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+/=é"
    other = data.draw(st.sampled_from([c for c in alphabet if c != token[at]]))
    with pytest.raises(Unreadable):
        unseal(KEY, "t", "c", "f", token[:at] + other + token[at + 1 :])


@given(st.text(max_size=40), st.data())
def test_a_token_with_any_byte_changed_cut_or_added_does_not_open(value: str, data: st.DataObject) -> None:
    token = seal(KEY, "t", "c", "f", value)
    body = token.removeprefix(PREFIX)
    sealed = bytearray(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    at = data.draw(st.integers(0, len(sealed) - 1))
    match data.draw(st.sampled_from(["change", "cut", "add"])):
        case "change":
            sealed[at] ^= data.draw(st.integers(1, 255))
        case "cut":
            del sealed[at:]
        case _:
            sealed.insert(at, data.draw(st.integers(0, 255)))
            if base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() == body:
                return
    changed = PREFIX + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
    with pytest.raises(Unreadable):
        unseal(KEY, "t", "c", "f", changed)


PLACES = st.tuples(WORDS, WORDS, WORDS)


@given(PLACES, PLACES, st.text(max_size=20))
def test_a_token_opens_in_its_own_place_only(
    place: tuple[str, str, str], other: tuple[str, str, str], value: str
) -> None:
    token = seal(KEY, *place, value)
    if place == other:
        assert unseal(KEY, *other, token) == value
    else:
        with pytest.raises(Unreadable):
            unseal(KEY, *other, token)


def test_places_are_not_confused_where_one_part_ends_like_the_next_begins() -> None:
    token = seal(KEY, "a", "bc", "d", "x")
    for place in (("ab", "c", "d"), ("a", "b", "cd"), ("", "abc", "d"), ("a", "bcd", "")):
        with pytest.raises(Unreadable):
            unseal(KEY, *place, token)


@given(SECRETS)
def test_a_token_opens_under_its_own_key_only(secret: bytes) -> None:
    if secret != KEY.secret:
        with pytest.raises(Unreadable):
            unseal(DataKey(secret), "t", "c", "f", seal(KEY, "t", "c", "f", "x"))


@given(st.one_of(st.text(max_size=60), st.text(max_size=60).map(lambda text: PREFIX + text)))
def test_whatever_is_no_token_is_unreadable_and_nothing_else(text: str) -> None:
    with pytest.raises(Unreadable):
        unseal(KEY, "t", "c", "f", text)


@pytest.mark.parametrize(
    "value", [None, 5, "", "kith1.", "kith1.hello", "kith1.!" + "A" * 60, "x kith1." + "A" * 60]
)
def test_what_does_not_have_the_form_of_a_token(value: object) -> None:
    assert not is_token(value)


def test_the_shortest_token_has_the_form() -> None:
    assert is_token(seal(KEY, "t", "c", "f", ""))
    assert is_token(seal(KEY, "t", "c", "f", 0))


def test_the_models_know_tokens_by_the_same_pattern() -> None:
    for model, field in ((RelationData, "text"), (RetractedData, "reason"), (ConsumerLocation, "lat")):
        forms = model.model_json_schema()["properties"][field]["anyOf"]
        assert [form["pattern"] for form in forms if "kith1" in form.get("pattern", "")] == [tokens.PATTERN]


def test_a_key_shows_itself_nowhere() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert repr(KEY) == "DataKey(…)"


def test_subkeys_differ_from_each_other_and_from_the_secret() -> None:
    assert len({KEY.secret, *(KEY.subkey(purpose) for purpose in ("encrypt", "nonce", "blind", "pseudonym"))}) == 5


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        DataKey(b"short")
