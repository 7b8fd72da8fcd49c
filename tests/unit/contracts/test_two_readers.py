"""No event is accepted of which two readers could believe different things: repeated members, names that differ by
case only, attributes in headers and in the body."""

import base64
import json
import unicodedata
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from services.ingest.door import Accepted, Door, Rejected, Verdict
from services.ingest.limits import Refused
from shared.contracts.codec import decode
from shared.contracts.errors import InvalidEvent
from shared.contracts.names import lookalike
from shared.contracts.spelling import nfc
from shared.contracts.topics import Topics
from shared.runtime.forms import in_structured_mode
from shared.runtime.protocols import Partition, Record

DATA = '{"relation_id":"r","kind":"view","consumer_id":"c","provider_id":"p","traits":{"x":1}}'
ATTRIBUTES = {
    "specversion": "1.0",
    "id": "e1",
    "source": "s",
    "type": "relation.recorded",
    "time": "2026-11-01T00:00:00Z",
    "tenant": "acme",
}
EVENT = f'{json.dumps(ATTRIBUTES)[:-1]}, "data":{DATA}}}'
NOW = datetime(2026, 11, 2, tzinfo=UTC)
DOOR = Door(Topics("kith"), 3600)

#: What is put in place of what, and the member that is at fault.
TWICE = [
    ('"tenant": "acme"', '"tenant":"acme","tenant":"other"', "tenant"),
    ('"tenant": "acme"', '"tenant":"acme","t\\u0065nant":"other"', "tenant"),
    ('"tenant": "acme"', '"t\\u0065nant":"other","tenant":"acme"', "tenant"),
    ('"tenant": "acme"', '"tenant":"acme","tenant":"acme"', "tenant"),
    ('"id": "e1"', '"id":"e1" , "\\u0069d" : "e2"', "id"),
    ('"data":', '"data":{},"data":', "data"),
    ('"data":', '"data":{},"d\\u0061ta":', "data"),
    ('"kind":"view"', '"kind":"view","kind":"buy"', "data.kind"),
    ('"kind":"view"', '"kind":"view","k\\u0069nd":"buy"', "data.kind"),
    ('"x":1', '"x":1,"x":2', "data.traits.x"),
    ('"x":1', '"x":1,"\\u0078":2', "data.traits.x"),
    ('"x":1', '"x":[{"a":1,"a":2}]', "data.traits.x.0.[key]"),
    ('"tenant"', '"other":1,"other":2,"tenant"', "[key]"),
    ('"tenant"', '"other":{"a":{"b":1,"b":1}},"tenant"', "[key].[key].[key]"),
]


@pytest.mark.parametrize(("old", "new", "field"), TWICE)
def test_a_member_twice_is_refused_in_every_mode(old: str, new: str, field: str) -> None:
    assert EVENT.count(old) == 1
    faulty = EVENT.replace(old, new)
    with pytest.raises(InvalidEvent) as error:
        decode(faulty.encode())
    assert (error.value.reason, error.value.field) == ("duplicate_member", field)
    [good, bad] = judged(f"[{EVENT},{faulty}]", "application/cloudevents-batch+json")
    assert isinstance(good, Accepted)
    assert refused(bad) == ("duplicate_member", field)
    assert refused(*judged(faulty, "application/cloudevents+json")) == ("duplicate_member", field)
    assert refused(*judged(faulty, "application/json")) == ("duplicate_member", field)
    if old in DATA:
        data = DATA.replace(old, new)
        assert refused(*judged(data, "application/json", in_headers(ATTRIBUTES))) == ("duplicate_member", field)
        with pytest.raises(InvalidEvent, match="twice"):
            decode(kafka(data, {f"ce_{name}": text for name, text in ATTRIBUTES.items()}))
        encoded = {**ATTRIBUTES, "data_base64": base64.b64encode(data.encode()).decode()}
        with pytest.raises(InvalidEvent, match="twice"):
            decode(json.dumps(encoded).encode())


@pytest.mark.parametrize(
    "member",
    [
        '"Tenant":"other"',
        '"TENANT":"other"',
        '"tenant\\u0000":"other"',
        '"ten\\u200bant":"other"',
        '"ｔenant":"o"',
        '"Data":{}',
        '"Data_Base64":"e30="',
        '"ID":"e2"',
        '"Type":"consumer.erased"',
        '"DataSchema":"x"',
        '"Foo":1,"foo":2',
    ],
)
@pytest.mark.parametrize("without", [None, '"tenant": "acme", '])
def test_an_attribute_in_other_letters_is_refused(member: str, without: str | None) -> None:
    """Also alone: some readers take it for the attribute, and this one would not."""
    event = f"{EVENT[:-1]},{member}}}".replace(without or "\0", "")
    assert refused(*judged(event, "application/cloudevents+json"))[0] == "invalid"
    with pytest.raises(InvalidEvent, match="in other letters"):
        decode(event.encode())


@pytest.mark.parametrize(
    "member", ['"traceparent":"00-1"', '"my_attr":1', '"Comment":"x"', '"tenants":"x"', '"é":1']
)
def test_attributes_of_a_producers_own_are_accepted(member: str) -> None:
    assert decode(f"{EVENT[:-1]},{member}}}".encode()).tenant == "acme"


#: Headers beside an event in structured mode, and whether they say the same.
BESIDE: list[tuple[list[tuple[str, str]], bool]] = [
    ([("ce-tenant", "acme")], True),
    ([("ce-id", "e1"), ("ce-time", "2026-11-01T00:00:00Z")], True),
    ([("ce-tenant", "other")], False),
    ([("ce-tenant", "acme"), ("ce-tenant", "other")], False),
    ([("ce-tenant", "acme"), ("ce-tenant", "acme")], False),
    ([("ce-subject", "x")], False),
    ([("ce-data", "{}")], False),
    ([("Ce-Tenant", "other")], False),
    ([("ce-TENANT", "acme")], False),
]


@pytest.mark.parametrize(("headers", "same"), BESIDE)
def test_headers_that_state_attributes_beside_an_event_say_the_same_or_it_is_refused(
    headers: list[tuple[str, str]], same: bool
) -> None:
    [verdict] = judged(EVENT, "application/cloudevents+json", headers)
    assert isinstance(verdict, Accepted if same else Rejected)
    with pytest.raises(Refused, match="a batch takes no headers"):
        judged(f"[{EVENT}]", "application/cloudevents-batch+json", headers)
    sent = tuple((name.replace("-", "_"), text.encode()) for name, text in headers)
    for more in ((), (("content-type", b"application/cloudevents+json"),)):
        # Without a content type, a required attribute makes it an event in binary mode.
        if not more and any(name in ("ce_id", "ce_time") for name, _ in sent):
            continue
        record = Record(Partition("kith.relations", 0), 0, 0, b"acme:c", EVENT.encode(), (*sent, *more))
        if same:
            assert in_structured_mode(record) == record
        else:
            with pytest.raises(InvalidEvent):
                in_structured_mode(record)


@pytest.mark.parametrize(
    "more", [("ce-tenant", "other"), ("ce-tenant", "acme"), ("Ce-Tenant", "other"), ("ce-teNant", "acme")]
)
def test_an_attribute_in_two_headers_is_refused_in_binary_mode(more: tuple[str, str]) -> None:
    assert isinstance(judged(DATA, "application/json", in_headers(ATTRIBUTES))[0], Accepted)
    assert refused(*judged(DATA, "application/json", [*in_headers(ATTRIBUTES), more]))[0] == "invalid"
    headers = {f"ce_{name}": text for name, text in ATTRIBUTES.items()}
    with pytest.raises(InvalidEvent):
        kafka(DATA, headers, (more[0].replace("-", "_"), more[1]))


def test_two_content_types_are_refused() -> None:
    with pytest.raises(Refused, match="twice"):
        judged(EVENT, "application/cloudevents+json", [("Content-Type", "application/json")])


def in_headers(attributes: dict[str, str]) -> list[tuple[str, str]]:
    return [(f"ce-{name}", text) for name, text in attributes.items()]


def judged(body: str, content_type: str, headers: list[tuple[str, str]] | None = None) -> list[Verdict]:
    sent = [("content-type", content_type), *(headers or [])]
    return DOOR.judge(body.encode(), [(name.encode(), text.encode()) for name, text in sent], NOW)


def refused(verdict: Verdict) -> tuple[str, Any]:
    assert isinstance(verdict, Rejected), verdict
    return verdict.reason, verdict.field


def kafka(data: str, headers: dict[str, str], *more: tuple[str, str]) -> bytes:
    sent = tuple((name, text.encode()) for name, text in [*headers.items(), *more])
    record = Record(Partition("kith.relations", 0), 0, 0, b"acme:c", data.encode(), sent)
    value = in_structured_mode(record).value
    assert value is not None
    return value


def test_the_normal_form_of_a_long_name_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    # Which takes quadratic time: 0.3 s of one event, in which no other request is answered.
    lengths = []

    def normalize(form: Literal["NFC", "NFD", "NFKC", "NFKD"], text: str) -> str:
        lengths.append(len(text))
        return unicodedata.normalize(form, text)

    monkeypatch.setattr("shared.contracts.names.unicodedata", SimpleNamespace(normalize=normalize))
    monkeypatch.setattr("shared.contracts.spelling.unicodedata", SimpleNamespace(normalize=normalize))
    row = "\u0315\u0300\u05ae\u0323" * 3_000
    assert lookalike([row, f"tenant{row}", "te\uff4eant"]) == "te\uff4eant"
    assert nfc(row) == row
    assert lengths == [len("tenant")]


@pytest.mark.parametrize(
    "name", ["\u200btenant", "te\u200bnant" + "\u200b" * 9_000, "TENANT\0" + "\u0301" * 9_000]
)
def test_what_is_not_seen_makes_no_name_longer(name: str) -> None:
    assert lookalike(["id", name]) == name
