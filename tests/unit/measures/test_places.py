"""Ratings and geography against pandas, and at their edges."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.relations.measures.distribution import distribution
from services.relations.measures.geography import Atlas, Place, geography
from shared.measures.scale import Scale
from tests.unit.measures.test_orders import frame, shop, torn

HUNDRED = Scale(lowest=0, highest=100, source="setting")


@given(st.lists(st.integers(0, 100), max_size=60), st.integers(0, 100))
def test_the_distribution_of_ratings(given_ratings: list[int], positive_from: int) -> None:
    values = pd.Series(given_ratings, dtype="int64")
    found = distribution(values.value_counts().to_dict(), HUNDRED, positive_from)
    assert {item.rating: item.count for item in found.items} == values.value_counts().to_dict()
    assert found.rating_count == len(values)
    if not given_ratings:
        assert (found.mean, found.deviation, found.positive) == (None, None, None)
        return
    assert sum(item.share for item in found.items) == pytest.approx(1)
    assert found.mean == pytest.approx(values.mean())
    assert found.deviation == pytest.approx(values.std(ddof=0), abs=1e-9)
    assert found.positive == pytest.approx((values >= positive_from).mean())
    assert found.positive_low <= (found.positive or 0) <= found.positive_high


@given(st.dictionaries(st.integers(0, 100), st.integers(1, 9), min_size=2, max_size=20))
def test_on_the_scale_of_the_data_the_best_rating_is_good_and_the_worst_is_not(counts: dict[int, int]) -> None:
    scale = Scale(lowest=min(counts), highest=max(counts), source="data")
    found = distribution(counts, scale)
    assert found.positive_from is not None
    assert scale.lowest < found.positive_from <= scale.highest
    assert found.positive is not None
    assert 0 < found.positive < 1
    assert (found.scale, found.notes) == (scale, [])


def test_what_is_good_is_not_guessed_from_one_rating() -> None:
    found = distribution({5: 40}, Scale(lowest=5, highest=5, source="data"))
    assert (found.positive, found.positive_from) == (None, None)
    assert (found.positive_low, found.positive_high) == (0, 1)
    assert "all are 5" in found.notes[0]
    assert distribution({5: 40}, Scale(lowest=1, highest=5, source="asked")).positive == 1
    assert distribution({5: 40}, Scale(lowest=5, highest=5, source="data"), 3).positive == 1
    assert distribution({}, None).positive is None


def test_ratings_outside_of_the_scale_are_told() -> None:
    found = distribution({2: 3, 7: 1}, Scale(lowest=1, highest=5, source="setting"))
    assert found.notes == ["Outside of the scale: 1 of 4 ratings."]


PLACES: dict[str, dict[str, Any]] = {
    "c00": {"country": "France", "region": "Rhône", "city": "Lyon", "lat": 45.76, "lon": 4.84},
    "c01": {"country": "France", "region": "Rhône", "city": "Bron", "lat": 45.74, "lon": 4.91},
    "c02": {"country": "Fiji", "lat": -17.0, "lon": 179.0},
    "c03": {"country": "Fiji", "lat": -17.0, "lon": -179.0},
    "c04": {"city": "Lyon"},
}


@pytest.mark.parametrize(("level", "depth"), [("country", 1), ("region", 2), ("city", 3)])
@pytest.mark.parametrize("side", ["consumer", "provider"])
def test_geography_is_what_pandas_says(level: Any, depth: int, side: Any) -> None:
    histories = shop(6, 40, ("EUR", "USD"))
    where = PLACES if side == "consumer" else {f"p{at}": place for at, place in enumerate(PLACES.values())}
    atlas = Atlas(level)
    for id, location in where.items():
        atlas.add(id, location)
    found = geography(histories, atlas, side, 100)
    table = frame(histories)
    names = ["country", "region", "city"][:depth]
    table["place"] = [tuple(where.get(id, {}).get(name) for name in names) for id in table[side]]
    expected = dict(iter(table.groupby("place")))
    padding = (None,) * (3 - depth)
    assert {(item.country, item.region, item.city) for item in found.items} == {(*p, *padding) for p in expected}
    for item in found.items:
        rows = expected[(item.country, item.region, item.city)[:depth]]
        assert item.consumers == rows["consumer"].nunique()
        assert item.providers == (rows["provider"].nunique() if side == "provider" else None)
        assert item.relations == len(rows)
        sums = rows.groupby("currency")["amount"].sum()
        assert item.amount_minor == {currency: value for currency, value in sums.items() if value}
    order = [(-item.consumers, -item.relations) for item in found.items]
    assert order == sorted(order)
    assert found.located == pytest.approx(sum(place[0] is not None for place in table["place"]) / len(table))
    assert len(geography(histories, atlas, side, 1).items) == 1
    assert geography(torn(histories, 1), atlas, side, 100) == found


def test_the_middle_of_a_place_knows_the_date_line() -> None:
    atlas = Atlas("country")
    for id, location in PLACES.items():
        atlas.add(id, location)
    lat, lon = atlas.middle(Place("Fiji"))
    assert lat == pytest.approx(-17, abs=0.01)
    assert lon is not None
    assert abs(lon) == pytest.approx(180)
    assert atlas.middle(Place("France")) == pytest.approx((45.75, 4.875), abs=0.001)
    assert atlas.middle(Place()) == (None, None)
    opposite = Atlas("country")
    opposite.add("a", {"country": "X", "lat": 0, "lon": 0})
    opposite.add("b", {"country": "X", "lat": 0, "lon": 180})
    assert opposite.middle(Place("X")) == (None, None)


def test_geography_of_nothing() -> None:
    found = geography([], Atlas("city"), "consumer", 5)
    assert (found.located, found.items) == (None, [])
