"""When a delivery is attempted again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.delivery import retry_policy
from services.webhooks.delivery.health import Health

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def test_ten_attempts_take_three_days() -> None:
    times = [NOW]
    while (due := retry_policy.next_attempt(len(times), times[-1], 0.0)) is not None:
        times.append(due)
    assert len(times) == retry_policy.MOST_ATTEMPTS == 10
    assert times[1] - NOW == timedelta(seconds=5)
    assert times[-1] - NOW == timedelta(seconds=sum(retry_policy.DELAYS))
    assert timedelta(days=3) < times[-1] - NOW < retry_policy.DISABLED_AFTER


@given(st.integers(1, 9), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 10**9)))
def test_the_wish_of_the_receiver_is_kept_within_a_day(attempts: int, jitter: float, wish: float | None) -> None:
    due = retry_policy.next_attempt(attempts, NOW, jitter, wish)
    assert due is not None
    seconds = (due - NOW).total_seconds()
    assert seconds >= retry_policy.DELAYS[attempts - 1]
    assert seconds >= min(wish or 0, 86_400) - 1
    assert seconds <= max(86_400, retry_policy.DELAYS[attempts - 1] * 1.1) + 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("Sun, 29 Nov 2026 12:01:00 GMT", 60.0),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("9" * 30, None),
        ("Sun, 99 Nov 2026 12:01:00", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_policy.retry_after(header, NOW) == seconds


def test_an_endpoint_pauses_longer_and_longer_but_single_failures_do_not_stop_it() -> None:
    assert retry_policy.pause(retry_policy.BREAKS_AFTER - 1, 1.0) == 0
    pauses = [retry_policy.pause(n, 0.0) for n in range(retry_policy.BREAKS_AFTER, 60)]
    assert pauses == sorted(pauses)
    assert pauses[0] == 5
    assert pauses[-1] == 300


def test_five_days_without_a_success_disable() -> None:
    failed = [NOW - timedelta(days=1)]
    assert not retry_policy.is_given_up(None, failed, NOW)
    assert not retry_policy.is_given_up(NOW - timedelta(days=4, hours=23), failed, NOW)
    assert retry_policy.is_given_up(NOW - timedelta(days=5), failed, NOW)


HOURS = st.integers(1, 300).map(lambda quarters: timedelta(minutes=15 * quarters))


@given(st.lists(HOURS, min_size=1, max_size=60))
def test_what_is_remembered_of_failures_decides_as_all_of_them_do(gaps: list[timedelta]) -> None:
    health, endpoint = Health({}), dict[str, Any]()
    times: list[datetime] = []
    now = NOW
    for gap in gaps:
        now += gap
        times.append(now)
        health.failed(500, None, now, 0.0, lambda: 0.0)
        within = [at for at in times if retry_policy.FAILED_BEFORE <= now - at <= retry_policy.DISABLED_AFTER]
        long = now - times[0] >= retry_policy.DISABLED_AFTER
        if health.is_given_up(now):
            assert long
            assert within, "never without a failure that counts"
        elif long and within:
            # One that is not remembered is within an hour of one that is, and that one counts no more.
            assert all(now - at > retry_policy.DISABLED_AFTER - timedelta(hours=1) for at in within)
        endpoint |= health.changes(endpoint, now, delivered=False, gone=False).stated
        assert len(endpoint["failed"]) <= 5 * 24 + 1
        # Another process reads it, and goes on.
        health = Health(endpoint)


def test_an_endpoint_of_before_failures_were_remembered_gets_half_a_day() -> None:
    endpoint: dict[str, Any] = {"failing_since": NOW - timedelta(days=9), "failures": 7}
    health = Health(endpoint)
    for hours, disabled in ((0, False), (11, False), (12, True)):
        now = NOW + timedelta(hours=hours)
        health.failed(500, None, now, 0.0, lambda: 0.0)
        changes = health.changes(endpoint, now, delivered=False, gone=False)
        assert ("state" in changes.stated) is disabled
    assert changes.stated["failed"] == [NOW + timedelta(hours=hours) for hours in (0, 11, 12)]
    removed = health.changes({**endpoint, **changes.stated}, NOW, delivered=True, gone=False).removed
    assert removed == {"failing_since", "failures", "failed"}


def test_what_is_read_again_from_the_database_is_no_change() -> None:
    health, at = Health({}), NOW.replace(microsecond=123_456)
    health.failed(500, None, at, 0.0, lambda: 0.0)
    changes = health.changes({}, at, delivered=False, gone=False)
    # MongoDB stores milliseconds.
    stored = NOW.replace(microsecond=123_000)
    assert changes.stated == {"failing_since": stored, "failures": 1, "failed": [stored]}
    health.failed(500, None, at + timedelta(minutes=1), 60.0, lambda: 0.0)
    again = health.changes({**changes.stated}, at + timedelta(minutes=1), delivered=False, gone=False)
    assert (again.stated, again.removed) == ({}, set())
