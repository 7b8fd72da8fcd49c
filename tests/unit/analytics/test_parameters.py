"""Periods and places."""

from typing import Any

import pytest

from services.analytics.parameters import Bucket, bucket_and_key, period
from shared.http.parameters import BadParameter


@pytest.mark.parametrize(
    ("from_", "to", "days", "hours"),
    [
        (
            "2026-11-21",
            "2026-11-22",
            ("2026-11-21", "2026-11-22"),
            ("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
        ),
        (
            "2026-11-21T07:59:59.999999Z",
            "2026-11-21T09:00:00.000001Z",
            ("2026-11-21", "2026-11-22"),
            ("2026-11-21T07:00:00Z", "2026-11-21T10:00:00Z"),
        ),
        (
            "2026-11-21T00:30:00+02:00",
            "2026-11-21t05:30:00+05:30",
            ("2026-11-20", "2026-11-21"),
            ("2026-11-20T22:00:00Z", "2026-11-21T00:00:00Z"),
        ),
        (None, None, ("1970-01-01", "9000-01-01"), ("1970-01-01T00:00:00Z", "9000-01-01T00:00:00Z")),
        (
            "0001-01-01",
            "9999-12-31",
            ("1970-01-01", "9000-01-01"),
            ("1970-01-01T00:00:00Z", "9000-01-01T00:00:00Z"),
        ),
    ],
)
def test_a_period_holds_every_bucket_that_it_touches(
    from_: str | None, to: str | None, days: tuple[str, str], hours: tuple[str, str]
) -> None:
    found = period(from_, to)
    assert (found.days, found.hours) == (days, hours)


@pytest.mark.parametrize(("from_", "to"), [("9500-01-01", "9600-01-01"), ("0900-01-01", "0950-01-01")])
def test_a_period_in_which_no_event_can_be_is_empty(from_: str, to: str) -> None:
    first, end = period(from_, to).days
    assert first >= end


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "20261121",
        "2026-W47-6",
        "2026-02-30",
        "2026-11-21T07:00:00",  # no offset
        "2026-11-21T07:00:00 02:00",  # a plus sign that was not escaped
        "2026-11-21T25:00:00Z",
        "2026-11-21T07:00Z",
        "٢٠٢٦-11-21",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+01:00",
        "2026-11-21\n",
    ],
)
@pytest.mark.parametrize("name", ["from", "to"])
def test_what_is_neither_a_day_nor_a_time_is_refused(name: str, text: str) -> None:
    with pytest.raises(BadParameter, match=f"^{name}: must be a day") as refused:
        period(text, None) if name == "from" else period(None, text)
    assert refused.value.name == name


@pytest.mark.parametrize("to", ["2026-11-21", "2026-11-20", "2026-11-21T01:00:00+01:00"])
def test_a_period_must_not_end_before_it_begins(to: str) -> None:
    with pytest.raises(BadParameter, match=r"^to: must be later than from$"):
        period("2026-11-21", to)


@pytest.mark.parametrize("key", ["", "p1", "café:1%", '"[', "漢"])
@pytest.mark.parametrize(("bucket", "when"), [("day", "2026-11-21"), ("hour", "2026-11-21T07:00:00Z")])
def test_a_place_is_a_bucket_and_a_key(bucket: Bucket, when: str, key: str) -> None:
    assert bucket_and_key([when, key], bucket) == (when, key)


@pytest.mark.parametrize(
    "place",
    [
        [],
        ["2026-11-21"],
        ["2026-11-21", 1],
        [None, "p1"],
        ["2026-11-21", "p1", "p2"],
        ["2026-11-21T07:00:00Z", "p1"],
        ["today", "p1"],
    ],
    ids=str,
)
def test_a_place_of_another_list_is_refused(place: list[Any]) -> None:
    with pytest.raises(BadParameter, match=r"^cursor: is not a value of next from this query$"):
        bucket_and_key(place, "day")
