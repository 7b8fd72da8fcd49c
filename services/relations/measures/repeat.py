"""Repeat rate, and the time between purchases. Pure."""

from array import array
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

from services.relations.measures.facts import Histories, Orders
from shared.access.lineage import Count, OrderedBy
from shared.measures.answer import Answer
from shared.measures.units import Days, Fraction

_DAY = timedelta(days=1)
#: The number of steps that the answer lists.
STEPS = 10


class RepeatStep(BaseModel):
    order: Count = Field(title="Order no.", description="Number n of the order: 1 is the first.")
    consumers: Count = Field(description="Consumers with at least n orders.")
    next_rate: Fraction = Field(
        title="Order again", description="Fraction of these consumers who have ordered again, from 0 to 1."
    )
    median_days: Days | None = Field(
        title="Half within (days)", description="Median days until the next order; null if no consumer has one."
    )


class Repeat(Answer):
    """Answers: do customers come back, and after how long should we remind them?"""

    money: ClassVar[str | None] = "any: orders are counted, not added up"

    consumers: Count = Field(description="Consumers with an order.")
    orders: Count
    repeaters: Count = Field(description="Consumers with at least two orders.")
    repeat_rate: Fraction | None = Field(description="repeaters / consumers, from 0 to 1; null without orders.")
    mean_days: Days | None = Field(
        title="Mean days between orders",
        description="Mean days between two consecutive orders of a consumer.",
    )
    p25_days: Days | None = Field(title="A quarter within (days)", description="First quartile of these days.")
    median_days: Days | None = Field(title="Half within (days)", description="Median of these days.")
    p75_days: Days | None = Field(
        title="Three quarters within (days)", description="Third quartile of these days."
    )
    p90_days: Days | None = Field(
        title="Nine tenths within (days)",
        description="90th percentile of these days. A consumer with a longer gap may have left.",
    )
    # A refund is no order.
    items: Annotated[list[RepeatStep], OrderedBy("amount")] = Field(
        description=f"From the first order to the {STEPS}th."
    )


def repeat(histories: Histories, orders: Orders) -> Repeat:
    """Repeat rate and days between consecutive orders.

        repeat_rate = |{≥ 2 orders}| / |{≥ 1 order}|      next_rate(n) = |{≥ n + 1}| / |{≥ n}|

    Unit: days of 24 hours, with fractions; quantiles interpolate linearly (type 7 of Hyndman and Fan, 1996).
    Consumers who order after the period count as not ordering again (censoring): recent periods look worse
    than they are. Source: common retail practice.
    """
    reached = [0] * (STEPS + 1)
    by_step: list[array[float]] = [array("d") for _ in range(STEPS + 1)]
    buyers = count = 0
    for _, bought in orders.of(histories):
        buyers += 1
        count += len(bought)
        for n in range(min(len(bought), STEPS + 1)):
            reached[n] += 1
        for n, (before, after) in enumerate(pairwise(bought)):
            by_step[min(n, STEPS)].append((after.time - before.time) / _DAY)
    gaps = sorted(gap for step in by_step for gap in step)
    return Repeat(
        consumers=buyers,
        orders=count,
        repeaters=reached[1],
        repeat_rate=reached[1] / buyers if buyers else None,
        mean_days=sum(gaps) / len(gaps) if gaps else None,
        p25_days=quantile(gaps, 0.25),
        median_days=quantile(gaps, 0.5),
        p75_days=quantile(gaps, 0.75),
        p90_days=quantile(gaps, 0.9),
        items=[
            RepeatStep(
                order=n + 1,
                consumers=reached[n],
                next_rate=reached[n + 1] / reached[n],
                median_days=quantile(sorted(by_step[n]), 0.5),
            )
            for n in range(STEPS)
            if reached[n]
        ],
    )


def quantile(ascending: Sequence[float], q: float) -> float | None:
    """The q-quantile of sorted values; None without values."""
    if not ascending:
        return None
    place = q * (len(ascending) - 1)
    low = int(place)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (place - low) * (ascending[high] - ascending[low])
