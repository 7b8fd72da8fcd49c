"""Sums of money by currency, with the number of facts behind each, in stored form. Pure.

Beside its ``count`` of facts, a stored sum has ``amount`` (currency → sum in minor units) and ``amount_count``
(currency → number of facts with that currency). ``amount`` has exactly the currencies of the facts, so orders and
refunds that cancel out are a sum of 0, and a currency whose last fact is retracted leaves no trace.
``amount_count`` lacks a currency that every fact has: its number is ``count``. So the stored form is a function of
the facts, and of facts of one currency it is as small as without the numbers.

A partition's partial sums may be negative, or 0 of a currency whose sum is not: then the currency is stored, too.
"""

from collections.abc import Iterable, Mapping
from typing import Any

#: Currency → [sum in minor units, number of facts].
Money = dict[str, list[int]]

AMOUNT, AMOUNT_COUNT = "amount", "amount_count"


def money_of(stored: Mapping[str, Any]) -> Money:
    """The money of a stored sum."""
    if not (amounts := stored.get(AMOUNT)):
        return {}
    counts, count = stored.get(AMOUNT_COUNT) or {}, stored.get("count", 0)
    return {currency: [amount, counts.get(currency, count)] for currency, amount in amounts.items()}


def add_fact(money: Money, currency: str, amount: int, sign: int) -> None:
    """Add (1) a fact's amount, or remove it (-1)."""
    known = money.get(currency)
    if known is None:
        money[currency] = [sign * amount, sign]
    else:
        known[0] += sign * amount
        known[1] += sign


def add_stored(money: Money, stored: Mapping[str, Any]) -> None:
    """Add the money of a stored sum."""
    if stored.get(AMOUNT):
        for currency, (amount, number) in money_of(stored).items():
            known = money.get(currency)
            if known is None:
                money[currency] = [amount, number]
            else:
                known[0] += amount
                known[1] += number


def amounts_of(money: Money) -> dict[str, int]:
    """Currency → sum, of the currencies that have facts, in order."""
    return {currency: money[currency][0] for currency in sorted(money) if money[currency] != _NOTHING}


def store(money: Money, count: int, out: dict[str, Any]) -> None:
    """Write the money of ``count`` facts into a stored sum."""
    amounts: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for currency in sorted(money) if len(money) > 1 else money:
        amount, number = money[currency]
        if amount or number:
            amounts[currency] = amount
            if number != count:
                numbers[currency] = number
    if amounts:
        out[AMOUNT] = amounts
        if numbers:
            out[AMOUNT_COUNT] = numbers


def store_sum(one: Mapping[str, Any], other: Mapping[str, Any], count: int, out: dict[str, Any]) -> None:
    """Write the money of two stored sums, of ``count`` facts together, into a third."""
    amounts: Mapping[str, int] | None = one.get(AMOUNT)
    others: Mapping[str, int] | None = other.get(AMOUNT)
    if amounts and others and len(amounts) == 1 and amounts.keys() == others.keys():
        # One currency in both, as nearly always.
        [currency] = amounts
        amount = amounts[currency] + others[currency]
        number = _number(one, currency) + _number(other, currency)
        if amount or number:
            out[AMOUNT] = {currency: amount}
            if number != count:
                out[AMOUNT_COUNT] = {currency: number}
    elif amounts or others:
        money = money_of(one)
        add_stored(money, other)
        store(money, count, out)


def _number(stored: Mapping[str, Any], currency: str) -> int:
    numbers = stored.get(AMOUNT_COUNT)
    number: int = stored.get("count", 0) if numbers is None else numbers.get(currency, stored.get("count", 0))
    return number


def summed(stored: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Currency → sum over stored sums, of the currencies that have facts in them, in order."""
    money: Money = {}
    for each in stored:
        add_stored(money, each)
    return amounts_of(money)


_NOTHING = [0, 0]

#: For MongoDB's pipelines: what ``$push`` collects of a partial sum's money, to be summed by ``summed``.
PUSHED: Mapping[str, Any] = {
    "$cond": [
        {"$gt": [f"${AMOUNT}", None]},
        {AMOUNT: f"${AMOUNT}", AMOUNT_COUNT: f"${AMOUNT_COUNT}", "count": "$count"},
        "$$REMOVE",
    ]
}


def facts_in(currency: str) -> dict[str, Any]:
    """An expression of MongoDB's pipelines: the number of facts of a partial sum with this currency."""
    number = {"$ifNull": [f"${AMOUNT_COUNT}.{currency}", "$count"]}
    return {"$cond": [{"$gt": [f"${AMOUNT}.{currency}", None]}, number, 0]}


def facts_with_money() -> dict[str, Any]:
    """An expression of MongoDB's pipelines: the number of facts of a partial sum with an amount in any
    currency."""
    amounts = {"$objectToArray": {"$ifNull": [f"${AMOUNT}", {}]}}
    counts = {"$objectToArray": {"$ifNull": [f"${AMOUNT_COUNT}", {}]}}
    implied = {"$multiply": ["$count", {"$subtract": [{"$size": amounts}, {"$size": counts}]}]}
    return {"$add": [{"$sum": {"$map": {"input": counts, "as": "each", "in": "$$each.v"}}}, implied]}
