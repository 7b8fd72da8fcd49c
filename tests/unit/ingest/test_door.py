"""The door: one verdict per event, and forwarded bytes that decode to what was judged."""

import base64
import json
import unicodedata
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.door import Accepted, Door, Rejected, Verdict, _completed
from services.ingest.items import split_sound
from services.ingest.limits import MAX_EVENTS, Refused
from services.ingest.modes import Header
from shared.contracts import codec
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Event, event_key
from shared.contracts.topics import Topics
from shared.contracts.wire import BOM, check_json
from tests.support import strategies

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DOOR = Door(Topics("kith"), max_future_seconds=3600)
STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
PLAIN = "application/json"
#: What JSON and its faults are made of.
PIECES = [*b'"a" "id" : , { } [ ] NaN 01 1 null "\\ud83d" "\xff"'.split(), b" "]


def fields(**changes: Any) -> dict[str, Any]:
    """A good event as JSON; a field changed to None is left out."""
    event = {
        "specversion": "1.0",
        "id": "e1",
        "source": "shop",
        "type": "relation.recorded",
        "time": "2026-11-20T12:00:00Z",
        "data": {"relation_id": "r1", "kind": "view", "consumer_id": "c1", "provider_id": "p1"},
        **changes,
    }
    return {name: value for name, value in event.items() if value is not None}


def test_ids_in_another_form_go_on_in_nfc_in_the_key_and_in_the_bytes() -> None:
    data = {
        "relation_id": "e\u0301",
        "kind": "view",
        "consumer_id": "jose\u0301",
        "provider_id": "p",
        "text": "e\u0301",
    }
    for body in (json.dumps(fields(data=data)), json.dumps(fields(data=data), ensure_ascii=False)):
        [verdict] = judge(body.encode())
        assert isinstance(verdict, Accepted)
        assert verdict.message.key == "default:jos\u00e9".encode()
        found = json.loads(verdict.message.value)["data"]
        assert (found["consumer_id"], found["relation_id"], found["text"]) == ("jos\u00e9", "\u00e9", "e\u0301")


def test_an_erased_consumer_is_suppressed_in_every_spelling() -> None:
    door = Door(Topics("kith"), 3600, erased=lambda _tenant, consumer: consumer == "jos\u00e9")
    body = json.dumps(fields(data={**fields()["data"], "consumer_id": "jose\u0301"})).encode()
    [verdict] = door.judge(body, [(b"content-type", PLAIN.encode())], NOW)
    assert isinstance(verdict, Rejected)
    assert verdict.reason == "suppressed"


def judge(body: object, content_type: str = PLAIN, **headers: str) -> list[Verdict]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent: list[Header] = [(b"content-type", content_type.encode())]
    sent += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return DOOR.judge(raw, sent, NOW)


def accepted(verdicts: list[Verdict]) -> list[Event]:
    """The events that were let in, decoded from the bytes that go to Kafka."""
    events = []
    for verdict in verdicts:
        assert isinstance(verdict, Accepted), verdict
        event = codec.decode(verdict.message.value)
        assert verdict.message.key == event_key(event)
        assert verdict.message.topic == Topics("kith").of(event)
        events.append(event)
    return events


def rejected(verdicts: list[Verdict]) -> Rejected:
    (verdict,) = verdicts
    assert isinstance(verdict, Rejected), verdict
    return verdict


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (STRUCTURED, fields()),
        (f"{STRUCTURED}; charset=UTF-8", fields()),
        ("Application/CloudEvents+JSON", fields()),
        (BATCHED, [fields()]),
        (PLAIN, fields()),
        (PLAIN, [fields()]),
        ('application/json; charset="utf-8"', [fields()]),
    ],
)
def test_a_good_event_passes_in_every_json_mode(content_type: str, body: object) -> None:
    (event,) = accepted(judge(body, content_type))
    assert event == codec.decode_fields(fields())


def test_the_bytes_of_an_event_are_forwarded_as_they_came() -> None:
    one = json.dumps(fields(id="a", extension={"x": 1e3}), indent=2).encode()
    two = b'{"id":"b\\u0041",' + json.dumps(fields(id=None)).encode()[1:]
    verdicts = judge(b" [\n" + one + b" ,\t" + two + b"]\r\n", BATCHED)
    assert [v.message.value for v in verdicts if isinstance(v, Accepted)] == [one, two]


@pytest.mark.parametrize(
    ("type", "data", "topic", "key"),
    [
        ("consumer.upserted", {"consumer_id": "c1"}, "kith.consumers", b"default:c1"),
        ("provider.closed", {"provider_id": "p1"}, "kith.providers", b"default:p1"),
        ("relation.retracted", {"relation_id": "r", "consumer_id": "c1"}, "kith.relations", b"default:c1"),
    ],
)
def test_each_event_goes_to_its_topic_under_its_key(type: str, data: Any, topic: str, key: bytes) -> None:
    (verdict,) = judge(fields(type=type, data=data))
    assert isinstance(verdict, Accepted)
    assert (verdict.message.topic, verdict.message.key) == (topic, key)


def test_an_empty_batch_is_a_batch() -> None:
    assert judge([], BATCHED) == []


def test_one_bad_event_rejects_only_itself() -> None:
    events = [fields(id=str(n)) for n in range(5)]
    events[3]["data"]["kind"] = 7
    verdicts = judge(events, BATCHED)
    assert [isinstance(verdict, Accepted) for verdict in verdicts] == [True, True, True, False, True]
    bad = verdicts[3]
    assert isinstance(bad, Rejected)
    assert (bad.index, bad.id, bad.reason, bad.field) == (3, "3", "invalid", "data.kind")


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join), min_size=1, max_size=4))
def test_an_item_that_is_sound_is_json_by_itself(items: list[bytes]) -> None:
    try:
        found = split_sound(b"[" + b",".join(items) + b"]")
    except Refused:
        return
    for item in found or ():
        check_json(item)
        assert _completed(item, {}) == item


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b'{"id": "\\ud83d"}', "lone_surrogate"),  # half an emoji, as JavaScript sends it
        (b'{"id": "x", "a": NaN}', "not_json"),
        (b'{"id": "x", "a": "\xff"}', "not_json"),
        (b'{"id": "x", "a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "not_json"),
        (b'{"id": "x" "a": "b,]"}', "not_json"),
        (b'{"id": "x", "a": 01}', "not_json"),
        (b"null", "invalid"),
        (b"{}", "invalid"),
        (b'"},]"', "invalid"),
        (b'{"id": "x", "a": "' + b"a" * codec.MAX_EVENT_BYTES + b'"}', "too_large"),
        (b'{"dataversion":[],' + json.dumps(fields()).encode()[1:], "unknown_version"),
    ],
)
def test_whatever_is_wrong_with_one_item_the_others_pass(broken: bytes, reason: str) -> None:
    good = json.dumps(fields()).encode()
    for content_type in (BATCHED, PLAIN):
        first, bad, last = judge(b"[" + good + b"," + broken + b", " + good + b"]", content_type)
        assert isinstance(bad, Rejected)
        assert bad.reason == reason
        assert len(accepted([first, last])) == 2


@pytest.mark.parametrize("body", [b"", b"  ", b"{", b"[", b'["a', b"[1,]", b"[,]", b"[]]", b"[] []", b"{}", b"3"])
def test_a_batch_that_is_no_array_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        judge(body, BATCHED)
    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"{} {}", b"nul", b'{"a": Infinity}', BOM, b"{}" + BOM])
@pytest.mark.parametrize("content_type", [STRUCTURED, PLAIN])
def test_a_single_event_that_is_not_json_is_rejected(body: bytes, content_type: str) -> None:
    assert rejected(judge(body, content_type)).reason == "not_json"


@pytest.mark.parametrize("content_type", [STRUCTURED, PLAIN, BATCHED])
def test_a_byte_order_mark_in_front_is_passed_over(content_type: str) -> None:
    body = json.dumps([fields()] if content_type == BATCHED else fields()).encode()
    (event,) = accepted(judge(BOM + body, content_type))
    assert event.id == "e1"


BASE64_DATA = base64.b64encode(json.dumps(fields()["data"]).encode()).decode()


@pytest.mark.parametrize("content_type", [STRUCTURED, PLAIN, BATCHED])
@pytest.mark.parametrize("bom", [b"", BOM])
def test_data_in_base64_is_data(content_type: str, bom: bytes) -> None:
    data = base64.b64encode(bom + json.dumps(fields()["data"]).encode()).decode()
    event = fields(data=None, data_base64=data, x=[1, {"y": "ä"}], datacontenttype="application/json")
    verdicts = judge([event, fields()] if content_type == BATCHED else event, content_type, kith_tenant="acme")
    assert accepted(verdicts)[0].data == accepted(judge(fields()))[0].data
    assert isinstance(verdicts[0], Accepted)
    forwarded = json.loads(verdicts[0].message.value)
    assert "data_base64" not in forwarded
    assert (forwarded["data"], forwarded["x"], forwarded["tenant"]) == (fields()["data"], [1, {"y": "ä"}], "acme")


def test_an_id_with_a_character_that_nobody_sees_is_refused_where_it_would_be_new() -> None:
    for name in ("consumer_id", "provider_id", "relation_id"):
        bad = rejected(judge(fields(data={**fields()["data"], name: "a\u3164b"})))
        assert (bad.reason, bad.field) == ("invalid", f"data.{name}")
    assert rejected(judge(fields(id="e\ufe0f1"))).field == "id"
    erased = {"consumer_id": "a\u3164b", "mode": "delete"}
    [verdict] = judge(fields(type="consumer.erased", data=erased))
    assert isinstance(verdict, Accepted)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("@", "invalid"),
        (BASE64_DATA[:-2], "invalid"),
        (BASE64_DATA + "\n", "invalid"),
        (7, "invalid"),
        ("é", "invalid"),
        ("", "not_json"),
        (base64.b64encode(b"\xff").decode(), "not_json"),
        (base64.b64encode(b"{} {}").decode(), "not_json"),
        (base64.b64encode(b'"text"').decode(), "invalid"),
        (base64.b64encode(b'{"a":1,"a":2}').decode(), "duplicate_member"),
    ],
)
def test_what_is_no_base64_of_json_is_rejected_alike_in_kafka(data: object, reason: str) -> None:
    event = fields(data=None, data_base64=data)
    bad = rejected(judge(event))
    assert (bad.reason, (bad.field or "").split(".")[0] in ("data_base64", "data")) == (reason, True)
    with pytest.raises(InvalidEvent) as refused:
        codec.decode(json.dumps(event).encode())
    assert (refused.value.reason, refused.value.field) == (bad.reason, bad.field)


@pytest.mark.parametrize("content_type", [STRUCTURED, PLAIN])
@pytest.mark.parametrize("tenant", ["default", "acme"])
def test_an_attribute_that_is_null_is_not_stated(content_type: str, tenant: str) -> None:
    # As CloudEvents' JSON format has it.
    unset = '"tenant": null, "dataversion": null, "subject": null, "sequence": null, "x": null, '
    if content_type == PLAIN:
        unset += '"specversion": null, "source": null, '
    stated = fields(specversion=None, source=None) if content_type == PLAIN else fields()
    raw = ("{" + unset + json.dumps(stated)[1:]).encode()
    verdicts = judge(raw, content_type, kith_tenant=tenant)
    (event,) = accepted(verdicts)
    assert (event.tenant, event.dataversion, event.subject) == (tenant, 1, None)
    [verdict] = verdicts
    assert isinstance(verdict, Accepted)
    # An older worker reads it, too.
    assert json.loads(verdict.message.value).get("tenant", "default") == tenant


def test_null_in_kafka_is_not_stated_either_and_hides_no_second_member() -> None:
    raw = json.dumps(fields(x=[None]))[:-1]
    assert codec.decode(f'{raw}, "tenant": null}}'.encode()).tenant == "default"
    for twice in ('"tenant": null, "tenant": "acme"', '"tenant": "acme", "tenant": null'):
        with pytest.raises(InvalidEvent, match="duplicate_member"):
            codec.decode(f"{raw}, {twice}}}".encode())
        assert rejected(judge(f"{raw}, {twice}}}".encode())).reason == "duplicate_member"
    for name in ("specversion", "source"):
        with pytest.raises(InvalidEvent) as refused:
            codec.decode(json.dumps(fields() | {name: None}).encode())
        assert (refused.value.field, refused.value.detail) == (name, "is required")


def test_a_body_in_another_encoding_is_called_so() -> None:
    event = fields(data={**fields()["data"], "text": "café"})
    for raw in (json.dumps(event, ensure_ascii=False).encode("latin-1"), json.dumps(event).encode("utf-16")):
        bad = rejected(judge(raw))
        assert (bad.reason, bad.detail) == ("not_json", "is not UTF-8")


def test_a_byte_order_mark_takes_no_defaults_away() -> None:
    plain = json.dumps(fields(specversion=None, source=None)).encode()
    for body in (BOM + plain, b"[" + BOM + plain + b"]"):
        assert accepted(judge(body))


def test_an_event_has_data_or_data_in_base64_not_both() -> None:
    for extra in ({}, {"x": 1}, {"x": {"y": 1}}):
        bad = rejected(judge(fields(data_base64=BASE64_DATA, **extra)))
        assert (bad.reason, bad.field) == ("invalid", "data_base64")
        with pytest.raises(InvalidEvent, match="data_base64"):
            codec.decode(json.dumps(fields(data_base64=BASE64_DATA, **extra)).encode())
    (event,) = accepted(judge(fields(x={"data_base64": "of its own"})))
    assert event.id == "e1"


def test_an_array_is_no_structured_event() -> None:
    assert rejected(judge([fields()], STRUCTURED)).reason == "invalid"


def test_more_events_than_the_limit_are_refused_without_reading_on() -> None:
    for item in (b"1", b"NaN"):  # which take different ways through the splitter
        assert len(judge(b"[" + (item + b",") * (MAX_EVENTS - 1) + item + b"]")) == MAX_EVENTS
        for end in (b"]", b"", b"]]", b", :"):
            with pytest.raises(Refused) as refused:
                judge(b"[" + (item + b",") * MAX_EVENTS + item + end)
            assert refused.value.status == 413


@pytest.mark.parametrize("body", [b"[" * 60_000, b'["\\ud83d",{' + b'"":[],' * 15_000])
def test_what_is_no_json_is_split_in_pieces(body: bytes) -> None:
    slices = DOOR.slices(body, [(b"content-type", PLAIN.encode())], NOW)
    assert not [verdict for slice in islice(slices, 6) for verdict in slice.verdicts]
    with pytest.raises(Refused):
        next(slices)


def test_any_number_of_byte_order_marks_is_no_json() -> None:
    for number in range(4, 2_000, 400):
        assert rejected(judge(BOM * number + json.dumps(fields()).encode())).reason == "not_json"


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("text/plain", {}),
        ("", {}),
        ("application/cloudevents+avro", {}),
        ("application/cloudevents", {}),
        ("application/json; charset=latin-1", {}),
        ("application/xml", {"ce_id": "x"}),
    ],
)
def test_other_content_types_are_refused(content_type: str, headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        judge(fields(), content_type, **headers)
    assert refused.value.status == 415
    assert refused.value.headers is not None
    assert STRUCTURED in refused.value.headers["Accept-Post"]


def test_another_charset_is_named_with_the_only_one() -> None:
    with pytest.raises(Refused) as refused:
        judge(fields(), 'application/json; charset="Latin-1"')
    assert refused.value.detail == "the charset latin-1 is not accepted: JSON is UTF-8"


def test_a_content_type_that_is_no_name_is_not_quoted() -> None:
    for header in ("text/" + "x" * 100, "application/json é", 'application/json; charset="ada lovelace"'):
        with pytest.raises(Refused) as refused:
            judge(fields(), header)
        assert "is not accepted" in refused.value.detail
        assert not any(part in refused.value.detail for part in ("xxx", "é", "ada"))


def test_plain_json_may_leave_out_specversion_and_source() -> None:
    (event,) = accepted(judge(fields(specversion=None, source=None)))
    assert (event.specversion, event.source, event.id) == ("1.0", "http", "e1")
    assert rejected(judge(fields(source=None), STRUCTURED)).field == "source"
    assert rejected(judge(fields(time=None))).field == "time"
    assert rejected(judge(b"{ }")).reason == "invalid"


def test_what_is_added_counts_toward_the_limit() -> None:
    def padded(size: int) -> bytes:
        start = json.dumps(fields(source=None)).encode()[:-1] + b',"pad":"'
        return start + b"x" * (size - len(start) - 2) + b'"}'

    added = len(b'"source":"http",')
    assert accepted(judge(padded(codec.MAX_EVENT_BYTES - added)))
    assert rejected(judge(padded(codec.MAX_EVENT_BYTES - added + 1))).reason == "too_large"


def test_the_tenant_of_the_header_is_added_to_events_that_state_none() -> None:
    for content_type in (STRUCTURED, PLAIN):
        (event,) = accepted(judge(fields(), content_type, kith_tenant="acme"))
        assert event.tenant == "acme"
    (event,) = accepted(judge(fields(tenant="acme"), kith_tenant="acme"))
    assert event.tenant == "acme"


def test_an_event_of_another_tenant_than_the_header_is_rejected() -> None:
    for header, stated in (("acme", "other"), ("acme", "default"), ("default", "acme")):
        bad = rejected(judge(fields(tenant=stated), kith_tenant=header))
        assert (bad.reason, bad.field, bad.id) == ("wrong_tenant", "tenant", "e1")


@pytest.mark.parametrize("twice", [b'"tenant":"acme","tenant":"other"', b'"tenant":"acme","t\\u0065nant":"other"'])
def test_a_tenant_that_is_stated_twice_does_not_slip_through(twice: bytes) -> None:
    body = b"{" + twice + b"," + json.dumps(fields()).encode()[1:]
    bad = rejected(judge(body, kith_tenant="acme"))
    assert (bad.reason, bad.field) == ("duplicate_member", "tenant")


def test_without_the_header_every_event_speaks_for_itself() -> None:
    first, second = accepted(judge([fields(), fields(tenant="acme")]))
    assert (first.tenant, second.tenant) == ("default", "acme")


@pytest.mark.parametrize("name", ["", "Acme", "a b", "é", "a" * 64])
def test_a_tenant_header_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        judge(fields(), kith_tenant=name)
    assert refused.value.status == 400


def test_two_tenant_headers_are_refused() -> None:
    headers = [(b"content-type", b"application/json"), (b"kith-tenant", b"a"), (b"kith-tenant", b"b")]
    with pytest.raises(Refused, match="twice"):
        DOOR.judge(b"{}", headers, NOW)


def test_an_event_from_the_future_is_rejected() -> None:
    limit = NOW + timedelta(seconds=3600)
    assert accepted(judge(fields(time=limit.isoformat())))
    late = rejected(judge(fields(time=(limit + timedelta(microseconds=1)).isoformat())))
    assert (late.reason, late.field) == ("in_the_future", "time")


@pytest.mark.parametrize("id", [None, 7, "x" * 201, ["a"]])
def test_a_rejection_has_no_id_where_none_can_be_read(id: object) -> None:
    assert rejected(judge(fields(id=id))).id is None


def test_a_rejection_quotes_nothing_but_the_id() -> None:
    bad = rejected(judge(fields(type="consumer.upserted", data={"consumer_id": "c", "secret@example.org": 1})))
    assert bad.reason == "invalid"
    assert "secret" not in bad.detail


@given(events=st.lists(strategies.events(), max_size=6), tenant=st.sampled_from([None, "default", "acme"]))
def test_events_of_every_type_come_out_as_they_went_in(events: list[Event], tenant: str | None) -> None:
    headers = {} if tenant is None else {"kith_tenant": tenant}
    verdicts = judge(b"[" + b",".join(codec.encode(event) for event in events) + b"]", BATCHED, **headers)
    for event, verdict in zip(events, verdicts, strict=True):
        if tenant in (None, event.tenant):
            assert accepted([verdict]) == [event]
        else:
            assert rejected([verdict]).reason == "wrong_tenant"


HOSTILE = st.text(st.characters() | st.sampled_from('"\\,[]{}: \n\x00\u2028\ud800'), max_size=30)


@given(text=HOSTILE, id=HOSTILE, tenant=st.sampled_from([None, "acme"]), escaped=st.booleans(), data=st.data())
def test_hostile_strings_are_forwarded_whole_or_rejected(
    text: str, id: str, tenant: str | None, escaped: bool, data: st.DataObject
) -> None:
    left_out = data.draw(st.sets(st.sampled_from(["specversion", "source"])))
    event = fields(id=id, **dict.fromkeys(left_out), extension=text, **{text: text} if text != "tenant" else {})
    event["data"]["text"] = text
    raw = json.dumps(event, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    good = json.dumps(fields()).encode()
    headers = {} if tenant is None else {"kith_tenant": tenant}
    verdict, last = judge(b"[" + raw + b"," + good + b"]", **headers)
    assert accepted([last])[0].id == "e1"
    if isinstance(verdict, Accepted):
        (event_out,) = accepted([verdict])
        assert event_out.id == unicodedata.normalize("NFC", id)
        assert event_out.tenant == (tenant or "default")
        assert event_out.source == ("http" if "source" in left_out else "shop")
        assert json.loads(verdict.message.value)["extension"] == text


@given(
    body=st.binary(max_size=200)
    | st.text('[]{}",:\\ntrue0-.e\ud800', max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    content_type=st.sampled_from([STRUCTURED, BATCHED, PLAIN, "text/plain", "application/json;charset=x"]),
    header=st.none() | st.tuples(st.sampled_from([b"ce-id", b"ce-", b"kith-tenant", b"ce-data"]), st.binary()),
)
def test_the_door_never_raises_anything_but_refused(body: bytes, content_type: str, header: Header | None) -> None:
    headers = [(b"content-type", content_type.encode()), *([header] if header else [])]
    try:
        verdicts = DOOR.judge(body, headers, NOW)
    except Refused:
        return
    assert all(isinstance(verdict, Rejected) for verdict in verdicts)


def test_a_sender_that_is_bound_to_a_purpose_grants_none() -> None:
    def stated(number: int, data: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"e{number}",
            "type": "consumer.upserted",
            "time": "2026-11-21T10:00:00Z",
            "data": {"consumer_id": "c1", **data},
        }

    consents: list[dict[str, Any]] = [
        {},
        {"consent": {"app_7": False}},
        {"consent": {"app_7": True, "mail": False}},
    ]
    body = json.dumps([stated(number, data) for number, data in enumerate(consents)]).encode()
    sent: list[Header] = [(b"content-type", PLAIN.encode())]
    one, two, refused = DOOR.judge(body, sent, NOW, "default", grants=False)
    assert isinstance(one, Accepted)
    assert isinstance(two, Accepted), "who withdraws sees less"
    assert isinstance(refused, Rejected)
    assert (refused.reason, refused.field) == ("not_granted", "data.consent.app_7")
    assert all(isinstance(each, Accepted) for each in DOOR.judge(body, sent, NOW, "default"))


def test_a_sender_that_is_bound_to_a_purpose_erases_nobody_by_events() -> None:
    erased = {"consumer_id": "c1", "mode": "delete"}
    event = {"id": "e1", "type": "consumer.erased", "time": "2026-11-21T10:00:00Z", "data": erased}
    sent: list[Header] = [(b"content-type", PLAIN.encode())]
    [refused] = DOOR.judge(json.dumps(event).encode(), sent, NOW, "default", grants=False)
    assert isinstance(refused, Rejected)
    assert (refused.reason, refused.field) == ("not_granted", "type")
    [accepted] = DOOR.judge(json.dumps(event).encode(), sent, NOW, "default")
    assert isinstance(accepted, Accepted)
