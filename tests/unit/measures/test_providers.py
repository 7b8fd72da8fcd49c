"""Measures of providers against other ways of computing them, and at their edges."""

import math
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from services.analytics.measures.ranking import concentration, top_providers
from services.analytics.measures.ratings import ratings
from services.analytics.measures.rising import rising
from services.analytics.measures.sketches import RELATIVE_ERROR, DaySketches, distinct, sketch
from shared.measures.query import BadMeasure
from shared.measures.scale import Scale
from shared.measures.scales import Scales
from shared.measures.wilson import wilson
from tests.support.waiting import PATIENCE_SECONDS

STARS = Scale(lowest=1, highest=5, source="asked")
COUNTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 500))


@given(st.integers(0, 300), st.integers(1, 300))
def test_wilson_is_the_interval_of_scipy(successes: int, further: int) -> None:
    trials = max(successes, further)
    low, high = wilson(successes, trials)
    expected = binomtest(successes, trials).proportion_ci(0.95, "wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= successes / trials <= high <= 1


def test_nothing_is_known_of_no_trials() -> None:
    assert wilson(0, 0) == (0, 1)


def mean_difference_gini(values: list[int]) -> float:
    """Half the relative mean absolute difference: the definition, without sorting."""
    n = len(values)
    return sum(abs(x - y) for x in values for y in values) / (2 * n * sum(values))


@given(st.lists(st.integers(-50, 10**12), max_size=40))
def test_concentration_is_what_its_definitions_say(values: list[int]) -> None:
    found = concentration(values, money=True, currency="EUR")
    above = sorted((value for value in values if value > 0), reverse=True)
    assert (found.providers, found.below_zero) == (len(above), sum(value < 0 for value in values))
    assert found.total_minor == sum(above)
    if not above:
        assert (found.gini, found.top_ten_share, found.top_tenth_share, found.half) == (None, None, None, 0)
        return
    assert found.gini == pytest.approx(mean_difference_gini(above), abs=1e-9)
    assert found.top_ten_share == sum(above[:10]) / sum(above)
    assert found.top_tenth_share == sum(above[: math.ceil(len(above) / 10)]) / sum(above)
    assert 2 * sum(above[: found.half]) >= sum(above) > 2 * sum(above[: found.half - 1])


def test_concentration_of_equals_and_of_one() -> None:
    assert concentration([7] * 20).gini == 0
    assert concentration([5]).gini == 0
    one_has_all = concentration([1_000_000_000, *[1] * 99])
    assert one_has_all.gini == pytest.approx(0.99, abs=1e-4)
    assert one_has_all.half == 1


def test_top_providers_are_ordered_and_share_the_whole() -> None:
    found = top_providers({"b": 30, "a": 30, "c": 60, "none": 0, "back": -20}, 3, money=True, currency="EUR")
    assert [(item.provider_id, item.amount_minor, item.share) for item in found.items] == [
        ("c", 60, 0.5),
        ("a", 30, 0.25),
        ("b", 30, 0.25),
    ]
    assert (found.total_minor, found.total_count, found.currency) == (100, None, "EUR")
    assert top_providers({}, 3).items == []
    refunded = top_providers({"a": -90, "b": 100, "c": 0}, 3, money=True, currency="EUR")
    assert [item.share for item in refunded.items] == [1, 0, None]
    assert refunded.total_minor == 10
    assert [item.share for item in top_providers({"a": -5, "c": 0}, 3, money=True).items] == [None, None]
    counted = top_providers({"a": 7}, 3)
    assert (counted.total_count, counted.total_minor, counted.currency) == (7, None, None)
    assert [(item.count, item.amount_minor) for item in counted.items] == [(7, None)]


@given(COUNTS, COUNTS, st.integers(1, 60), st.integers(1, 120), st.integers(1, 20))
def test_rates_are_compared_with_their_own_baseline(
    current: dict[str, int], baseline: dict[str, int], days: int, before: int, minimum: int
) -> None:
    up = rising(current, baseline, days, before, "rising", minimum, 100)
    listed = {name for name in {*current, *baseline} if current.get(name, 0) + baseline.get(name, 0) >= minimum}
    assert {item.provider_id for item in up.items} == listed
    for item in up.items:
        now, then = current.get(item.provider_id, 0), baseline.get(item.provider_id, 0)
        assert (item.count, item.baseline) == (now, then)
        assert (item.rate, item.baseline_rate) == (now / days, then / before)
        share = binomtest(now, now + then).proportion_ci(0.95, "wilson")
        assert item.at_least == pytest.approx(share.low / (1 - share.low) * before / days)
        if then:
            assert item.ratio == pytest.approx((now / days) / (then / before))
            assert item.at_most == pytest.approx(share.high / (1 - share.high) * before / days)
        else:
            assert (item.ratio, item.at_most) == (None, None)
    assert [item.at_least for item in up.items] == sorted((item.at_least for item in up.items), reverse=True)
    down = rising(current, baseline, days, before, "falling", minimum, 100)
    assert {item.provider_id for item in down.items} == {name for name in listed if baseline.get(name, 0)}
    bounds = [item.at_most for item in down.items if item.at_most is not None]
    assert bounds == sorted(bounds)


def test_a_handful_does_not_beat_a_clear_rise() -> None:
    found = rising(
        {"lucky": 2, "rising": 140, "large": 1_000}, {"rising": 200, "large": 4_000}, 7, 28, "rising", 1, 3
    )
    assert [item.provider_id for item in found.items] == ["rising", "lucky", "large"]
    assert rising({}, {}, 7, 28, "rising", 1, 3).items == []


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.lists(st.integers(1, 5), max_size=30)),
    st.floats(0, 50),
    st.sampled_from(["bayesian", "wilson", "mean"]),
)
def test_average_ratings(given_ratings: dict[str, list[int]], weight: float, order: str) -> None:
    sums = {name: (len(values), sum(values)) for name, values in given_ratings.items()}
    found = ratings(sums, STARS, weight, order, 100)  # type: ignore[arg-type]
    every = [value for values in given_ratings.values() for value in values]
    assert found.rating_count == len(every)
    assert found.mean == (pytest.approx(sum(every) / len(every)) if every else None)
    assert {item.provider_id for item in found.items} == {name for name, values in given_ratings.items() if values}
    for item in found.items:
        values = given_ratings[item.provider_id]
        assert item.mean == pytest.approx(sum(values) / len(values))
        assert found.mean is not None
        # As if so many further ratings were all at the mean of all.
        assert item.bayesian == pytest.approx((sum(values) + weight * found.mean) / (len(values) + weight))
        share = wilson(sum((value - 1) / 4 for value in values), len(values))[0]
        assert item.wilson == pytest.approx(1 + 4 * share)
        assert item.wilson <= item.mean
    keys = [(getattr(item, order), item.rating_count) for item in found.items]
    assert keys == sorted(keys, reverse=True)


def test_one_five_star_review_does_not_win() -> None:
    sums = {"new": (1, 5), "good": (200, 920), "poor": (200, 500)}
    assert [item.provider_id for item in ratings(sums, STARS, 10, "mean", 3).items] == ["new", "good", "poor"]
    assert [item.provider_id for item in ratings(sums, STARS, 10, "bayesian", 3).items] == ["good", "new", "poor"]
    assert [item.provider_id for item in ratings(sums, STARS, 10, "wilson", 3).items] == ["good", "poor", "new"]


@pytest.mark.parametrize(("sums", "field"), [({"a": (2, 11)}, "highest"), ({"a": (2, 1)}, "lowest")])
@pytest.mark.parametrize("source", ["asked", "setting"])
def test_ratings_outside_of_a_stated_scale_are_refused(
    sums: dict[str, tuple[int, int]], field: str, source: Literal["asked", "setting"]
) -> None:
    with pytest.raises(BadMeasure) as raised:
        ratings(sums, Scale(lowest=1, highest=5, source=source), 10, "mean", 3)
    assert raised.value.name == field
    assert ("KITH_RATING_SCALES" in raised.value.detail) == (source == "setting")


def test_the_scale_of_the_data_may_lag_behind_the_sums() -> None:
    """A rating of 9 is counted, and the facts were read before it came."""
    [item] = ratings({"a": (2, 18)}, Scale(lowest=1, highest=5, source="data"), 10, "wilson", 3).items
    assert (item.mean, item.wilson <= 9) == (9, True)


@pytest.mark.parametrize("only", [0, 5, 100])
def test_a_scale_of_one_rating_says_nothing_wrong(only: int) -> None:
    found = ratings({"a": (3, 3 * only)}, Scale(lowest=only, highest=only, source="data"), 10, "wilson", 3)
    assert [(item.mean, item.wilson) for item in found.items] == [(only, only)]


class Seen:
    """Ratings in the data of tenants, and how often they were looked at."""

    def __init__(self, **ranges: tuple[int, int]) -> None:
        self.ranges, self.reads = ranges, 0

    def __call__(self, tenant: str) -> tuple[int, int] | None:
        self.reads += 1
        return self.ranges.get(tenant)


def test_the_scale_is_that_asked_for_else_set_else_seen() -> None:
    seen = Seen(acme=(0, 2), beta=(3, 9))
    scales = Scales({"beta": (0, 10)}, seen)

    def told(tenant: str, lowest: int | None = None, highest: int | None = None) -> tuple[int, int, str] | None:
        scale = scales.of(tenant, lowest, highest)
        return None if scale is None else (scale.lowest, scale.highest, scale.source)

    assert told("acme") == (0, 2, "data")
    assert told("beta") == (0, 10, "setting")
    assert told("acme", 1, 5) == (1, 5, "asked")
    assert told("acme", highest=5) == (0, 5, "asked")
    assert told("beta", lowest=1) == (1, 10, "asked")
    assert told("none") is None
    for lowest, highest in ((5, 5), (5, 1), (2, None)):
        with pytest.raises(BadMeasure, match="highest: must be above lowest"):
            scales.of("acme", lowest, highest)
    with pytest.raises(BadMeasure, match="highest: is needed"):
        scales.of("none", 1, None)
    assert Scales({"*": (1, 5)}, seen).of("acme", None, None) == Scale(lowest=1, highest=5, source="setting")


def test_the_scale_of_the_data_is_remembered_for_a_minute() -> None:
    now, seen = 0.0, Seen(acme=(0, 2))
    scales = Scales({}, seen, lambda: now)
    scales.of("acme", None, None)
    now = 59.0
    scales.of("acme", None, None)
    assert seen.reads == 1
    now, seen.ranges["acme"] = 60.0, (0, 5)
    assert scales.of("acme", None, None) == Scale(lowest=0, highest=5, source="data")


@pytest.mark.parametrize(("took", "kept"), [(0.01, 60), (2.0, 400), (100.0, 3_600)])
def test_a_scale_that_costs_more_is_remembered_for_longer(took: float, kept: float) -> None:
    now, reads = 0.0, 0

    def read(_: str) -> tuple[int, int]:
        nonlocal now, reads
        now, reads = now + took, reads + 1
        return 0, reads

    scales = Scales({}, read, lambda: now)
    scales.of("acme", None, None)
    now = kept - 1.0
    assert scales.of("acme", None, None) == Scale(lowest=0, highest=1, source="data")
    now = kept + 0.1
    assert scales.of("acme", None, None) == Scale(lowest=0, highest=2, source="data")


def test_ratings_are_read_once_for_requests_at_the_same_time() -> None:
    begun, reads = threading.Event(), 0

    def read(_: str) -> tuple[int, int]:
        nonlocal reads
        reads += 1
        begun.wait(PATIENCE_SECONDS)
        return 0, 5

    scales = Scales({}, read)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(scales.of, "acme", None, None) for _ in range(4)]
        begun.set()
        assert {each.result().highest for each in found if each.result()} == {5}  # type: ignore[union-attr]
    assert reads == 1


@pytest.mark.parametrize(
    ("lowest", "highest", "good"),
    [(1, 5, 4), (0, 2, 2), (0, 1, 1), (0, 10, 8), (1, 10, 8), (0, 100, 75), (0, 5, 4), (5, 5, None)],
)
def test_good_is_the_uppermost_quarter_of_the_scale(lowest: int, highest: int, good: int | None) -> None:
    assert Scale(lowest=lowest, highest=highest, source="data").good == good


def test_sketches_of_days_merge_within_the_stated_error() -> None:
    chance = random.Random(7)
    days = [{f"c{chance.randrange(60_000)}" for _ in range(4_000)} for _ in range(40)]
    made = [sketch(sorted(day)) for day in days]
    for first, end in [(0, 1), (0, 7), (5, 35), (0, 40)]:
        true = len(set().union(*days[first:end]))
        assert abs(distinct(made[first:end]) - true) <= RELATIVE_ERROR * true
    # The same set in another order, and from other sketches, is the same estimate.
    assert distinct([sketch(sorted(days[0], reverse=True))]) == distinct(made[:1])
    assert distinct(reversed(made)) == distinct(made)
    assert max(map(len, made)) < 9_000
    assert distinct([]) == 0


def test_a_day_is_sketched_once_and_anew_when_it_changes() -> None:
    now, reads = 0.0, list[str]()
    kept = DaySketches(60, lambda: now)

    def members(name: str) -> list[str]:
        reads.append(name)
        return [name]

    first = kept.of("default", 5, (1, 1), lambda: members("a"))
    assert kept.of("default", 5, (1, 1), lambda: members("a")) is first
    assert kept.of("other", 5, (1, 1), lambda: members("b")) is not first
    assert kept.of("default", 5, (2, 2), lambda: members("c")) is not first
    assert reads == ["a", "b", "c"]
    now = 59
    kept.of("default", 5, (2, 2), lambda: members("d"))
    now = 60
    kept.of("default", 5, (2, 2), lambda: members("e"))
    assert reads == ["a", "b", "c", "e"]
