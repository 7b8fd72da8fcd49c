"""Churn risk and expected lifetime value of every consumer, by BG/NBD and Gamma-Gamma. Pure; needs scipy."""

from array import array

import numpy as np

from services.relations.measures import gamma_gamma
from services.relations.measures.facts import Histories, Orders
from services.relations.measures.lifetime import (
    FEWEST,
    Customer,
    Lifetime,
    LifetimeRequest,
    OrdersModel,
    SpendModel,
)
from shared.measures import bgnbd
from shared.measures.days import Span, date_of, day_of
from shared.measures.fitting import Array

_WEEKS_A_YEAR = 365.25 / 7
_STEP = 4


class Observed:
    """Every consumer as input of both models, in parallel columns. Orders of one UTC day are one order."""

    def __init__(self, histories: Histories, orders: Orders, span: Span) -> None:
        ids: list[str] = []
        first, last, repeats, paid = array("q"), array("q"), array("q"), array("q")
        spent = array("d")
        left_out = 0
        for consumer, facts in histories:
            bought = [fact for fact in facts if orders.counts(fact)]
            if not bought:
                # Each counts once, by the first of their orders, as the others do.
                elsewhere = next((day_of(fact.time) for fact in facts if orders.elsewhere(fact)), None)
                left_out += elsewhere is not None and span.first <= elsewhere < span.end
                continue
            days: dict[int, int] = {}
            for fact in bought:
                day = day_of(fact.time)
                days[day] = days.get(day, 0) + (fact.amount or 0)
            began, *later = days
            if not span.first <= began < span.end:
                continue
            worth = [days[day] for day in later if days[day] > 0]
            ids.append(consumer)
            first.append(began)
            last.append(later[-1] if later else began)
            repeats.append(len(later))
            paid.append(len(worth))
            spent.append(sum(worth) / len(worth) if worth else 0.0)
        self.ids = ids
        #: Consumers with orders in other currencies only.
        self.left_out = left_out
        self.last = np.asarray(last, dtype=np.int64)
        began_at = np.asarray(first, dtype=np.int64)
        self.x = np.asarray(repeats, dtype=np.float64)
        self.t_x = (self.last - began_at) / 7
        self.t = (span.end - 1 - began_at) / 7
        #: Number and mean of the days with money after the first day.
        self.paid = np.asarray(paid, dtype=np.float64)
        self.spent = np.asarray(spent, dtype=np.float64)


def lifetime(histories: Histories, orders: Orders, span: Span, request: LifetimeRequest) -> Lifetime:
    """Churn risk (1 − P(alive)), expected orders and expected value of each consumer.

    ``histories``: all facts before the span's end; consumers count whose first order is within the span. x are the
    days with an order after the first such day, t_x the weeks from it to the latest, T those to the span's last
    day. With both models fitted to all of these consumers:

        expected_value = Σ_k (E[orders by week t_k] − E[orders by week t_(k−1)]) · E[worth of an order]
                         / (1 + discount)^(middle of step k in years)

    Units: weeks, minor units. Refunds are not deducted. Sources: ``bgnbd`` and ``gamma_gamma``; the sum as in
    Fader and Hardie's notes on discounted expected transactions, in steps of four weeks.
    """
    seen = Observed(histories, orders, span)
    repeaters = int(np.count_nonzero(seen.x))
    answer = Lifetime(
        currency=orders.currency,
        left_out=seen.left_out,
        consumers=len(seen.ids),
        repeaters=repeaters,
        horizon_weeks=request.weeks,
        active=None,
        expected_orders=None,
        expected_value_minor=None,
        orders_model=None,
        spend_model=None,
        notes=[],
        items=[],
    )
    if repeaters < FEWEST:
        answer.notes.append(f"No model: it needs {FEWEST} consumers with orders on two days.")
        return answer
    # Many consumers share a history, above all those with a single order.
    rows, which, numbers = np.unique(
        np.stack([seen.x, seen.t_x, seen.t], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    x, t_x, t = rows.T
    model = bgnbd.fit(bgnbd.History(x, t_x, t, numbers.astype(np.float64)))
    if not model.settled:
        answer.notes.append("BG/NBD has no clear optimum for these orders: its numbers are unreliable.")
    worth, answer.spend_model = _worth(seen, answer.notes)
    expected, discounted = _ahead(model, x, t_x, t, request)
    expected, discounted = expected[which], discounted[which]
    risk = 1 - model.alive(x, t_x, t)[which]
    value = None if worth is None else discounted * worth
    if not all(np.all(np.isfinite(column)) for column in (expected, risk, *([] if value is None else [value]))):
        answer.notes.append("No model: no BG/NBD model with finite numbers fits the orders.")
        answer.spend_model = None
        return answer
    answer.orders_model = OrdersModel(
        r=model.r, alpha=model.alpha, a=model.a, b=model.b, log_likelihood=model.log_likelihood
    )
    answer.active = float(np.sum((1 - risk)[seen.x > 0]))
    answer.expected_orders = float(np.sum(expected))
    answer.expected_value_minor = None if value is None else float(np.sum(value))
    ranked = expected if value is None else value
    answer.items = [
        _customer(seen, at, risk, expected, worth, value) for at in _chosen(seen, risk, ranked, request)
    ]
    return answer


def _customer(
    seen: Observed, at: int, risk: Array, expected: Array, worth: Array | None, value: Array | None
) -> Customer:
    return Customer(
        consumer_id=seen.ids[at],
        orders=int(seen.x[at]) + 1,
        last=date_of(int(seen.last[at])),
        churn_risk=float(risk[at]) if seen.x[at] else None,
        expected_orders=float(expected[at]),
        expected_order_minor=None if worth is None else float(worth[at]),
        expected_value_minor=None if value is None else float(value[at]),
    )


def _worth(seen: Observed, notes: list[str]) -> tuple[Array | None, SpendModel | None]:
    """The expected value of an order of each consumer; None if too few orders have money."""
    paid = seen.paid > 0
    if np.count_nonzero(paid) < FEWEST:
        notes.append(f"No value: it needs {FEWEST} consumers with a second order that has money.")
        return None, None
    x, mean = seen.paid[paid], seen.spent[paid]
    model = gamma_gamma.fit(x, mean)
    if not model.settled:
        notes.append("Gamma-Gamma has no clear optimum for these amounts: the values are unreliable.")
    spread = bool(np.std(x) > 0 and np.std(mean) > 0)
    correlation = float(np.corrcoef(x, mean)[0, 1]) if spread else None
    told = SpendModel(p=model.p, q=model.q, v_minor=model.v, correlation=correlation)
    return model.expected(seen.paid, seen.spent), told


def _ahead(model: bgnbd.BgNbd, x: Array, t_x: Array, t: Array, request: LifetimeRequest) -> tuple[Array, Array]:
    """Expected orders within the horizon, and the same with each discounted to now."""
    total = model.expected(request.weeks, x, t_x, t)
    if not request.discount:
        return total, total
    discounted, before = np.zeros_like(total), np.zeros_like(total)
    for begin in range(0, request.weeks, _STEP):
        end = min(begin + _STEP, request.weeks)
        upto = model.expected(end, x, t_x, t)
        discounted += (upto - before) / (1 + request.discount) ** ((begin + end) / 2 / _WEEKS_A_YEAR)
        before = upto
    return total, discounted


def _chosen(seen: Observed, risk: Array, value: Array, request: LifetimeRequest) -> list[int]:
    """The consumers to list. A bound of the risk leaves out consumers without a known risk."""
    wanted = np.ones(len(seen.ids), dtype=np.bool_)
    if request.risk_from > 0 or request.risk_to < 1 or request.order == "risk":
        wanted = (seen.x > 0) & (risk >= request.risk_from) & (risk <= request.risk_to)
    places = np.flatnonzero(wanted)
    keys = (value, risk) if request.order == "value" else (risk, value)
    best = sorted(places.tolist(), key=lambda at: (-float(keys[0][at]), -float(keys[1][at]), seen.ids[at]))
    return best[: request.limit]
