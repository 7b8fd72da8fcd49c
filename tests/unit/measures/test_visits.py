"""Activity, growth accounting and cohorts against sets that are counted one by one."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.measures.activity import activity, merged_activity
from shared.measures.cohorts import cohorts
from shared.measures.days import Span, Unit, bucket_of, date_of, day_named, day_of, start_of
from shared.measures.lifecycle import lifecycle
from shared.measures.query import BadMeasure, PeriodQuery, bucketed
from shared.measures.visits import Visits, by_day

FIRST = day_named("2025-12-01")

#: Of each consumer the days with a relation.
VISITS = st.lists(st.sets(st.integers(FIRST - 60, FIRST + 90)).map(sorted), max_size=8)
SPANS = st.builds(
    lambda first, length: Span(FIRST + first, FIRST + first + length), st.integers(-40, 40), st.integers(1, 45)
)
UNITS: st.SearchStrategy[Unit] = st.sampled_from(["day", "week", "month"])


def portions(visits: list[list[int]], most: int = 5) -> Visits:
    """As the measures read them."""
    return by_day(((str(consumer), days) for consumer, days in enumerate(visits)), most)


@given(VISITS, st.integers(1, 30))
def test_portions_have_all_days_of_their_consumers(visits: list[list[int]], most: int) -> None:
    found = [[(day, list(consumers)) for day, consumers in days] for days in portions(visits, most)]
    seen: dict[str, list[int]] = {}
    for days in found:
        assert [day for day, _ in days] == sorted({day for day, _ in days})
        members = {consumer for _, consumers in days for consumer in consumers}
        assert not members & seen.keys()
        assert sum(len(consumers) for _, consumers in days) < most + max(map(len, visits), default=0)
        for day, consumers in days:
            for consumer in consumers:
                seen.setdefault(consumer, []).append(day)
    assert seen == {str(consumer): days for consumer, days in enumerate(visits) if days}


def begin(day: int, unit: Unit) -> date:
    """The first day of a bucket, by the calendar of the standard library."""
    at = date(1970, 1, 1) + timedelta(days=day)
    if unit == "week":
        return at - timedelta(days=at.weekday())
    return at.replace(day=1) if unit == "month" else at


def following(at: date, unit: Unit) -> date:
    if unit == "month":
        return (at + timedelta(days=31)).replace(day=1)
    return at + timedelta(days=7 if unit == "week" else 1)


def buckets(span: Span, unit: Unit) -> list[date]:
    found = [begin(span.first, unit)]
    while following(found[-1], unit) <= date_of(span.end - 1):
        found.append(following(found[-1], unit))
    return found


@given(st.integers(0, 2_500_000), UNITS)
def test_buckets_are_those_of_the_calendar(day: int, unit: Unit) -> None:
    bucket = bucket_of(day, unit)
    assert date_of(start_of(bucket, unit)) == begin(day, unit)
    assert date_of(start_of(bucket + 1, unit)) == following(begin(day, unit), unit)
    assert day_of(date_of(day)) == day == day_named(date_of(day).isoformat())


@given(VISITS, SPANS)
def test_activity_counts_sets(visits: list[list[int]], span: Span) -> None:
    found = activity(portions(visits), span)
    assert [day_of(item.day) for item in found.items] == list(range(span.first, span.end))
    for item in found.items:
        day = day_of(item.day)
        dau, wau, mau = (
            sum(any(day - window < visit <= day for visit in days) for days in visits) for window in (1, 7, 30)
        )
        assert (item.dau, item.wau, item.mau) == (dau, wau, mau)
        assert item.stickiness == (dau / mau if mau else None)
    assert found.consumers == sum(any(span.first <= day < span.end for day in days) for days in visits)
    assert (found.method, found.relative_error) == ("exact", 0)


@given(VISITS, SPANS)
def test_merging_days_gives_the_same_when_nothing_is_estimated(visits: list[list[int]], span: Span) -> None:
    def distinct(first: int, end: int) -> int:
        return sum(any(first <= day < end for day in days) for days in visits)

    daily = [distinct(day, day + 1) for day in range(span.first, span.end)]
    found = merged_activity(daily, distinct, span, 0.016)
    exact = activity(portions(visits), span)
    assert (found.items, found.consumers) == (exact.items, exact.consumers)
    assert (found.method, found.relative_error) == ("sketch", 0.016)


def test_an_estimate_never_says_that_more_days_have_fewer_consumers() -> None:
    found = merged_activity([10, 4], lambda first, end: 9.0 if end - first < 30 else 8.0, Span(100, 102), 0.016)
    assert [(item.dau, item.wau, item.mau) for item in found.items] == [(10, 10, 10), (4, 9, 9)]
    assert found.consumers == 10


@given(VISITS, SPANS, UNITS, st.integers(-5, 5))
def test_lifecycle_is_what_sets_of_consumers_say(
    visits: list[list[int]], span: Span, unit: Unit, ahead: int
) -> None:
    whole = span.whole(unit)
    seen = [[day for day in days if day < whole.end] for days in visits]
    today = span.end - 1 + ahead
    found = lifecycle(portions(seen), whole, unit, today)
    assert [item.bucket for item in found.items] == buckets(span, unit)
    active: dict[date, set[int]] = {}
    for consumer, days in enumerate(seen):
        for day in days:
            active.setdefault(begin(day, unit), set()).add(consumer)
    for item in found.items:
        now = active.get(item.bucket, set())
        before = active.get(begin(day_of(item.bucket) - 1, unit), set())
        ever = {consumer for bucket, members in active.items() if bucket < item.bucket for consumer in members}
        assert item.new == len(now - ever)
        assert item.returning == len(now & before)
        assert item.resurrected == len((now & ever) - before)
        assert item.lost == len(before - now)
        assert item.active == len(now)
        assert item.complete == (day_of(following(item.bucket, unit)) <= today)
    for before_item, item in zip(found.items, found.items[1:], strict=False):
        assert item.active == before_item.active + item.new + item.resurrected - item.lost


@given(VISITS, SPANS, UNITS, st.integers(-50, 50))
def test_cohorts_are_what_sets_of_consumers_say(
    visits: list[list[int]], span: Span, unit: Unit, ahead: int
) -> None:
    whole = span.whole(unit)
    seen = [[day for day in days if day < whole.end] for days in visits]
    today = span.end - 1 + ahead
    found = cohorts(portions(seen), whole, unit, today)
    ended = [at for at in buckets(span, unit) if at <= date_of(today)]
    expected = {}
    for cohort in ended:
        members = [days for days in seen if days and begin(days[0], unit) == cohort]
        if members:
            row = [sum(any(begin(day, unit) == at for day in days) for days in members) for at in ended]
            expected[cohort] = row[ended.index(cohort) :]
    assert {item.cohort: item.active for item in found.items} == expected
    for item in found.items:
        assert item.size == item.active[0]
        assert item.retention == [count / item.size for count in item.active]
        assert item.retention[0] == 1
    if ended:
        assert found.running == (day_of(following(ended[-1], unit)) > today)
    for k, average in enumerate(found.average):
        old = [
            (row[k], row[0])
            for cohort, row in expected.items()
            if k < len(row) and not (found.running and ended.index(cohort) + k == len(ended) - 1)
        ]
        assert average == (sum(a for a, _ in old) / sum(n for _, n in old) if old else None)


def test_nothing_is_nothing() -> None:
    span = Span(FIRST, FIRST + 2)
    assert [item.stickiness for item in activity([], span).items] == [None, None]
    assert cohorts([], span, "week", FIRST).items == []
    assert [item.active for item in lifecycle([], span, "day", FIRST).items] == [0, 0]


def test_one_consumer_through_the_months() -> None:
    days = [day_named(day) for day in ("2025-12-31", "2026-01-01", "2026-03-15")]
    span = Span(day_named("2026-01-01"), day_named("2026-05-01"))
    found = lifecycle(portions([days]), span, "month", day_named("2026-04-10"))
    assert [
        (str(item.bucket), item.new, item.returning, item.resurrected, item.lost, item.complete)
        for item in found.items
    ] == [
        ("2026-01-01", 0, 1, 0, 0, True),
        ("2026-02-01", 0, 0, 0, 1, True),
        ("2026-03-01", 0, 0, 1, 0, True),
        ("2026-04-01", 0, 0, 0, 1, False),
    ]
    begun = cohorts(portions([days]), Span(day_named("2025-12-01"), span.end), "month", day_named("2026-04-10"))
    assert [(str(item.cohort), item.active) for item in begun.items] == [("2025-12-01", [1, 1, 0, 1, 0])]
    # April has not ended, so it is not averaged.
    assert (begun.running, begun.average) == (True, [1, 1, 0, 1, None])


def query(**fields: str) -> PeriodQuery:
    return PeriodQuery.model_validate(fields)


def test_a_period_is_whole_days_and_ends_with_today() -> None:
    today = day_named("2026-11-21")
    assert query().span(today, 7).names == ("2026-11-15", "2026-11-22")
    assert query().span(today).names == ("1970-01-01", "2026-11-22")
    assert query(**{"from": "2026-11-01", "to": "2026-11-02"}).span(today, 7).names == ("2026-11-01", "2026-11-02")
    assert bucketed(query(), "week", today).names == ("2026-08-24", "2026-11-23")
    assert bucketed(query(**{"from": "2026-10-31"}), "month", today).names == ("2026-10-01", "2026-12-01")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (lambda: query(**{"from": "2026-11-02", "to": "2026-11-02"}).span(FIRST), "to"),
        (lambda: query(**{"from": "2026-11-02"}).span(day_named("2026-11-01")), "to"),
        (lambda: bucketed(query(**{"from": "1990-01-01"}), "month", FIRST), "from"),
        (lambda: bucketed(query(**{"from": "2024-01-01"}), "day", FIRST, square=True), "from"),
    ],
)
def test_a_period_that_cannot_be_names_its_end(asked: Callable[[], object], field: str) -> None:
    with pytest.raises(BadMeasure) as raised:
        asked()
    assert raised.value.name == field
