"""Churn risk and lifetime value of consumers, put together from both models."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from services.relations.measures.facts import Fact, Orders
from services.relations.measures.gamma_gamma import GammaGamma
from services.relations.measures.lifetime import Lifetime, LifetimeRequest
from services.relations.measures.valuing import lifetime
from shared.contracts.events import EPOCH
from shared.measures.bgnbd import BgNbd
from shared.measures.days import Span, day_named
from shared.measures.query import BadMeasure
from tests.unit.measures.test_models import array

SPAN, LAST = Span(0, day_named("2026-01-01")), date(2025, 12, 31)


def wish(**changes: Any) -> LifetimeRequest:
    base: dict[str, Any] = {
        "weeks": 52,
        "discount": 0,
        "order": "value",
        "risk_from": 0,
        "risk_to": 1,
        "limit": 1000,
    }
    return LifetimeRequest(**(base | changes))


def facts(*orders: tuple[str, int], currency: str = "EUR") -> list[Fact]:
    """Orders by day and amount."""
    return [Fact("p", datetime.fromisoformat(f"{day}T10:00Z"), amount, currency) for day, amount in orders]


def shop(seed: int, n: int = 300) -> list[tuple[str, Sequence[Fact]]]:
    chance = np.random.default_rng(seed)
    found: list[tuple[str, Sequence[Fact]]] = []
    for at in range(n):
        day = EPOCH + timedelta(days=day_named("2025-01-01") + int(chance.integers(0, 200)))
        orders, leaving, pause = [], chance.beta(1, 2), 1 / chance.gamma(2, 1 / 40)
        scale = 1 / chance.gamma(4, 1 / 1_500)
        while day < EPOCH + timedelta(days=SPAN.end):
            orders.append(Fact("p", day, 1 + int(chance.gamma(3, scale)), "EUR"))
            if chance.random() < leaving:
                break
            day += timedelta(days=float(chance.exponential(pause)))
        found.append((f"c{at:03}", orders))
    return found


def answer(histories: Sequence[tuple[str, Sequence[Fact]]], **changes: Any) -> Lifetime:
    return lifetime(histories, Orders(changes.pop("currency", None), False), SPAN, wish(**changes))


def test_each_consumer_is_valued_by_both_models() -> None:
    histories = shop(1)
    found = answer(histories)
    assert (found.consumers, found.currency, found.notes) == (300, "EUR", [])
    assert found.orders_model is not None
    assert found.spend_model is not None
    model = BgNbd(found.orders_model.r, found.orders_model.alpha, found.orders_model.a, found.orders_model.b)
    spend = GammaGamma(found.spend_model.p, found.spend_model.q, found.spend_model.v_minor)
    assert len(found.items) == 300
    by_id = {item.consumer_id: item for item in found.items}
    for consumer, orders in histories:
        days: dict[Any, int] = {}
        for fact in orders:
            assert fact.amount is not None
            days[fact.time.date()] = days.get(fact.time.date(), 0) + fact.amount
        first, last, x = min(days), max(days), len(days) - 1
        history = array(x), array((last - first).days / 7), array((LAST - first).days / 7)
        item = by_id[consumer]
        assert (item.orders, item.last) == (x + 1, last)
        assert item.churn_risk == (pytest.approx(1 - model.alive(*history)[0]) if x else None)
        assert item.expected_orders == pytest.approx(model.expected(52, *history)[0])
        later = [amount for day, amount in days.items() if day != first]
        worth = spend.expected(array(x), array(sum(later) / x if x else 0))[0]
        assert item.expected_order_minor == pytest.approx(worth)
        assert item.expected_value_minor == pytest.approx(worth * item.expected_orders)
    assert found.expected_value_minor == pytest.approx(sum(item.expected_value_minor or 0 for item in found.items))
    assert found.active == pytest.approx(
        sum(1 - item.churn_risk for item in found.items if item.churn_risk is not None)
    )
    values = [item.expected_value_minor or 0 for item in found.items]
    assert values == sorted(values, reverse=True)


def test_discounting_and_lists_of_risk() -> None:
    histories = shop(2)
    plain, discounted = answer(histories), answer(histories, discount=0.5)
    assert plain.expected_value_minor is not None
    assert discounted.expected_value_minor is not None
    # Half of a year at 50 % is the most that can be lost.
    assert plain.expected_value_minor / 1.5 < discounted.expected_value_minor < plain.expected_value_minor
    assert discounted.expected_orders == plain.expected_orders
    risky = answer(histories, order="risk", risk_from=0.3, risk_to=0.7).items
    risks = [item.churn_risk or 0 for item in risky]
    assert risks == sorted(risks, reverse=True)
    assert risks
    assert all(0.3 <= risk <= 0.7 for risk in risks)
    assert len(answer(histories, limit=3).items) == 3


def test_without_enough_there_is_no_model_but_a_reason() -> None:
    assert answer([]).notes == ["No model: it needs 10 consumers with orders on two days."]
    once = [(f"c{at}", facts(("2025-03-01", 500))) for at in range(50)]
    found = answer(once)
    assert (found.consumers, found.repeaters, found.orders_model, found.items) == (50, 0, None, [])


def test_consumers_who_are_all_the_same_do_no_harm() -> None:
    same = [(f"c{at}", facts(("2025-03-01", 500), ("2025-04-01", 500))) for at in range(30)]
    found = answer(same)
    assert found.repeaters == 30
    for item in found.items:
        assert item.churn_risk is not None
        assert 0 <= item.churn_risk <= 1
        assert item.expected_order_minor == pytest.approx(500, rel=0.05)
    assert found.notes, "such data determines no spread, and that is said"


def test_orders_without_money_have_no_value() -> None:
    free = [
        (consumer, [fact._replace(amount=None, currency=None) for fact in orders]) for consumer, orders in shop(3)
    ]
    found = lifetime(free, Orders(None, True), SPAN, wish())
    assert (found.currency, found.spend_model, found.expected_value_minor) == (None, None, None)
    assert found.orders_model is not None
    assert found.items[0].expected_value_minor is None


def test_money_of_two_currencies_needs_a_choice() -> None:
    histories = [*shop(4), ("dollar", facts(("2025-03-01", 500), currency="USD"))]
    with pytest.raises(BadMeasure) as raised:
        answer(histories)
    assert raised.value.name == "currency"
    euros = answer(histories, currency="EUR")
    assert (euros.consumers, euros.left_out) == (300, 1)
    assert answer(histories, currency="USD").left_out == 300


def test_the_period_takes_consumers_by_their_first_order() -> None:
    histories = shop(5)
    span = Span(day_named("2025-04-01"), SPAN.end)
    found = lifetime(histories, Orders(None, False), span, wish())
    assert found.consumers == sum(orders[0].time.date().isoformat() >= "2025-04-01" for _, orders in histories)
