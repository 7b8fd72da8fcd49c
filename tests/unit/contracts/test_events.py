"""Events on the wire: what is accepted, what is refused and how it is said, and the names made of events."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.relations.projection import RelationsProjection
from services.relations.registers import stated
from shared.contracts.codec import MAX_EVENT_BYTES, UPCASTERS, check_clock, decode, decode_fields, encode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import (
    EPOCH,
    EVENT_MODELS,
    EVENT_TYPES,
    ConsumerUpserted,
    Event,
    ProviderUpserted,
    Version,
    arrival_milliseconds,
    document_id,
    event_key,
    known_arrival,
    time_of_record,
)
from shared.contracts.topics import AUDIT, CHANGES, INPUTS, LEDGER, OUTPUTS, Topics
from shared.runtime.protocols import Partition, Record
from tests.support import strategies
from tests.support.builders import STRENGTH, event, recorded
from tests.support.paths import EXAMPLES

PATHS = sorted(EXAMPLES.glob("*.json"))
WIRE: dict[str, dict[str, Any]] = {path.name: json.loads(path.read_bytes()) for path in PATHS}
RECORDED = WIRE["relation.recorded.v1.json"]


def stem(name: str) -> tuple[str, int]:
    """``relation.recorded.v1.sequence.json``: an example of version 1 of relation.recorded."""
    type, rest = name.split(".v", 1)
    return type, int(rest.partition(".")[0])


def named(value: Any) -> Any:
    """The names that a JSON value has, all the way down, and which of them are null."""
    return {name: named(part) for name, part in value.items()} if isinstance(value, dict) else value is None


def current_version(model: type[Any]) -> int:
    version: int = get_args(model.model_fields["dataversion"].annotation)[0]
    return version


def wire(**changes: Any) -> bytes:
    """The example of relation.recorded with other attributes."""
    return json.dumps({**RECORDED, **changes}).encode()


def with_data(**changes: Any) -> bytes:
    return wire(data={**RECORDED["data"], **changes})


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in RECORDED.items() if key != name}).encode()


def refusal(raw: bytes) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        decode(raw)
    return caught.value


@pytest.mark.parametrize("name", WIRE)
def test_an_example_decodes_for_ever(name: str) -> None:
    type, version = stem(name)
    assert (WIRE[name]["type"], WIRE[name]["dataversion"]) == (type, version)
    assert decode((EXAMPLES / name).read_bytes()).type == type


@pytest.mark.parametrize(("type", "model"), list(zip(EVENT_TYPES, EVENT_MODELS, strict=True)))
def test_the_current_version_has_an_example_of_every_field(type: str, model: type[Any]) -> None:
    examples = [shown for name, shown in WIRE.items() if stem(name) == (type, current_version(model))]
    assert {name for shown in examples for name in shown} == set(model.model_fields)
    data = {name for shown in examples for name in shown["data"]}
    assert data == set(model.model_fields["data"].annotation.model_fields)
    for shown in examples:
        again = json.loads(encode(decode_fields(shown)))
        assert decode_fields(again) == decode_fields(shown)
        assert named(again["data"]) == named(shown["data"]), "null is a statement, and stays"


@given(strategies.events())
def test_what_is_encoded_decodes_to_the_same(one: Event) -> None:
    assert decode(encode(one)) == one
    assert encode(decode(encode(one))) == encode(one)
    if isinstance(one, ConsumerUpserted | ProviderUpserted):
        assert stated(decode(encode(one))) == stated(one)  # type: ignore[arg-type]


TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u202a\u202b\u202c\u202d\u202e"),
    max_size=20,
).filter(lambda text: not any("\u2066" <= character <= "\u2069" for character in text))
SCALARS = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
)
TRAITS = st.dictionaries(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,9}", fullmatch=True),
    SCALARS | st.lists(SCALARS, max_size=3),
    max_size=5,
)


@given(TRAITS)
@example({"a": 1, "b": 1.0, "c": True, "d": -0.0, "e": 5e-324, "f": "\u200d"})
def test_traits_keep_their_values_and_types(traits: dict[str, Any]) -> None:
    one = decode(with_data(traits=traits))
    # By repr, for 1, 1.0 and True are equal.
    assert repr(one.data.traits) == repr(traits)  # type: ignore[union-attr]
    assert repr(decode(encode(one))) == repr(one)


def test_attributes_of_other_producers_are_no_error() -> None:
    assert decode(wire(traceparent="00-1", datacontenttype="application/json")) == decode(wire())


INVALID: list[tuple[str, bytes, str, str | None, str]] = [
    ("a long one", wire(text="x" * MAX_EVENT_BYTES), "too_large", None, "bytes, and an event has at most 32768"),
    ("a megabyte", with_data(text="x" * 1_000_000), "too_large", None, "bytes, and an event has at most 32768"),
    ("nothing", b"", "not_json", None, "Invalid JSON: EOF"),
    ("half of it", wire()[:-1], "not_json", None, "Invalid JSON: EOF"),
    ("more than it", wire() + b"x", "not_json", None, "Invalid JSON: trailing characters"),
    ("no UTF-8", wire(id="@").replace(b"@", b"\xff"), "not_json", None, "is not UTF-8"),
    ("half a surrogate pair", wire(id="\ud800"), "lone_surrogate", "id", "half of a surrogate pair"),
    ("deep nesting", b"[" * 1000 + b"]" * 1000, "not_json", None, "recursion limit exceeded"),
    (
        "a huge number",
        wire(x="@").replace(b'"@"', b"9" * 5000),
        "inexact_number",
        "[key]",
        "does not fit into 64 bits",
    ),
    ("an array", b"[" + wire() + b"]", "invalid", None, "Input should be an object"),
    ("a number", b"7", "invalid", None, "Input should be an object"),
    ("null", b"null", "invalid", None, "Input should be an object"),
    ("no type", without("type"), "invalid", "type", "is required"),
    ("a foreign type", wire(type="order.placed"), "unknown_type", "type", "is none of consumer.upserted, "),
    ("a type that is no text", wire(type=["relation.recorded"]), "unknown_type", "type", "is none of "),
    ("a newer version", wire(dataversion=2), "unknown_version", "dataversion", "is not known here"),
    ("an older version", wire(dataversion=0), "unknown_version", "dataversion", "is not known here"),
    ("a version in words", wire(dataversion="1"), "unknown_version", "dataversion", "is not known here"),
    ("another CloudEvents", wire(specversion="0.3"), "invalid", "specversion", "Input should be '1.0'"),
    ("no id", without("id"), "invalid", "id", "is required"),
    ("an empty id", wire(id=""), "invalid", "id", "character that is not seen"),
    ("a space at the end", wire(id="e1 "), "invalid", "id", "character that is not seen"),
    ("a long id", wire(id="x" * 201), "invalid", "id", "at most 200 characters"),
    ("NUL in an id", wire(source="a\0b"), "invalid", "source", "character that is not seen"),
    ("bidi in an id", wire(source="a\u202eb"), "invalid", "source", "character that is not seen"),
    ("no time zone", wire(time="2026-11-20T12:00:00"), "invalid", "time", "with its offset"),
    ("a date", wire(time="2026-11-20"), "invalid", "time", "an RFC 3339 time"),
    ("seconds since 1970", wire(time=1_800_000_000), "invalid", "time", "an RFC 3339 time"),
    ("before 1970", wire(time="1969-12-31T23:59:59Z"), "invalid", "time", "greater than or equal to 1970"),
    ("the year 9000", wire(time="9000-01-01T00:00:00Z"), "invalid", "time", "less than 9000"),
    ("a tenant with a colon", wire(tenant="a:b"), "invalid", "tenant", "should match pattern"),
    ("no data", without("data"), "invalid", "data", "is required"),
    ("data in words", wire(data="{}"), "invalid", "data", "should be an object"),
    ("a field too many", with_data(colour="red"), "invalid", "data.[key]", "is not a field of this event type"),
    ("a field misspelt", with_data(amout=1), "invalid", "data.[key]", "this event type; did you mean amount?"),
    ("a key of any text", with_data(**{"a b": 1}), "invalid", "data.[key]", "is not a field of this event type"),
    ("a kind with a dot", with_data(kind="a.b"), "invalid", "data.kind", "should match pattern"),
    ("half a cent", with_data(amount=0.5), "invalid", "data.amount", "should be a valid integer"),
    ("too much money", with_data(amount=10**12 + 1), "invalid", "data.amount", "less than or equal to"),
    ("no currency", with_data(currency=None), "invalid", "data", "amount and currency come together or not"),
    ("a boolean rating", with_data(rating=True), "invalid", "data.rating", "should be a valid integer"),
    ("two errors", with_data(rating=101, kind="A"), "invalid", "data.kind", " (and 1 more)"),
    ("NUL in a text", with_data(text="a\0"), "invalid", "data.text", "contains a control character"),
    ("NUL in a trait", with_data(traits={"a": "\0"}), "invalid", "data.traits.a", "contains a control character"),
    ("NUL in a list", with_data(traits={"a": ["\0"]}), "invalid", "data.traits.a", "contains a control character"),
    ("a long trait", with_data(traits={"a": "x" * 1001}), "invalid", "data.traits.a", "at most 1000 characters"),
    ("a dollar key", with_data(traits={"$gt": 1}), "invalid", "data.traits.[key]", "should match pattern"),
    ("a dotted key", with_data(traits={"a.b": 1}), "invalid", "data.traits.[key]", "should match pattern"),
    (
        "a nested trait",
        with_data(traits={"a": {"b": 1}}),
        "invalid",
        "data.traits.a",
        "must be a string, a number",
    ),
    (
        "a long trait",
        with_data(traits={"a": "x" * 1001}),
        "invalid",
        "data.traits.a",
        "should have at most 1000 characters",
    ),
    ("a long list", with_data(traits={"a": [1] * 101}), "invalid", "data.traits.a", "of these (at most 100)"),
    (
        "a trait in a list",
        with_data(traits={"a": [[1]]}),
        "invalid",
        "data.traits.a",
        "must be a string, a number",
    ),
]


@pytest.mark.parametrize(
    ("raw", "reason", "field", "detail"), [pytest.param(*case, id=name) for name, *case in INVALID]
)
def test_a_refusal_names_reason_and_field(raw: bytes, reason: str, field: str | None, detail: str) -> None:
    error = refusal(raw)
    assert (error.reason, error.field) == (reason, field)
    assert detail in error.detail
    assert str(error) == ": ".join(part for part in (reason, field, error.detail) if part)


def test_half_a_point_is_none() -> None:
    error = refusal(
        json.dumps(
            {**WIRE["consumer.upserted.v1.json"], "data": {"consumer_id": "c", "location": {"lat": 1.0}}}
        ).encode()
    )
    assert (error.field, error.detail) == ("data.location", "lat and lon come together or not at all")


def replaced(value: Any, replacement: str) -> Iterator[tuple[str, str]]:
    """``value`` as JSON with one of its parts replaced, once for every part: (path of the part, JSON)."""
    yield "", replacement
    if isinstance(value, dict):
        for name in value:
            others = [f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items() if key != name]
            for path, inner in replaced(value[name], replacement):
                yield f"{name}.{path}", "{" + ", ".join([*others, f"{json.dumps(name)}: {inner}"]) + "}"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            others = [json.dumps(other) for other in value[:index] + value[index + 1 :]]
            for path, inner in replaced(item, replacement):
                yield f"{index}.{path}", "[" + ", ".join([*others, inner]) + "]"


HOSTILE = [
    "NaN",
    "-Infinity",
    "1e400",
    "9" * 5000,
    '"\\u0000"',
    '"a\\u202eb"',
    '"\\u2066"',
    '"\\ud800"',
    '"\udcff"',  # a byte that is no UTF-8
    "[" * 400 + "]" * 400,
    '{"a":' * 400 + "1" + "}" * 400,
    '{"$gt": ""}',
    '{"a.b": true}',
    '{"": "x"}',
    '{"a": {"b": 1}}',
    '"' + "x" * 1_000_000 + '"',
]


@pytest.mark.parametrize("name", WIRE)
@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda text: text[:12])
def test_hostile_input_is_refused_wherever_it_stands(name: str, hostile: str) -> None:
    for path, text in replaced(WIRE[name], hostile):
        raw = text.encode("utf-8", "surrogateescape")
        try:
            found = decode(raw)
        except InvalidEvent:
            continue
        raise AssertionError(f"accepted at {path}: {found!r}")


MARKER, NUMBER = "Ada-M-Lovelace", 918_273_645_546_372_819


@pytest.mark.parametrize("name", WIRE)
@pytest.mark.parametrize(
    "marked",
    [
        MARKER,
        f"{MARKER}\0",
        f"{MARKER} " * 900,
        [MARKER, [MARKER]],
        {f"{MARKER}@example.org": MARKER},
        {f"{MARKER}@example.org": {f"{MARKER}@example.org": MARKER}},
        {"name": {"name": MARKER}},
        NUMBER,
        -NUMBER * 10**30,
        NUMBER / 1000,
        str(NUMBER),
    ],
    ids=repr,
)
def test_no_error_quotes_a_value(name: str, marked: object) -> None:
    refused = 0
    for path, text in replaced(WIRE[name], json.dumps(marked)):
        try:
            decode(text.encode())
        except InvalidEvent as error:
            refused += 1
            said = f"{error} {error.reason} {error.field} {error.detail}"
            assert MARKER not in said, path
            assert not any(digits in said for digits in ("918273645", "9.18273645")), path
    assert refused > 3


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
@example(b"\x00")
def test_random_bytes_are_refused(raw: bytes) -> None:
    refusal(raw)


@given(strategies.events(), st.data())
@settings(max_examples=400)
def test_a_damaged_event_is_an_event_or_refused(one: Event, data: st.DataObject) -> None:
    raw = encode(one)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(start, min(start + 12, len(raw))))
        fragment = data.draw(
            st.binary(max_size=4) | st.sampled_from([b'"', b"{", b"]", b"null", b"1e999", b"\\u"])
        )
        raw = raw[:start] + fragment + raw[end:]
    reason, found = "", None
    try:
        found = decode(raw)
    except InvalidEvent as error:
        reason = error.reason
    if found is None:
        assert reason in {
            *("not_json", "invalid", "unknown_type", "unknown_version"),
            *("duplicate_member", "inexact_number", "lone_surrogate"),
        }
    else:
        assert decode(encode(found)) == found


def upcast_from_0(fields: dict[str, Any]) -> dict[str, Any]:
    """Version 0 called the provider ``shop``."""
    data = dict(fields["data"])
    data["provider_id"] = data.pop("shop")
    return {**fields, "data": data, "dataversion": 1}


def upcast_from_minus_1(fields: dict[str, Any]) -> dict[str, Any]:
    """Version -1 had money in whole units."""
    data = dict(fields["data"])
    data["amount"] *= 100
    return {**fields, "data": data, "dataversion": 0}


CHAIN = {("relation.recorded", 0): upcast_from_0, ("relation.recorded", -1): upcast_from_minus_1}
OLD_DATA = {"relation_id": "r1", "kind": "purchase", "consumer_id": "c1", "shop": "p1", "currency": "EUR"}


@pytest.mark.parametrize(("version", "amount"), [(0, 1200), (-1, 12)])
def test_an_old_version_is_upcast_step_by_step(version: int, amount: int) -> None:
    old = wire(dataversion=version, data={**OLD_DATA, "amount": amount})
    new = {name: value for name, value in OLD_DATA.items() if name != "shop"}
    assert decode(old, upcasters=CHAIN) == decode(wire(data={**new, "provider_id": "p1", "amount": 1200}))
    assert refusal(old).reason == "unknown_version"


def test_the_current_version_is_not_upcast() -> None:
    def fail(_: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("called")

    assert decode(wire(), upcasters={("relation.recorded", 1): fail}) == decode(wire())


def test_an_upcaster_is_of_one_type() -> None:
    erased = json.dumps({**WIRE["consumer.erased.v1.json"], "dataversion": 0}).encode()
    with pytest.raises(InvalidEvent, match=r"^unknown_version: dataversion: "):
        decode(erased, upcasters=CHAIN)


def test_what_an_upcaster_makes_is_validated() -> None:
    old = wire(dataversion=0, data={**OLD_DATA, "amount": "12"})
    with pytest.raises(InvalidEvent, match=r"^invalid: data.amount: Input should be a valid integer$"):
        decode(old, upcasters=CHAIN)


@pytest.mark.parametrize("version", [0, -1, None, "1", 0.5, True])
def test_an_upcaster_that_does_not_raise_the_version_is_noticed(version: object) -> None:
    faulty = {
        ("relation.recorded", 0): lambda fields: {**fields, "dataversion": version},
        ("relation.recorded", -1): lambda fields: {**fields, "dataversion": 0},
    }
    with pytest.raises(RuntimeError, match=r"^the upcaster of relation\.recorded 0 does not raise the version$"):
        decode(wire(dataversion=0), upcasters=faulty)


def test_an_upcaster_to_a_version_that_is_none_yet_is_no_help() -> None:
    leap = {("relation.recorded", 0): lambda fields: {**fields, "dataversion": 2}}
    with pytest.raises(InvalidEvent, match=r"^unknown_version: dataversion: "):
        decode(wire(dataversion=0), upcasters=leap)


def test_every_old_version_has_an_example() -> None:
    assert {f"{type}.v{version}.json" for type, version in UPCASTERS} <= set(WIRE)


def test_an_event_may_be_ahead_of_its_arrival_by_so_much() -> None:
    one = recorded("e1", "2026-11-20T12:00:00Z")
    arrived, hour = datetime(2026, 11, 20, 11, tzinfo=UTC), timedelta(hours=1)
    check_clock(one, arrived, hour)
    check_clock(one, arrived + timedelta(days=9000), timedelta(0))
    with pytest.raises(InvalidEvent) as caught:
        check_clock(one, arrived - timedelta(microseconds=1), hour)
    assert (caught.value.reason, caught.value.field) == ("in_the_future", "time")
    assert caught.value.detail == "is more than 3600 s ahead of the arrival"


SEQUENCE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=100)


def sequenced(sequence: str | None, id: str = "e1", **attributes: Any) -> Version:
    stated = {} if sequence is None else {"sequence": sequence}
    return decode(wire(id=id, **stated, **attributes)).version


@given(SEQUENCE, SEQUENCE)
def test_events_of_one_time_are_ordered_by_their_sequence_as_text(one: str, other: str) -> None:
    assert (sequenced(one, "e2") < sequenced(other, "e1")) == ((one, "e2") < (other, "e1"))
    assert sequenced(None, "e9") < sequenced(one, "e1")
    assert sequenced(one, time="2026-11-20T12:30:00.000001Z") < sequenced(None, time="2026-11-20T12:30:00.000002Z")


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.text("0", max_size=3))
def test_integers_are_ordered_as_numbers(one: int, other: int, zeros: str) -> None:
    first = sequenced(f"{zeros}{one}", sequencetype="Integer")
    assert (first < sequenced(str(other), sequencetype="Integer")) == (one < other)
    assert (first == sequenced(str(other), sequencetype="Integer")) == (one == other)


@given(st.none() | SEQUENCE)
def test_a_version_is_stored_and_read_alike(sequence: str | None) -> None:
    version = sequenced(sequence)
    assert Version.stored(version.document()) == version
    assert ("sequence" in version.document()) == (sequence is not None), "documents without one stay as they were"


@pytest.mark.parametrize(
    ("attributes", "field", "detail"),
    [
        ({"sequence": ""}, "sequence", "should match pattern"),
        ({"sequence": " 1"}, "sequence", "should match pattern"),
        ({"sequence": "1\n"}, "sequence", "should match pattern"),
        ({"sequence": "é"}, "sequence", "should match pattern"),
        ({"sequence": "x" * 101}, "sequence", "at most 100 characters"),
        ({"sequence": 7}, "sequence", "should be a valid string"),
        ({"sequence": ["7"]}, "sequence", "should be a valid string"),
        ({"sequence": "7", "sequencetype": "Float"}, "sequencetype", "should be 'Integer'"),
        ({"sequence": "-7", "sequencetype": "Integer"}, "sequence", "must be a whole number from 0 to 2^63 - 1"),
        ({"sequence": "7.0", "sequencetype": "Integer"}, "sequence", "must be a whole number"),
        ({"sequence": str(2**63), "sequencetype": "Integer"}, "sequence", "must be a whole number"),
    ],
    ids=str,
)
def test_a_sequence_that_orders_nothing_is_refused(attributes: dict[str, Any], field: str, detail: str) -> None:
    error = refusal(wire(**attributes))
    assert (error.reason, error.field) == ("invalid", field)
    assert detail in error.detail


@pytest.mark.parametrize(
    ("timestamp", "milliseconds"),
    [
        (1_795_176_000_000, 1_795_176_000_000),
        (1_795_176_000, 1_795_176_000_000),
        (1_795_176_000_000_123, 1_795_176_000_000),
        (1_795_176_000_000_123_456, 1_795_176_000_000),
        *((none, None) for none in (-1, 0, 1, 99_999_999, -1_795_176_000, -(2**63), 10**20)),
    ],
)
def test_the_unit_of_a_timestamp_shows_in_its_size(timestamp: int, milliseconds: int | None) -> None:
    assert arrival_milliseconds(timestamp) == milliseconds
    found = known_arrival(timestamp)
    assert (found and found.timestamp() * 1000) == milliseconds
    assert time_of_record(timestamp) >= EPOCH, "it can always be shown"


@pytest.mark.parametrize("timestamp", [1_795_176_000, 0, -1, 5, 1_795_176_000_000])
def test_a_past_event_is_not_in_the_future_whatever_its_timestamp(timestamp: int) -> None:
    projection = RelationsProjection(Topics(), STRENGTH, 3600)
    raw = encode(recorded("e1", "2026-11-20T11:00:00Z"))
    assert projection.decode(Record(Partition("kith.relations", 0), 0, timestamp, None, raw))


def test_a_timestamp_in_seconds_still_tells_what_is_in_the_future() -> None:
    projection = RelationsProjection(Topics(), STRENGTH, 3600)
    raw = encode(recorded("e1", "2026-11-20T13:00:01Z"))
    with pytest.raises(InvalidEvent, match="in_the_future"):
        projection.decode(Record(Partition("kith.relations", 0), 0, 1_795_176_000, None, raw))


def test_versions_are_ordered_by_time_then_source_then_id() -> None:
    base = recorded("e1", "2026-11-20T12:00:00.000001Z").version
    assert base == Version(1_795_176_000_000_001, "", "test", "e1")
    assert recorded("e0", "2026-11-20T12:00:00.000002Z").version > base
    assert event("relation.recorded", "e2", "2026-11-20T13:00:00.000001+01:00", RECORDED["data"]).version > base
    assert base > Version(base.time, "", "shop", "e9")


PARTS = st.text(":%253Aa/é", max_size=6)
PLACES = st.tuples(st.sampled_from(["default", "a", "a3a", "a-"]), st.lists(PARTS, min_size=1, max_size=3))


@given(PLACES, PLACES)
@example(("a", [":", ""]), ("a", ["", ":"]))
@example(("a", ["%3A"]), ("a", [":"]))
@example(("a", ["b:c"]), ("a", ["b", "c"]))
def test_document_ids_are_unambiguous(one: tuple[str, list[str]], other: tuple[str, list[str]]) -> None:
    assert (document_id(one[0], *one[1]) == document_id(other[0], *other[1])) == (one == other)


def test_a_plain_document_id_can_be_read() -> None:
    assert document_id("acme", "c1", "r:1", "100%") == "acme:c1:r%3A1:100%25"


@given(strategies.events(), strategies.events())
def test_events_share_a_key_when_they_share_their_subject(one: Event, other: Event) -> None:
    def subject(of: Event) -> tuple[str, str]:
        name = "provider_id" if of.type.startswith("provider.") else "consumer_id"
        return of.tenant, getattr(of.data, name)

    assert (event_key(one) == event_key(other)) == (subject(one) == subject(other))


@pytest.mark.parametrize("name", WIRE)
def test_an_event_belongs_into_the_topic_of_its_subject(name: str) -> None:
    topics, one = Topics("x.y"), decode((EXAMPLES / name).read_bytes())
    right = f"x.y.{name.split('.')[0]}s"
    assert topics.of(one) == right
    topics.check(one, right)
    for short in {*INPUTS, *OUTPUTS} - {topics.short(right)}:
        with pytest.raises(InvalidEvent) as caught:
            topics.check(one, topics.name(short))
        error = caught.value
        assert (error.reason, error.field, error.detail) == ("wrong_topic", "type", f"belongs into {right}")


def test_every_input_has_an_output_of_its_own() -> None:
    assert set(CHANGES) == set(INPUTS)
    assert len(set(CHANGES.values())) == len(INPUTS)
    assert {*CHANGES.values(), "dead-letters", LEDGER, AUDIT} == set(OUTPUTS)
    assert [Topics("kith").short(Topics("kith").name(short)) for short in INPUTS] == list(INPUTS)
