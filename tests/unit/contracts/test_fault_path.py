"""A refusal shows where the fault is, and repeats no name that the sender has made up."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from services.ingest.door import Accepted, Door
from services.privacy.correction import correction
from shared.contracts.codec import decode
from shared.contracts.errors import InvalidEvent
from shared.contracts.fault_path import EVENT_NAMES, HIDDEN, meant, safe_path
from shared.contracts.topics import Topics
from shared.contracts.wire import check_headers, from_attributes, structured

NOW = datetime(2026, 11, 2, tzinfo=UTC)
DOOR = Door(Topics(), 3600)
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "e1",
    "source": "s",
    "type": "relation.recorded",
    "time": "2026-11-01T00:00:00Z",
    "data": {
        "relation_id": "r1",
        "kind": "view",
        "consumer_id": "c1",
        "provider_id": "p1",
        "traits": {"seats": [1]},
    },
}
#: As a sender may name a member: like a person, a telephone number, an index, a mark of pydantic's.
NAMES = st.one_of(
    st.text(min_size=1, max_size=20),
    st.from_regex(r"\A[0-9]{1,15}\Z"),
    st.from_regex(r"\A[A-Za-z_]\w{0,20}\Z"),
    st.sampled_from(["4917012345678", "0", "[key]", "ada_lovelace", "ada@example.org", "(plain)", "str", "a.b"]),
)
#: Of the objects of an event, which a stranger may be in.
OBJECTS: tuple[tuple[str, ...], ...] = ((), ("data",), ("data", "location"))
#: What is wrong with a value, as JSON: too many digits, half a character, a member twice, nothing.
FAULTS = ("12345678901234567890", "NaN", '"\\ud800"', '{"x":1,"x":2}', "1", '[[{"y":[12345678901234567890]}]]')


def shown(refused: list[tuple[str | None, str]], name: str, indexes: int) -> None:
    """Only declared names and indexes are in the paths; the details quote none of those made up."""
    for field, detail in refused:
        assert set((field or "").split(".")) - {""} <= EVENT_NAMES | {HIDDEN, *map(str, range(indexes))}, field
        if len(name) > 8 and name not in "".join(EVENT_NAMES):
            assert name not in detail


def refusals(raw: bytes) -> list[tuple[str | None, str]]:
    """Field and detail, from each way in that refuses."""
    found = []
    try:
        decode(raw)
    except InvalidEvent as error:
        found.append((error.field, error.detail))
    for verdict in DOOR.judge(raw, [(b"content-type", b"application/json")], NOW):
        if not isinstance(verdict, Accepted):
            found.append((verdict.field, verdict.detail))
    return found


@given(NAMES, st.sampled_from(OBJECTS), st.sampled_from(FAULTS), st.booleans())
@example("4917012345678", ("data",), FAULTS[0], False)
@example("ada_lovelace", ("data",), FAULTS[0], False)
@example("categori", (), FAULTS[3], True)
def test_no_name_of_a_member_that_is_not_declared_is_shown(
    name: str, at: tuple[str, ...], fault: str, twice: bool
) -> None:
    assume(name not in EVENT_NAMES and "\0" not in name)
    event = copy.deepcopy(EVENT)
    if "location" in at:
        event |= {"type": "consumer.upserted", "data": {"consumer_id": "c1", "location": {}}}
    holder = event
    for part in at:
        holder = holder[part]
    holder["@"] = "@"
    member = f"{json.dumps(name)}: {fault}"
    raw = json.dumps(event).replace('"@": "@"', f"{member}, {member}" if twice else member)
    shown(refusals(raw.encode("utf-8", "surrogatepass")), name, 2)


@given(NAMES)
def test_nor_is_one_in_a_map_that_takes_no_such_name(name: str) -> None:
    event = copy.deepcopy(EVENT)
    event["data"]["traits"] = {name: {"ada": 1}}
    for field, _ in refusals(json.dumps(event).encode()):
        assert field in ("data.traits.[key]", f"data.traits.{name}")
        assert field == "data.traits.[key]" or (name.isascii() and not name[0].isdigit() and "." not in name)


@given(st.from_regex(r"\A[a-z0-9]{1,20}\Z"))
@example("4917012345678")
def test_nor_is_the_name_of_an_attribute_in_a_header(name: str) -> None:
    assume(name not in EVENT_NAMES)
    raw = json.dumps({**EVENT, name: "x"}).encode()
    for refuse in (
        lambda: from_attributes([(name, "x"), (name, "y")], b"{}"),
        lambda: check_headers([(name, "y")], raw),
        lambda: check_headers([(name, "x"), (name, "x")], raw),
        lambda: structured(((f"ce_{name}", b"\xff"),), b"{}"),
    ):
        with pytest.raises(InvalidEvent) as error:
            refuse()
        assert error.value.field == HIDDEN
    headers = [(b"content-type", b"application/json"), (f"ce-{name}".encode(), b"%ff")]
    shown([(each.field, each.detail) for each in DOOR.judge(b"{}", headers, NOW)], name, 0)  # type: ignore[union-attr]


@given(NAMES)
def test_nor_is_one_of_a_correction(name: str) -> None:
    assume(name not in EVENT_NAMES)
    for patch in ({name: 1}, {"location": {name: 1}}):
        with pytest.raises(InvalidEvent) as error:
            correction("default", "c1", {}, patch, "id", NOW)
        shown([(error.value.field, error.value.detail)], name, 0)


def test_an_index_is_a_number_and_a_name_is_text() -> None:
    assert safe_path(["data", "traits", "seats", 3]) == "data.traits.seats.3"
    assert safe_path(["data", "categories", "3"]) == "data.categories.[key]"
    assert safe_path(["data", "traits", "3"]) == "data.traits.[key]"
    assert safe_path(["traits"], {"x"}) == HIDDEN
    assert safe_path([]) is None


@pytest.mark.parametrize(
    ("name", "hint"), [("amout", "; did you mean amount?"), ("xyz", ""), ("amount" * 900, "")]
)
def test_a_misspelt_name_is_answered_with_the_declared_one(name: str, hint: str) -> None:
    assert meant(name) == hint
