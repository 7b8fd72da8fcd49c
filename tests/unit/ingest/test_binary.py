"""CloudEvents in binary mode: the HTTP binding 1.0.2, section 3.1."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.binary import structured
from services.ingest.door import Accepted, Rejected, Verdict
from services.ingest.modes import Header
from shared.contracts import codec
from shared.contracts.events import Event
from tests.unit.ingest.test_door import DOOR, NOW

DATA = {"relation_id": "r1", "kind": "view", "consumer_id": "c1", "provider_id": "p1"}


def headers(content_type: str | None = "application/json", **changes: str | bytes | None) -> list[Header]:
    """The headers of a good event; an attribute changed to None is left out."""
    attributes: dict[str, str | bytes | None] = {
        "specversion": "1.0",
        "id": "e1",
        "source": "shop",
        "type": "relation.recorded",
        "time": "2026-11-20T12:00:00Z",
        **changes,
    }
    return [
        *([(b"content-type", content_type.encode())] if content_type else []),
        *(
            (f"ce-{name}".encode(), value.encode() if isinstance(value, str) else value)
            for name, value in attributes.items()
            if value is not None
        ),
    ]


def judge(headers: list[Header], body: bytes | None = None) -> Verdict:
    (verdict,) = DOOR.judge(json.dumps(DATA).encode() if body is None else body, headers, NOW)
    return verdict


def event(verdict: Verdict) -> Event:
    assert isinstance(verdict, Accepted), verdict
    return codec.decode(verdict.message.value)


def rejected(verdict: Verdict) -> Rejected:
    assert isinstance(verdict, Rejected), verdict
    return verdict


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "a/b+json", None])
def test_attributes_come_from_headers_and_data_from_the_body(content_type: str | None) -> None:
    accepted = event(judge(headers(content_type, subject="s", tenant="acme", dataversion="1")))
    assert accepted == codec.decode_fields(
        {
            "specversion": "1.0",
            "id": "e1",
            "source": "shop",
            "type": "relation.recorded",
            "time": "2026-11-20T12:00:00Z",
            "subject": "s",
            "tenant": "acme",
            "data": DATA,
        }
    )


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),  # the example of the binding
        ("%e2%82%ac", "€"),
        ("%41bc", "Abc"),
        ("100%", "100%"),
        ('"with space"', "with space"),
        (r'"a\"b%20c"', 'a"b c'),
        ("€".encode(), "€"),
    ],
)
def test_values_are_unquoted_and_percent_decoded(sent: str | bytes, meant: str) -> None:
    assert event(judge(headers(id=sent))).id == meant


@pytest.mark.parametrize("sent", ["%C0%A0", "%ff", b"\xff", "%ED%A0%80"])
def test_values_that_are_not_utf_8_are_rejected(sent: str | bytes) -> None:
    bad = rejected(judge(headers(id=sent)))
    assert (bad.reason, bad.field, bad.id) == ("invalid", "id", None)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "time"])
def test_no_attribute_has_a_default(name: str) -> None:
    bad = rejected(judge(headers(**{name: None})))
    assert (bad.field, bad.id) == (name, None if name == "id" else "e1")


def test_the_same_attribute_in_two_headers_is_rejected() -> None:
    bad = rejected(judge([*headers(), (b"ce-id", b"e2")]))
    assert (bad.reason, bad.field) == ("invalid", "id")


@pytest.mark.parametrize("name", [b"ce-data", b"ce-datacontenttype", b"ce-", b"ce-data_base64", b"ce-a-b"])
def test_headers_that_state_no_attribute_are_rejected(name: bytes) -> None:
    bad = rejected(judge([*headers(), (name, b"{}")]))
    assert (bad.reason, bad.field) == ("invalid", None if name in (b"ce-", b"ce-a-b") else name[3:].decode())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        *((b, "data") for b in (b"{", b"{} {}", b'{},"tenant":"other"', b"[" * 9000, b'"\xff', b" ")),
        (b'{"a":NaN}', "data.[key]"),
    ],
)
def test_a_body_that_is_not_one_json_value_is_rejected(body: bytes, field: str) -> None:
    bad = rejected(judge(headers(), body))
    assert (bad.reason, bad.field, bad.id) == ("not_json", field, "e1")


def test_no_body_is_no_data() -> None:
    bad = rejected(judge(headers(), b""))
    assert (bad.reason, bad.field, bad.detail) == ("invalid", "data", "is required")


@pytest.mark.parametrize("version", ["2", "one", "", "9" * 5000])
def test_an_unknown_dataversion_is_rejected(version: str) -> None:
    assert rejected(judge(headers(dataversion=version))).reason == "unknown_version"


def test_the_tenant_header_rules_here_too() -> None:
    tenant = (b"kith-tenant", b"acme")
    assert event(judge([*headers(), tenant])).tenant == "acme"
    assert rejected(judge([*headers(tenant="other"), tenant])).reason == "wrong_tenant"


def test_a_large_event_is_rejected() -> None:
    body = json.dumps({**DATA, "text": "a" * codec.MAX_EVENT_BYTES}).encode()
    assert rejected(judge(headers(), body)).reason == "too_large"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
NAMES = st.from_regex("[a-z][a-z0-9]{0,9}", fullmatch=True).filter(
    lambda name: name not in ("data", "datacontenttype", "dataversion")
)


@given(attributes=st.dictionaries(NAMES, st.text(), min_size=1), data=JSON)
def test_any_attributes_and_data_survive_the_mapping(attributes: dict[str, str], data: Any) -> None:
    sent = [(f"ce-{name}".encode(), quote(value, safe="").encode()) for name, value in attributes.items()]
    assert json.loads(structured(sent, json.dumps(data).encode())) == {**attributes, "data": data}


def test_much_data_is_not_read_in_the_first_slice() -> None:
    """That one is made on the event loop, and numbers near to 0 in what is no JSON take long."""
    body = b"[" + b"1e-300," * 9_000
    slices = DOOR.slices(body, headers(), NOW)
    assert next(slices) == ([], False)
    (verdict,) = next(slices).verdicts
    assert rejected(verdict).reason == "not_json"
