"""Strength against the formula written down naively, and what the design claims of it."""

import math
import random
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.relations.strength import Strength, month_number, month_of
from tests.support.builders import STRENGTH

Kinds = dict[str, dict[str, dict[str, Any]]]

MONTHS = st.tuples(st.integers(1970, 2040), st.integers(1, 12)).map(lambda place: f"{place[0]:04d}-{place[1]:02d}")
CELLS = st.integers(1, 10_000).map(lambda count: {"count": count})
KINDS = st.dictionaries(
    st.sampled_from(["purchase", "view", "subscribe", "unheard_of"]),
    st.dictionaries(MONTHS, CELLS, min_size=1, max_size=5),
    min_size=1,
    max_size=4,
)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
STRENGTHS = st.builds(
    Strength,
    st.fixed_dictionaries({kind: st.floats(0.01, 100) for kind in ("purchase", "view", "subscribe")}),
    st.floats(1.5, 60),
)
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def naive(strength: Strength, kinds: Kinds, now: datetime) -> float:
    """The sum over all relations, one by one in months since the year 0."""
    return math.fsum(
        strength.weights.get(kind, 1.0)
        * cell["count"]
        * 2 ** -((12 * now.year + now.month - 12 * int(month[:4]) - int(month[5:])) / strength.half_life)
        for kind, months in kinds.items()
        for month, cell in months.items()
    )


@given(STRENGTHS, KINDS, TIMES)
def test_strength_is_what_the_formula_says(strength: Strength, kinds: Kinds, now: datetime) -> None:
    expected = naive(strength, kinds, now)
    total, parts = strength.at(kinds, now)
    assert total == pytest.approx(expected, rel=1e-12)
    assert strength.from_score(strength.score(kinds), now) == pytest.approx(expected, rel=1e-9)
    assert parts.keys() == kinds.keys()
    for kind, part in parts.items():
        assert part == pytest.approx(naive(strength, {kind: kinds[kind]}, now), rel=1e-12)
    assert sum(parts.values()) == pytest.approx(total, rel=1e-12)


@given(STRENGTHS, KINDS, TIMES)
def test_shares_are_those_of_the_strength_at_any_time(strength: Strength, kinds: Kinds, now: datetime) -> None:
    total, parts = strength.at(kinds, now)
    shares = strength.shares(kinds)
    assert sum(shares.values()) == pytest.approx(1.0, rel=1e-12)
    assert shares == {kind: pytest.approx(part / total, rel=1e-9) for kind, part in parts.items()}


@given(STRENGTHS, st.lists(KINDS, min_size=2, max_size=8), st.lists(TIMES, min_size=1, max_size=4))
@example(STRENGTH, [{"view": {"2026-01": {"count": 1}}}, {"view": {"2020-01": {"count": 5}}}], [NOW])
def test_the_score_sorts_by_strength_at_any_time(
    strength: Strength, several: list[Kinds], times: list[datetime]
) -> None:
    ordered = sorted(several, key=strength.score, reverse=True)
    for now in times:
        for stronger, weaker in pairwise(ordered):
            assert naive(strength, stronger, now) >= naive(strength, weaker, now) * (1 - 1e-9)


@given(STRENGTHS, KINDS, TIMES)
def test_relations_add_up_to_the_strength(strength: Strength, kinds: Kinds, now: datetime) -> None:
    one_by_one = math.fsum(
        cell["count"] * strength.weight(kind, datetime(int(month[:4]), int(month[5:]), 28, tzinfo=UTC), now)
        for kind, months in kinds.items()
        for month, cell in months.items()
    )
    assert one_by_one == pytest.approx(strength.at(kinds, now)[0], rel=1e-12)


def test_the_same_statistics_give_the_same_bits() -> None:
    """However a store orders the fields. Floats do not add up alike in any order, so many are tried."""
    chance = random.Random(1)

    def shuffled(mapping: dict[str, Any]) -> dict[str, Any]:
        return dict(chance.sample(list(mapping.items()), len(mapping)))

    for _ in range(300):
        months = {
            month: {"count": chance.randrange(1, 9999)}
            for month in (f"20{n // 12}-{n % 12 + 1:02d}" for n in range(120, 300))
        }
        kinds: Kinds = {kind: shuffled(months) for kind in ("view", "purchase", "visit")}
        other = {kind: shuffled(cells) for kind, cells in shuffled(kinds).items()}
        assert STRENGTH.score(other).hex() == STRENGTH.score(kinds).hex()
        assert repr(STRENGTH.at(other, NOW)) == repr(STRENGTH.at(kinds, NOW))


def test_worked_examples() -> None:
    """Half-life six months; purchase weighs 5, view 0.5, others 1."""
    kinds: Kinds = {
        "purchase": {"2026-11": {"count": 2}, "2026-05": {"count": 1}},
        "view": {"2025-11": {"count": 8}},
        "visit": {"2026-11": {"count": 3}},
    }
    total, parts = STRENGTH.at(kinds, NOW)
    assert (total, parts) == (16.5, {"purchase": 12.5, "view": 1.0, "visit": 3.0})
    assert STRENGTH.at(kinds, datetime(2027, 5, 1, tzinfo=UTC))[0] == 8.25
    assert STRENGTH.weight("view", datetime(2026, 5, 31, tzinfo=UTC), NOW) == 0.25
    assert STRENGTH.score({"visit": {"2020-01": {"count": 8}}}) == 3.0
    assert STRENGTH.score({"visit": {"2021-01": {"count": 8}}}) == 5.0
    assert STRENGTH.from_score(5.0, datetime(2021, 1, 1, tzinfo=UTC)) == 8.0
    assert STRENGTH.score({}) == -math.inf


FAR: Kinds = {"view": {"1970-01": {"count": 1}, "8999-12": {"count": 10**6}}, "visit": {"5000-01": {"count": 1}}}
OLD: Kinds = {"view": {"1970-01": {"count": 3}}, "visit": {"1970-02": {"count": 1}}}


@pytest.mark.parametrize("half_life", [0.01, 0.5, 6.0, 1200.0])
@pytest.mark.parametrize("now", [datetime(1970, 1, 1, tzinfo=UTC), NOW, datetime(8999, 12, 31, tzinfo=UTC)])
@pytest.mark.parametrize("kinds", [FAR, OLD])
def test_centuries_neither_overflow_nor_divide_by_zero(half_life: float, now: datetime, kinds: Kinds) -> None:
    strength = Strength({"view": 0.5}, half_life)
    score = strength.score(kinds)
    total, parts = strength.at(kinds, now)
    weights = [strength.weight("view", datetime(year, 1, 1, tzinfo=UTC), now) for year in (1970, 8999)]
    shares = strength.shares(kinds)
    told = [score, total, *parts.values(), *weights, *shares.values(), strength.from_score(score, now)]
    assert all(map(math.isfinite, told))
    assert sum(shares.values()) == pytest.approx(1.0)


def test_what_is_far_ahead_is_still_ordered_by_the_score() -> None:
    scores = [STRENGTH.score({"view": {f"{year}-01": {"count": 1}}}) for year in range(1970, 9000)]
    assert all(earlier < later for earlier, later in pairwise(scores))


@pytest.mark.parametrize(
    ("time", "month", "number"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), "1970-01", 23640),
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "2026-12", 24323),
        (datetime(8999, 12, 1, tzinfo=UTC), "8999-12", 107999),
    ],
)
def test_months(time: datetime, month: str, number: int) -> None:
    assert month_of(time) == month
    assert month_number(month) == number


def test_a_strength_is_a_number_whatever_weighs_in_it() -> None:
    strength = Strength({"purchase": 1e12}, 0.01)
    now = datetime(1990, 1, 1, tzinfo=UTC)
    total, parts = strength.at({kind: {"2026-01": {"count": 10**9}} for kind in ("purchase", "view")}, now)
    assert math.isfinite(total)
    assert total == sum(parts.values())
    assert math.isfinite(strength.weight("purchase", datetime(2026, 1, 1, tzinfo=UTC), now))
