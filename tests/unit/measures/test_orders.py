"""RFM, repeat rate, revenue, ratings and geography against pandas, and at their edges."""

import math
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.relations.measures.facts import Fact, Orders
from services.relations.measures.repeat import quantile, repeat
from services.relations.measures.revenue import Takings, revenue
from services.relations.measures.rfm import CLASSES, frequency_scores, rfm, rfm_consumers, scored, scores
from shared.contracts.events import EPOCH
from shared.measures.days import day_named
from shared.measures.query import BadMeasure

END = day_named("2026-07-01")
Histories = list[tuple[str, Sequence[Fact]]]


def shop(seed: int, n: int = 60, currencies: Sequence[str] = ("EUR",)) -> Histories:
    """Consumers with up to twelve facts: orders, refunds, and facts without money."""
    chance, found = random.Random(seed), Histories()
    for at in range(n):
        facts = []
        for _ in range(chance.randrange(1, 13)):
            time = EPOCH + timedelta(days=END - chance.randrange(1, 400), seconds=chance.randrange(86_400))
            amount = chance.choice([None, 0, -250, *(chance.randrange(1, 9_000) for _ in range(5))])
            currency = None if amount is None else chance.choice(currencies)
            facts.append(Fact(f"p{chance.randrange(4)}", time, amount, currency))
        found.append((f"c{at:02}", sorted(facts, key=lambda fact: fact.time)))
    return found


def torn(histories: Histories, seed: int) -> Histories:
    """The same facts one by one, in no order."""
    pieces: Histories = [(consumer, [fact]) for consumer, facts in histories for fact in facts]
    random.Random(seed).shuffle(pieces)
    return pieces


def frame(histories: Histories) -> pd.DataFrame:
    rows = [(consumer, *fact) for consumer, facts in histories for fact in facts]
    table = pd.DataFrame(rows, columns=["consumer", "provider", "time", "amount", "currency"])
    table["time"] = pd.to_datetime(table["time"], utc=True)
    return table


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60))
def test_scores_are_quintiles_of_the_middle_rank(values: list[int]) -> None:
    found = scores(values)
    ranks = pd.Series(values).rank(method="average") - 0.5
    for value, rank in zip(values, ranks, strict=True):
        assert found[value] == 1 + int(5 * rank / len(values))


def test_scores_at_the_edges() -> None:
    assert scores([]) == {}
    assert scores([9]) == {9: 3}
    assert scores([4] * 100) == {4: 3}
    assert scores(range(5)) == {0: 1, 1: 2, 2: 3, 3: 4, 4: 5}


def test_every_cell_has_a_class() -> None:
    assert [len(row) for row in CLASSES] == [5] * 5
    assert CLASSES[4][4] == "champions"
    assert CLASSES[0][0] == "hibernating"
    assert CLASSES[0][4] == "cannot_lose"
    assert CLASSES[4][0] == "new"


@pytest.mark.parametrize("seed", range(4))
def test_rfm_is_what_pandas_says(seed: int) -> None:
    histories = shop(seed)
    found = scored(histories, Orders(None, False), END)
    table = frame(histories)
    orders = table[table["amount"] >= 0]
    expected = pd.DataFrame(
        {
            "last": orders.groupby("consumer")["time"].max(),
            "orders": orders.groupby("consumer").size(),
            "money": table.groupby("consumer")["amount"].sum(),
        }
    ).dropna()
    expected["recency"] = (pd.Timestamp("2026-06-30", tz="UTC") - expected["last"].dt.floor("D")).dt.days
    assert (found.ids, found.currency) == (list(expected.index), "EUR")
    assert list(found.recency) == list(expected["recency"])
    assert list(found.orders) == list(expected["orders"])
    assert list(found.money) == list(expected["money"])
    ranks = expected["money"].rank(method="average") - 0.5
    assert list(found.m) == [1 + int(5 * rank / len(expected)) for rank in ranks]
    # One order is no frequency; quartiles of the others.
    several = expected[expected["orders"] > 1]["orders"]
    places = ((several.rank(method="average") - 0.5) / len(several)).to_dict()
    assert list(found.f) == [1 + math.ceil(4 * places.get(consumer, 0)) for consumer in expected.index]
    ranks = expected["recency"].rank(method="average", ascending=False) - 0.5
    assert list(found.r) == [1 + int(5 * rank / len(expected)) for rank in ranks]

    expected["segment"] = [CLASSES[r - 1][f - 1] for r, f in zip(found.r, found.f, strict=True)]
    answer = rfm(found)
    assert sum(map(sum, answer.grid)) == answer.consumers == len(expected)
    by_segment = expected.groupby("segment")
    assert {item.segment: item.consumers for item in answer.items} == by_segment.size().to_dict()
    for item in answer.items:
        those = by_segment.get_group(item.segment)
        assert item.recency_days == pytest.approx(those["recency"].mean())
        assert item.orders == pytest.approx(those["orders"].mean())
        assert item.money_minor == those["money"].sum()
        sums = by_segment["money"].sum()
        assert item.money_share == pytest.approx(those["money"].sum() / sums[sums > 0].sum())
        listed = rfm_consumers(found, item.segment, 3)
        best = those.sort_values(["money", "consumer"], ascending=[False, True])
        assert [one.consumer_id for one in listed.items] == list(best.index[:3])
        assert listed.consumers == len(those)
    assert rfm_consumers(found, None, 1000).consumers == len(expected)


@pytest.mark.parametrize("seed", range(3))
def test_rfm_takes_facts_in_any_order(seed: int) -> None:
    histories = shop(seed)
    found = scored(torn(histories, seed), Orders(None, False), END)
    whole = scored(histories, Orders(None, False), END)
    assert rfm(found) == rfm(whole)
    assert rfm_consumers(found, None, 1000) == rfm_consumers(whole, None, 1000)


def fact(day: str, amount: int | None = 100, currency: str | None = "EUR") -> Fact:
    return Fact("p", datetime.fromisoformat(f"{day}T12:00Z"), amount, currency)


def test_rfm_without_orders_or_with_one() -> None:
    none = rfm(scored([("c", [fact("2026-01-01", -5)])], Orders(None, False), END))
    assert (none.consumers, none.items, none.currency) == (0, [], "EUR")
    one = rfm(scored([("c", [fact("2026-06-30")])], Orders(None, False), END))
    assert [(item.segment, item.share, item.recency_days) for item in one.items] == [("about_to_sleep", 1, 0)]


@given(st.lists(st.integers(1, 40), max_size=80))
def test_one_order_is_always_the_lowest_frequency(orders: list[int]) -> None:
    found = frequency_scores(orders)
    assert found.keys() == set(orders)
    assert all((score == 1) == (number == 1) for number, score in found.items())
    assert set(found.values()) <= {1, 2, 3, 4, 5}
    by_number = [score for _, score in sorted(found.items())]
    assert by_number == sorted(by_number)


def test_frequency_scores_at_the_edges() -> None:
    assert frequency_scores([]) == {}
    assert frequency_scores([1] * 9) == {1: 1}
    assert frequency_scores([7] * 9) == {7: 3}
    assert frequency_scores([1] * 70 + [2] * 20 + [3] * 10) == {1: 1, 2: 3, 3: 5}
    assert frequency_scores([2, 3, 4, 5]) == {2: 2, 3: 3, 4: 4, 5: 5}


def test_those_who_paid_in_other_currencies_are_counted() -> None:
    histories: list[tuple[str, Sequence[Fact]]] = [
        ("euro", [fact("2026-06-01"), fact("2026-06-02", currency="USD")]),
        ("dollar", [fact("2026-06-01", currency="USD"), fact("2026-06-03", currency="USD")]),
        ("franc", [fact("2026-06-01", currency="CHF")]),
        ("returned", [fact("2026-06-01", -5, "CHF")]),
    ]
    for parts in (histories, torn(histories, 3)):
        found = rfm(scored(parts, Orders("EUR", False), END))
        assert (found.consumers, found.left_out, found.currency) == (1, 2, "EUR")
        assert rfm_consumers(scored(parts, Orders("USD", False), END), None, 5).left_out == 1


def test_what_is_an_order() -> None:
    free, refund, bare = fact("2026-01-01", 0), fact("2026-01-01", -1), fact("2026-01-01", None, None)
    assert [Orders(None, False).counts(one) for one in (free, refund, bare)] == [True, False, False]
    assert [Orders(None, True).counts(one) for one in (free, refund, bare)] == [True, False, True]
    dollars = Orders("USD", False)
    assert not dollars.counts(fact("2026-01-01"))
    assert dollars.counts(fact("2026-01-01", currency="USD"))
    mixed = Orders(None, False, mixed=True)
    assert all(mixed.counts(fact("2026-01-01", currency=currency)) for currency in ("EUR", "USD"))
    assert not mixed.counts(refund)
    undecided = Orders(None, False)
    assert undecided.counts(fact("2026-01-01"))
    with pytest.raises(BadMeasure, match="currency: is needed, because there are several: EUR, USD"):
        undecided.counts(fact("2026-01-01", currency="USD"))


@pytest.mark.parametrize("currency", ["EUR", None])
@pytest.mark.parametrize("seed", range(3))
def test_repeat_is_what_pandas_says(seed: int, currency: str | None) -> None:
    histories = shop(seed, currencies=("EUR", "USD"))
    found = repeat(histories, Orders(currency, False, mixed=True))
    table = frame(histories)
    orders = table[table["amount"] >= 0].sort_values(["consumer", "time"])
    if currency is not None:
        orders = orders[orders["currency"] == currency]
    counts = orders.groupby("consumer").size()
    assert (found.consumers, found.orders, found.repeaters) == (len(counts), len(orders), (counts > 1).sum())
    assert found.repeat_rate == pytest.approx((counts > 1).mean())
    orders["gap"] = orders.groupby("consumer")["time"].diff() / pd.Timedelta(days=1)
    orders["step"] = orders.groupby("consumer").cumcount()
    gaps = orders["gap"].dropna()
    assert found.mean_days == pytest.approx(gaps.mean())
    for value, q in (
        (found.p25_days, 0.25),
        (found.median_days, 0.5),
        (found.p75_days, 0.75),
        (found.p90_days, 0.9),
    ):
        assert value == pytest.approx(gaps.quantile(q))
    for item in found.items:
        assert item.consumers == (counts >= item.order).sum()
        assert item.next_rate == pytest.approx((counts > item.order).sum() / item.consumers)
        step = orders[orders["step"] == item.order]["gap"]
        assert item.median_days == (pytest.approx(step.median()) if len(step) else None)
    assert [item.order for item in found.items] == list(range(1, min(10, counts.max()) + 1))


def test_repeat_at_the_edges() -> None:
    nothing = repeat([], Orders(None, False))
    assert (nothing.repeat_rate, nothing.median_days, nothing.items) == (None, None, [])
    once = repeat([("c", [fact("2026-01-01")])], Orders(None, False))
    assert (once.repeat_rate, once.mean_days) == (0, None)
    assert [(item.order, item.next_rate, item.median_days) for item in once.items] == [(1, 0, None)]
    days = [f"2026-01-{day:02}" for day in range(1, 16)]
    often = repeat([("c", [fact(day) for day in days])], Orders(None, False))
    assert [item.order for item in often.items] == list(range(1, 11))
    assert {item.median_days for item in often.items} == {1}
    assert often.mean_days == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1).map(sorted), st.floats(0, 1))
def test_quantiles_are_those_of_pandas(values: list[float], q: float) -> None:
    assert quantile(values, q) == pytest.approx(pd.Series(values).quantile(q), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("unit", ["day", "week", "month"])
def test_revenue_is_what_pandas_says(unit: Any) -> None:
    table = frame(shop(5, currencies=("EUR", "USD"))).dropna(subset=["amount"])
    table["day"] = table["time"].dt.floor("D").dt.tz_localize(None)
    takings = [
        Takings(
            day_named(day.date().isoformat()),
            currency,
            int((amounts >= 0).sum()),
            int(amounts[amounts >= 0].sum()),
            int((amounts < 0).sum()),
            int(amounts[amounts < 0].sum()),
        )
        for (day, currency), amounts in table.groupby(["day", "currency"])["amount"]
    ]
    found = revenue(takings, unit)
    period = {"day": "D", "week": "W-SUN", "month": "M"}[unit]
    table["bucket"] = table["day"].dt.to_period(period).dt.start_time.dt.date
    whole = dict(iter(table.groupby("currency")["amount"]))
    parts = dict(iter(table.groupby(["bucket", "currency"])["amount"]))
    assert [item.currency for item in found.totals] == sorted(whole)
    assert [(item.bucket, item.currency) for item in found.items] == sorted(parts)
    pairs = [(item, whole[item.currency]) for item in found.totals]
    pairs += [(item, parts[item.bucket, item.currency]) for item in found.items]
    for item, amounts in pairs:
        orders, refunds = amounts[amounts >= 0], amounts[amounts < 0]
        assert (item.orders, item.gross_minor, item.refund_count) == (len(orders), orders.sum(), len(refunds))
        assert (item.refunds_minor, item.net_minor) == (-refunds.sum(), amounts.sum())
        assert item.average_order_minor == (pytest.approx(orders.mean()) if len(orders) else None)
        assert item.refund_rate == (pytest.approx(-refunds.sum() / orders.sum()) if orders.sum() else None)


def test_refunds_alone_have_no_average_and_no_rate() -> None:
    [item] = revenue([Takings(END, "EUR", 0, 0, 2, -700)], "month").items
    assert (item.refunds_minor, item.net_minor, item.average_order_minor, item.refund_rate) == (
        700,
        -700,
        None,
        None,
    )
    assert revenue([], "month").totals == []
