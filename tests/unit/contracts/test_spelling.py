"""Spellings of ids: one in NFC, wherever an event is read."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from services.exports.query import ExportQuery
from shared.contracts.codec import decode, decode_fields, decode_internal, encode
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import event_key
from shared.contracts.spelling import bytes_in_nfc, nfc, other_spellings
from shared.erasure.records import decode_entry
from shared.http.paths import PathId

WHOLE, PARTS = "jos\u00e9", "jose\u0301"
ACCENTED = st.text("ab\u00e9\u1ec7\u00c5\ud55c\ucf54", min_size=1, max_size=12)


def fields(spelled: str = PARTS, **changed: Any) -> dict[str, Any]:
    data = {"relation_id": spelled, "consumer_id": spelled, "provider_id": spelled, "kind": "view"}
    return {
        "specversion": "1.0",
        "id": spelled,
        "source": f"/{spelled}",
        "type": "relation.recorded",
        "time": "2026-05-02T09:00:00Z",
        "data": {**data, **changed},
    }


@pytest.mark.parametrize("ascii", [True, False])
def test_every_id_of_an_event_is_in_nfc_escaped_or_not(ascii: bool) -> None:
    event: Any = decode(json.dumps(fields(), ensure_ascii=ascii).encode())
    assert event == decode(json.dumps(fields(WHOLE)).encode()) == decode_fields(fields())
    assert (event.id, event.source, event.version.id) == (WHOLE, f"/{WHOLE}", WHOLE)
    assert {event.data.relation_id, event.data.consumer_id, event.data.provider_id} == {WHOLE}
    assert event_key(event) == f"default:{WHOLE}".encode()
    assert decode(encode(event)) == event


def test_text_that_is_no_id_stays_as_it_came() -> None:
    event: Any = decode(json.dumps(fields(text=PARTS, traits={"a": PARTS})).encode())
    assert (event.data.text, event.data.traits) == (PARTS, {"a": PARTS})


def test_an_id_that_is_ascii_only_in_nfc_is_put_there_too() -> None:
    event: Any = decode(json.dumps(fields("\u212a1")).encode())
    assert event.data.consumer_id == "K1"


def test_an_id_too_long_in_nfc_is_refused_with_its_field() -> None:
    grows = "\u0958" * 150
    with pytest.raises(InvalidEvent, match="more than 200 characters in Unicode's form NFC") as refused:
        decode(json.dumps(fields("a") | {"data": fields("a", consumer_id=grows)["data"]}).encode())
    assert (refused.value.reason, refused.value.field) == ("invalid", "data.consumer_id")


@given(ACCENTED)
def test_bytes_are_rewritten_only_where_an_id_is_not_in_nfc(id: str) -> None:
    raw = json.dumps(fields(unicodedata.normalize("NFD", id), text=PARTS), ensure_ascii=False).encode()
    written = bytes_in_nfc(raw)
    assert decode(written) == decode(raw)
    assert (written == raw) is (unicodedata.normalize("NFD", id) == nfc(id))
    assert bytes_in_nfc(written) is written
    assert json.loads(written)["data"]["text"] == PARTS


@given(ACCENTED)
def test_other_spellings_are_the_same_text_and_hold_the_decomposed_one(id: str) -> None:
    whole = nfc(id)
    others = other_spellings(whole)
    assert {nfc(other) for other in others} <= {whole}
    assert whole not in others
    assert len(set(others)) == len(others) < 150
    if (parts := unicodedata.normalize("NFD", id)) != whole:
        assert parts in others


@given(st.text("ab\u00e9", max_size=12), st.text("ab\u00e9", max_size=12))
def test_a_name_whose_parts_have_two_forms_is_among_them(one: str, two: str) -> None:
    mixed = unicodedata.normalize("NFD", one) + two
    assert mixed in {nfc(one + two), *other_spellings(nfc(one + two))}


def test_ids_in_urls_filters_and_records_of_erasures_are_in_nfc() -> None:
    assert TypeAdapter(PathId).validate_python(PARTS) == WHOLE
    query = ExportQuery(consumer_id=PARTS, provider_id=PARTS, key=PARTS)
    assert (query.consumer_id, query.provider_id, query.key) == (WHOLE, WHOLE, WHOLE)
    entry = {"erasure": "x", "tenant": "t", "consumer_id": PARTS, "mode": "delete", "time": "2026-05-02T09:00:00Z"}
    assert decode_entry(json.dumps(entry).encode()).document_id == f"t:{WHOLE}"
    order = fields() | {"type": "relation.subject_erased", "data": {"consumer_id": PARTS, "mode": "delete"}}
    found = decode_internal(json.dumps(order).encode())
    assert found is not None
    assert found.data.consumer_id == WHOLE
