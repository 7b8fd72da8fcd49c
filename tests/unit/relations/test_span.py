"""The times of a relationship while facts come and go: always those of the facts that are there."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.relations.span import KEPT, Span, Times
from shared.contracts.errors import Stale

Moments = list[int]


def at(minute: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)


def times(minutes: Moments) -> Times | None:
    """What is stored of facts at these minutes, from its definition."""
    if not minutes:
        return None
    all = [at(minute) for minute in sorted(minutes)]
    return Times(all[0], all[-1], all[1:-1] if len(all) <= KEPT else [])


def moved(others: Moments, gone: Moments, come: Moments) -> tuple[Times | None, bool]:
    """The new times, and whether the store had to be asked for those of the others."""
    span = Span(times(others + gone), len(others) + len(gone))
    span.gone += map(at, gone)
    span.come += map(at, come)
    found, certain = span.times()
    if certain:
        return found, False
    answer = sorted(map(at, others))
    return span.with_others(answer if len(answer) <= KEPT else [answer[0], answer[-1]]), True


few = st.lists(st.integers(0, 30), max_size=6)
# Around the bound, where what is kept changes.
many = st.lists(st.integers(0, 30), max_size=KEPT + 6) | st.lists(
    st.integers(0, 30), min_size=KEPT - 2, max_size=KEPT + 2
)


@given(many, few, few)
def test_they_are_those_of_the_facts_that_are_there(others: Moments, gone: Moments, come: Moments) -> None:
    assert moved(others, gone, come)[0] == times(others + come)


@given(many, few, few)
def test_a_small_relationship_never_asks(others: Moments, gone: Moments, come: Moments) -> None:
    if len(others) + len(gone) <= KEPT:
        assert not moved(others, gone, come)[1]


def test_a_large_one_asks_when_its_end_goes() -> None:
    others = list(range(1, KEPT + 10))
    assert moved(others, [0], [5]) == (times([*others, 5]), True)
    assert moved(others, [50], [5]) == (times([*others, 5]), True)
    assert moved(others, [0, 50], [0, 51]) == (times([*others, 0, 51]), False)
    assert moved(others, [7], [8]) == (times([*others, 8]), False)


def test_it_asks_when_few_are_left() -> None:
    others = list(range(KEPT))
    assert moved(others, [5], []) == (times(others), True)


def test_what_was_stored_before_times_were_kept_is_asked_for() -> None:
    span = Span(Times(at(1), at(9), []), 3)
    span.come.append(at(5))
    assert span.times() == (None, False)
    assert span.with_others([at(1), at(2), at(9)]) == times([1, 2, 5, 9])


def test_a_fact_that_the_relationship_does_not_know_was_read_too_early() -> None:
    span = Span(times([1, 2, 3]), 3)
    span.gone.append(at(4))
    with pytest.raises(Stale):
        span.times()
