"""Revenue, refunds and the average order, by currency. Pure."""

from collections.abc import Iterable
from datetime import date
from typing import Annotated, ClassVar, NamedTuple

from pydantic import BaseModel, Field

from shared.access.lineage import DerivedFrom, OrderedBy
from shared.measures.answer import Answer
from shared.measures.days import Unit, bucket_of, date_of, start_of
from shared.measures.units import Fraction, Minor, MinorMean


class Takings(NamedTuple):
    """The revenue of one day in one currency: orders (amounts of at least 0) and refunds (below 0), in minor
    units."""

    day: int
    currency: str
    orders: int
    gross: int
    refund_count: int
    refunds: int


class Money(BaseModel):
    currency: str = Field(description="ISO 4217. Money is never added up across currencies.")
    orders: Annotated[int, DerivedFrom("amount")] = Field(
        description="Number of relations with an amount of at least 0."
    )
    gross_minor: Minor = Field(description="Sum of these amounts, in minor units.")
    refund_count: Annotated[int, DerivedFrom("amount")] = Field(
        title="Refunds", description="Number of relations with an amount below 0."
    )
    refunds_minor: Minor = Field(
        title="Refunded", description="Sum of these amounts, as a positive number of minor units."
    )
    net_minor: Minor = Field(description="gross − refunds, in minor units.")
    average_order_minor: MinorMean | None = Field(
        description="gross / orders, in minor units; null without orders."
    )
    refund_rate: Annotated[Fraction | None, DerivedFrom("amount")] = Field(
        description="refunds / gross; null when gross is 0. May exceed 1."
    )


class _Bucket(BaseModel):
    bucket: Annotated[date, DerivedFrom("time")] = Field(
        title="From", description="First day of the day, week or month."
    )


# This is the second base class, so that the bucket is the first column.
class MoneyBucket(Money, _Bucket):
    pass


class Revenue(Answer):
    """Answers: what do we earn, how much of it flows back, and how large is an order?"""

    money: ClassVar[str | None] = "each on its own; nothing is converted"

    unit: Unit
    totals: Annotated[list[Money], OrderedBy("currency")] = Field(
        description="Sums of the whole period, by currency."
    )
    items: Annotated[list[MoneyBucket], OrderedBy("currency")] = Field(
        description="Sums by bucket, then currency; buckets without money are left out."
    )


def revenue(takings: Iterable[Takings], unit: Unit) -> Revenue:
    """Revenue, refunds and average order by currency, in all and by bucket.

        gross = Σ amounts ≥ 0,  refunds = −Σ amounts < 0,  net = gross − refunds,  average_order = gross / orders

    Unit: minor units of each currency (cents), in whole numbers; an order and its refund each count on their own
    day. Net equals the amount of the aggregates. Source: common accounting practice.
    """
    totals: dict[str, list[int]] = {}
    buckets: dict[tuple[int, str], list[int]] = {}
    for day, currency, *numbers in takings:
        for sums in (
            totals.setdefault(currency, [0, 0, 0, 0]),
            buckets.setdefault((bucket_of(day, unit), currency), [0, 0, 0, 0]),
        ):
            for at, number in enumerate(numbers):
                sums[at] += number
    return Revenue(
        unit=unit,
        totals=[_money(currency, sums) for currency, sums in sorted(totals.items())],
        items=[
            MoneyBucket(bucket=date_of(start_of(bucket, unit)), **_money(currency, sums).model_dump())
            for (bucket, currency), sums in sorted(buckets.items())
        ],
    )


def _money(currency: str, sums: list[int]) -> Money:
    orders, gross, refund_count, refunds = sums
    returned = -refunds
    return Money(
        currency=currency,
        orders=orders,
        gross_minor=gross,
        refund_count=refund_count,
        refunds_minor=returned,
        net_minor=gross - returned,
        average_order_minor=gross / orders if orders else None,
        refund_rate=returned / gross if gross else None,
    )
