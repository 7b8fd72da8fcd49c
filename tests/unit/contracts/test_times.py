"""Only RFC 3339 with an offset is a time: at the door in every mode, in Kafka, in parameters and options."""

import calendar
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.cli.times import parse_time
from services.ingest.door import Accepted, Door
from services.relations.projection import RelationsProjection
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import RelationRecorded, Version
from shared.contracts.topics import Topics
from shared.http.parameters import BadParameter, moment
from shared.runtime.protocols import Partition, Record
from tests.support.builders import STRENGTH

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CENTURIES = 10**12  # seconds
DOOR = Door(Topics(), CENTURIES)
PROJECTION = RelationsProjection(Topics(), STRENGTH, CENTURIES)
DIGITS = "0123456789"


def number(text: str, length: int) -> int:
    if len(text) != length or any(c not in DIGITS for c in text):
        raise ValueError
    return int(text)


def by_the_grammar(text: str) -> datetime:
    """RFC 3339's ``date-time``, read by hand: what it is in UTC, cut to microseconds. Raises ValueError."""
    year, month, day = number(text[:4], 4), number(text[5:7], 2), number(text[8:10], 2)
    if text[4:5] + text[7:8] != "--" or text[10:11] not in ("T", "t") or text[13:14] + text[16:17] != "::":
        raise ValueError
    hour, minute, second = number(text[11:13], 2), number(text[14:16], 2), number(text[17:19], 2)
    rest, micros = text[19:], 0
    if rest[:1] == ".":
        zone = next((i for i, c in enumerate(rest[1:], 1) if c not in DIGITS), len(rest))
        if zone == 1:
            raise ValueError
        micros, rest = int((rest[1:zone] + "000000")[:6]), rest[zone:]
    offset = 0
    if rest not in ("Z", "z"):
        if rest[:1] not in ("+", "-") or rest[3:4] != ":":
            raise ValueError
        hours, minutes = number(rest[1:3], 2), number(rest[4:], 2)
        if hours > 23 or minutes > 59:
            raise ValueError
        offset = (hours * 60 + minutes) * (-1 if rest[0] == "-" else 1)
    # A leap second is none that a clock here can hold.
    if not 1 <= month <= 12 or hour > 23 or minute > 59 or second > 59 or year == 0:
        raise ValueError
    if not 1 <= day <= calendar.monthrange(year, month)[1]:
        raise ValueError
    return datetime(year, month, day, hour, minute, second, micros, UTC) - timedelta(minutes=offset)


def expected(text: str) -> datetime | None:
    """The time that an event is dated by it; None when it is none."""
    try:
        time = by_the_grammar(text)
    except (ValueError, OverflowError):
        return None
    return time if datetime(1970, 1, 1, tzinfo=UTC) <= time < datetime(9000, 1, 1, tzinfo=UTC) else None


def event(**changes: Any) -> dict[str, Any]:
    data = {"relation_id": "r1", "kind": "view", "consumer_id": "c1", "provider_id": "p1"}
    fixed = {"specversion": "1.0", "id": "e1", "source": "shop", "type": "relation.recorded"}
    return {**fixed, "time": "2026-11-20T12:00:00Z", "data": data, **changes}


def in_kafka(value: bytes) -> RelationRecorded | None:
    record = Record(Partition("kith.relations", 0), 0, 1_800_000_000_000, None, value)
    try:
        found = PROJECTION.decode(record)
    except InvalidEvent:
        return None
    assert isinstance(found, RelationRecorded)
    return found


def at_the_door(body: bytes, content_type: str, **headers: bytes) -> RelationRecorded | None:
    sent = [(b"content-type", content_type.encode())]
    sent += [(b"ce-" + name.encode(), value) for name, value in headers.items()]
    (verdict,) = DOOR.judge(body, sent, NOW)
    if not isinstance(verdict, Accepted):
        return None
    found = in_kafka(verdict.message.value)
    assert found is not None, "what the door lets in is refused in Kafka"
    return found


def parts(*good: str, bad: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    # Mostly good, so that many are good as a whole.
    return st.sampled_from([*good * (1 + 3 * len(bad) // max(1, len(good))), *bad])


NEARLY = st.tuples(
    parts("", bad=("-", "+", " ")),
    parts("2026", "1970", "2024", "8999", bad=("0000", "9999", "26", "12026", "٢٠٢٦", "1969")),
    parts("-", bad=("", "/", "−")),
    parts("02", "12", "06", bad=("00", "13", "2", "W10")),
    parts("-", bad=("", ":")),
    parts("28", "01", "29", bad=("00", "30", "31", "1", "٠١")),
    parts("T", "t", bad=(" ", "_", "")),
    parts("00", "23", "09", bad=("24", "9", "-1")),
    parts(":", bad=("",)),
    parts("00", "59", bad=("60", "5")),
    parts(":00", ":59", ":07", bad=(":60", ":61", "", ":", ":7")),
    parts("", ".1", ".123", ".1234567891234", ".999999999", bad=(".", ",5", ".٣", ".1.2", ".-1")),
    parts(
        "Z",
        "z",
        "+00:00",
        "-00:00",
        "+05:30",
        "-12:00",
        "+23:59",
        bad=("", "+24:00", "+00:60", "+0530", "+05", "Zz", " Z", "−05:00", "[UTC]", "Z "),
    ),
).map("".join)
NUMBERS = st.integers(-(10**20), 10**20).map(str) | st.floats().map(repr) | st.text(DIGITS, max_size=20)
TEXTS = NEARLY | NUMBERS | st.datetimes().map(datetime.isoformat) | st.text("0123456789-:TtZz+. W", max_size=30)


@given(TEXTS)
@settings(max_examples=600)
@example("20260302")
@example("2026-03-02")
@example("2026-W10-1T00:00:00Z")
@example("2016-12-31T23:59:60Z")
@example("2026-03-02T24:00:00Z")
@example("2026-03-02T09:30Z")
@example("2026-03-02 09:30:00Z")
@example("1772443800")
@example("1772443800.5")
@example("-1")
@example("1e9")
@example("")
@example("1970-01-01T00:00:00+00:01")
@example("8999-12-31T23:59:59-00:01")
@example("2026-03-02T09:30:00." + "9" * 5000 + "Z")
def test_a_text_is_a_time_everywhere_or_nowhere(text: str) -> None:
    time = expected(text)
    dated = json.dumps(event(time=text)).encode()
    data = json.dumps(event()["data"]).encode()
    ce = {"specversion": b"1.0", "id": b"e1", "source": b"shop", "type": b"relation.recorded"}
    found = [
        in_kafka(dated),
        at_the_door(dated, "application/json"),
        at_the_door(b"[" + dated + b"]", "application/json"),
        at_the_door(dated, "application/cloudevents+json"),
        at_the_door(b"[" + dated + b"]", "application/cloudevents-batch+json"),
        at_the_door(data, "application/json", **ce, time=quote(text).encode()),
    ]
    assert [one and one.time for one in found] == [time] * 6
    occurred = json.dumps(event(data={**event()["data"], "occurred_at": text})).encode()
    for one in (in_kafka(occurred), at_the_door(occurred, "application/json")):
        assert (one and one.data.occurred_at) == time


@given(TEXTS)
@example("20260302")
@example("2026-W10-1")
@example("2026-11-21T10:00:00")
@example("2026-3-2")
@example("0001-01-01T00:00:00+00:01")
def test_parameters_and_options_take_such_a_time_or_a_day(text: str) -> None:
    wanted: datetime | None
    try:
        wanted = by_the_grammar(text if len(text) != 10 else f"{text}T00:00:00Z")
    except (ValueError, OverflowError):
        wanted = None
    try:
        asked: datetime | None = moment("from", text)
    except BadParameter:
        asked = None
    try:
        typed: datetime | None = parse_time(text, NOW)
    except ValueError:
        typed = None
    assert (asked, typed) == (wanted, wanted)


@pytest.mark.parametrize("text", ["20260302", "2026-03-02 09:30:00Z", "1772443800", "2026-03-02T09:30:00"])
def test_what_is_no_time_is_told_what_one_is(text: str) -> None:
    (verdict,) = DOOR.judge(json.dumps(event(time=text)).encode(), [(b"content-type", b"application/json")], NOW)
    assert not isinstance(verdict, Accepted)
    assert (verdict.reason, verdict.field) == ("invalid", "time")
    assert verdict.detail.startswith("must be an RFC 3339 time with its offset, such as 2026-11-21T07:00:00Z")
    assert text not in verdict.detail


def test_a_leap_second_is_refused_by_name() -> None:
    body = json.dumps(event(time="2016-12-31T23:59:60Z")).encode()
    (verdict,) = DOOR.judge(body, [(b"content-type", b"application/json")], NOW)
    assert not isinstance(verdict, Accepted)
    assert "leap second" in verdict.detail


def test_events_of_one_millisecond_are_ordered_by_their_microseconds_then_source_and_id() -> None:
    def version(fraction: str, id: str) -> Version:
        found = in_kafka(json.dumps(event(id=id, time=f"2026-03-02T09:30:00.{fraction}Z")).encode())
        assert found is not None
        return found.version

    assert version("123456", "a") > version("123455", "b")
    # Beyond microseconds nothing is kept: source and id decide, whichever came first.
    assert version("1234569", "a") < version("1234561", "b")
    assert version("1234569", "a")[0] == version("123456", "a")[0]
