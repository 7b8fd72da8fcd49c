"""When a delivery is attempted again."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.webhooks.delivery import retry_policy

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
    assert not retry_policy.is_given_up(None, NOW)
    assert not retry_policy.is_given_up(NOW - timedelta(days=4, hours=23), NOW)
    assert retry_policy.is_given_up(NOW - timedelta(days=5), NOW)
