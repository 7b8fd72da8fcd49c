"""What two readers could read in two ways is refused, by name, and alike at the door and in Kafka."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.ingest.door import Accepted, Door
from services.relations.projection import RelationsProjection
from shared.contracts.codec import ADAPTER, decode, decode_fields, encode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Event
from shared.contracts.strict_json import check, inexact
from shared.contracts.topics import Topics
from shared.runtime.protocols import Partition, Record
from tests.support import strategies
from tests.support.builders import STRENGTH

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DOOR = Door(Topics(), 3600)
PROJECTION = RelationsProjection(Topics(), STRENGTH, 3600)
PLAIN, BATCH = "application/json", "application/cloudevents-batch+json"
#: Reason, field and detail of a refusal; None where there is none.
Verdict = tuple[str, str | None, str] | None

GOOD = (
    '{"specversion":"1.0","id":"e1","source":"shop","type":"relation.recorded","time":"2026-11-20T12:00:00Z"@TOP,'
    '"data":{"relation_id":"r1","kind":"view","consumer_id":"c1","provider_id":"p1","traits":{"a":1@TRAIT}@DATA}}'
)


def raw(**at: str) -> bytes:
    text = GOOD
    for name in ("TOP", "TRAIT", "DATA"):
        text = text.replace(f"@{name}", at.get(name, ""))
    return text.encode("utf-8", "surrogatepass")


def in_kafka(value: bytes) -> Verdict:
    try:
        PROJECTION.decode(Record(Partition("kith.relations", 0), 0, 1_800_000_000_000, None, value))
    except InvalidEvent as error:
        return error.reason, error.field, error.detail
    return None


def at_the_door(body: bytes, content_type: str) -> Verdict:
    *_, verdict = DOOR.judge(body, [(b"content-type", content_type.encode())], NOW)
    if not isinstance(verdict, Accepted):
        return verdict.reason, verdict.field, verdict.detail
    assert in_kafka(verdict.message.value) is None
    return None


def in_binary_mode(data: bytes) -> Verdict:
    ce = {"specversion": "1.0", "id": "e1", "source": "shop", "type": "relation.recorded"}
    named = {**ce, "time": quote("2026-11-20T12:00:00Z")}
    headers = [
        (b"content-type", b"application/json"),
        *((f"ce-{n}".encode(), v.encode()) for n, v in named.items()),
    ]
    (verdict,) = DOOR.judge(data, headers, NOW)
    return None if isinstance(verdict, Accepted) else (verdict.reason, verdict.field, verdict.detail)


def verdict(value: bytes) -> Verdict:
    """The one verdict of all ways in."""
    alone = at_the_door(value, PLAIN)
    found = {
        alone,
        at_the_door(value, "application/cloudevents+json"),
        at_the_door(b"[" + value + b"]", PLAIN),
        at_the_door(b"[" + raw() + b" , " + value + b"]", BATCH),
        in_kafka(value),
    }
    assert len(found) == 1, found
    return alone


def held(text: str) -> bool:
    """Whether a JSON number is one that a 64-bit integer, or a double by its shortest name or exactly, is."""
    if not set(text) & set(".eE"):
        return -(2**63) <= int(text) < 2**63
    value = float(text)
    if value in (float("inf"), float("-inf")):
        return False
    return Fraction(text) in (Fraction(repr(value)), Fraction(value))


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(2**53 - 3, 2**53 + 3).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,22})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?\Z", fullmatch=True),
)


@given(NUMBERS)
@example("9223372036854775807")
@example("9223372036854775808")
@example("-9223372036854775809")
@example("18446744073709551616")
@example("12345678901234567890.5")
@example("0.1")
@example("0.1000000000000000055511151231257827021181583404541015625")
@example("0.12345678901234567")
@example("0.123456789012345678")
@example("1e400")
@example("1e-400")
@example("1e22")
@example("1e23")
@example("-0")
@example("-0.0")
@example("1.0")
def test_a_number_is_held_exactly_or_refused_by_name(number: str) -> None:
    places = {
        "[key]": raw(TOP=f',"x":{number}'),
        "[key].[key].1": raw(TOP=f',"x":{{"y":[0,{number}]}}'),
        "data.traits.b": raw(TRAIT=f',"b":{number}'),
        "data.traits.b.0": raw(TRAIT=f',"b":[{number}]'),
    }
    for place, value in places.items():
        found = verdict(value)
        assert (found is None) is held(number), (place, found)
        assert found is None or found[:2] == ("inexact_number", place)
    data = json.dumps(json.loads(raw())["data"]).replace('"a": 1', f'"a": {number}').encode()
    found = in_binary_mode(data)
    assert (None if held(number) else ("inexact_number", "data.traits.a")) == (found and found[:2])


@pytest.mark.parametrize("number", ["1.0", "1e2", "12345678901234567890", "7", "NaN", "1e400"])
@pytest.mark.parametrize("name", ["relation_id", "consumer_id", "provider_id"])
def test_a_number_is_no_id(name: str, number: str) -> None:
    value = raw().replace(f'"{name}":"'.encode(), f'"{name}":{number},"x":"'.encode())
    found = verdict(value)
    assert found is not None
    assert found[1] in (f"data.{name}", "data.[key]")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "+1", "01", "1.", ".5", "0x1", "1e"])
def test_what_is_no_number_is_not_json(number: str) -> None:
    for value in (raw(TOP=f',"x":{number}'), raw(TRAIT=f',"b":{number}'), raw(TRAIT=f',"b":[{number}]')):
        found = verdict(value)
        assert found is not None
        assert found[0] == "not_json"


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, float("nan"), float("inf"), [10**30]])
def test_nor_does_one_come_in_as_a_parsed_object(number: Any) -> None:
    fields = json.loads(raw())
    fields["data"]["traits"]["b"] = number
    with pytest.raises(InvalidEvent) as refused:
        decode_fields(fields)
    assert refused.value.reason in ("inexact_number", "not_json")


MEMBERS = st.text(st.sampled_from('ab:"\\ \n{},'), max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | MEMBERS,
    lambda inner: st.lists(inner, max_size=2) | st.lists(st.tuples(MEMBERS, inner), max_size=3).map(tuple),
    max_leaves=6,
)


def written(value: Any, gap: str) -> str:
    """JSON, with white space wherever it may be; a tuple of pairs is an object."""
    if isinstance(value, tuple):
        members = (f"{json.dumps(n)}{gap}:{gap}{written(v, gap)}" for n, v in value)
        return f"{{{gap}{f'{gap},{gap}'.join(members)}{gap}}}"
    if isinstance(value, list):
        return f"[{gap}{f'{gap},{gap}'.join(written(v, gap) for v in value)}{gap}]"
    return json.dumps(value)


def has_twice(value: Any) -> bool:
    if isinstance(value, tuple):
        names = [name for name, _ in value]
        return len(set(names)) < len(names) or any(has_twice(inner) for _, inner in value)
    return isinstance(value, list) and any(map(has_twice, value))


@given(VALUES, st.sampled_from(["", " ", "\n\t", "\r\n  "]))
@example((("a", 1), ("a", 1)), "")
@example(((":", ":"), ('":', 1)), " ")
def test_a_member_that_is_there_twice_is_refused_wherever_it_is(value: Any, gap: str) -> None:
    found = verdict(raw(TOP=f',{gap}"x"{gap}:{gap}{written(value, gap)}'))
    assert (found is not None) is has_twice(value)
    assert found is None or (found[0] == "duplicate_member" and (found[1] or "").startswith("[key]."))


@given(strategies.events(), st.data())
def test_any_member_of_any_event_twice_is_refused(event: Event, data: st.DataObject) -> None:
    value = encode(event)
    assert decode(value) == event
    at = data.draw(st.sampled_from([i for i, c in enumerate(value) if c == ord("{")])) + 1
    members = json.loads(value)
    assert members
    # The first member of some object once more: the same, or another value, or its name with an escape.
    name = json.JSONDecoder().raw_decode(value[at:].decode())[0] if value[at : at + 1] == b'"' else None
    if name is None or b"{" in _before_in_a_string(value, at):
        return
    spelt = data.draw(st.sampled_from([json.dumps(name), '"' + "".join(f"\\u{ord(c):04x}" for c in name) + '"']))
    colon = data.draw(st.sampled_from([":", " : ", "\n:\t"]))
    damaged = value[:at] + f"{spelt}{colon}null,".encode() + value[at:]
    with pytest.raises(InvalidEvent) as refused:
        decode(damaged)
    assert refused.value.reason == "duplicate_member"
    assert refused.value.field is not None


def _before_in_a_string(value: bytes, at: int) -> bytes:
    """The brace before ``at`` when it stands in a string, else nothing."""
    inside = False
    index = 0
    while index < at:
        if value[index] == 0x5C:
            index += 1
        elif value[index] == 0x22:
            inside = not inside
        index += 1
    return value[at - 1 : at] if inside else b""


def test_two_readers_cannot_believe_two_tenants() -> None:
    for twice in (
        '"tenant":"a","tenant":"b"',
        '"tenant":"a","t\\u0065nant":"b"',
        '"tenant" : "a" , "tenant"\t:"a"',
    ):
        found = verdict(raw(TOP=f",{twice}"))
        assert found is not None
        assert found[:2] == ("duplicate_member", "tenant")


@pytest.mark.parametrize("colons", [0, 1, 2, 3])
@pytest.mark.parametrize("more", range(4))
def test_colons_that_are_written_with_an_escape_hide_no_member(colons: int, more: int) -> None:
    # A quick look counts colons, and takes those of the time for granted.
    date, parts = "2026-11-20T12", ("00", "00+00", "00")
    time = date + "".join(("\\u003a" if i < colons else ":") + part for i, part in enumerate(parts))
    value = raw(TOP=',"tenant":"a"' * more).replace(b"2026-11-20T12:00:00Z", time.encode())
    found = verdict(value)
    assert (found and found[:2]) == (("duplicate_member", "tenant") if more > 1 else None)


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00", "a\\ud83d b", "\\ud83d\\ud83d", "\\ude00\\ud83d"])
def test_half_a_surrogate_pair_has_its_own_reason(half: str) -> None:
    for place, value in (
        ("[key]", raw(TOP=f',"x":"{half}"')),
        ("data.traits.b", raw(TRAIT=f',"b":"{half}"')),
        ("data.text", raw(DATA=f',"text":"{half}"')),
        ("[key]", raw(TOP=f',"{half}":1')),
    ):
        found = verdict(value)
        assert found is not None
        assert found[:2] == ("lone_surrogate", place)
    data = json.dumps(json.loads(raw(DATA=',"text":"@"'))["data"]).replace("@", half).encode()
    found = in_binary_mode(data)
    assert found is not None
    assert found[:2] == ("lone_surrogate", "data.text")


def test_a_whole_pair_is_a_character() -> None:
    assert verdict(raw(DATA=',"text":"\\ud83d\\ude00"')) is None
    assert verdict(raw(DATA=',"text":"😀"')) is None


def test_an_exponent_beyond_all_bounds_is_refused_quickly() -> None:
    assert inexact("1e-99999999999999999999") is not None
    assert inexact("0." + "1" * 30_000) is not None
    check(b'{"a": 5e-324, "b": 1.7976931348623157e308}')


def test_no_depth_is_an_error_of_its_own() -> None:
    deepest = 0
    for depth in [*range(600, 1000, 3), 5000, 50_000]:
        with suppress(InvalidEvent):
            check(rb'{"a":' * depth + rb'"\u0041"' + b"}" * depth)
            deepest = depth
    assert deepest < 50_000


def test_the_path_of_a_fault_is_that_of_its_value_whatever_came_before() -> None:
    found = verdict(raw(TRAIT=',"b":[[1],"\\u00e9",{"a":["\\u00e9"]}],"c":[1,"\\ud83d"]'))
    assert found is not None
    assert found[:2] == ("lone_surrogate", "data.traits.c.1")


@pytest.mark.parametrize(
    "data",
    [
        {"traits": {f"a{number}": [{}] * 60 for number in range(100)}},
        {"traits": {f"a{number}": {} for number in range(2_000)}},
        {"personal": dict.fromkeys(map("a{}".format, range(2_000)), "\0")},
        {"consent": dict.fromkeys(map("a{}".format, range(2_000)), 1)},
        {"categories": [1] * 2_000},
    ],
)
def test_an_event_is_validated_up_to_a_few_faults(data: dict[str, Any]) -> None:
    # All of which are made, though the first alone is shown.
    type = "provider.upserted" if "categories" in data else "consumer.upserted"
    with pytest.raises(ValidationError) as refused:
        ADAPTER.validate_json(json.dumps({"type": type, "data": data}))
    assert refused.value.error_count() < 20
