"""Churn risk and lifetime value: parameters and answers. Pure."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from shared.access.lineage import Count, DerivedFrom, Label, OrderedBy
from shared.measures.answer import MoneyAnswer
from shared.measures.units import Fraction, MinorMean, Parameter, Rate

LifetimeOrder = Literal["value", "risk"]

#: The minimum number of consumers with a second order for a model.
FEWEST = 10


class Customer(BaseModel):
    consumer_id: str
    orders: Count = Field(description="Number of days with an order.")
    last: Annotated[date, DerivedFrom("time")] = Field(title="Last order", description="Latest day with an order.")
    churn_risk: Fraction | None = Field(
        description="Probability that the consumer has left for good, from 0 to 1; null after a single order,"
        " for which the model gives no estimate."
    )
    expected_orders: Rate = Field(
        title="Expected orders", description="Expected number of days with an order within the horizon."
    )
    expected_order_minor: MinorMean | None = Field(
        title="Worth of each",
        description="Expected value of each of these orders, in minor units; null without money.",
    )
    expected_value_minor: MinorMean | None = Field(
        title="Expected value", description="Expected money within the horizon, discounted, in minor units."
    )


class OrdersModel(BaseModel):
    """BG/NBD: orders are Poisson at a rate of Gamma(r, alpha); who leaves, leaves after one, by Beta(a, b)."""

    r: Parameter
    alpha: Parameter = Field(title="Alpha (weeks)", description="Weeks.")
    a: Parameter
    b: Parameter
    log_likelihood: Parameter


class SpendModel(BaseModel):
    """Gamma-Gamma: orders vary as Gamma(p, ν) and ν is Gamma(q, v) over consumers."""

    p: Annotated[Parameter, DerivedFrom("amount")]
    q: Annotated[Parameter, DerivedFrom("amount")]
    v_minor: MinorMean = Field(description="Minor units.")
    correlation: Annotated[Parameter | None, DerivedFrom("amount")] = Field(
        description="Correlation between the number of orders and their mean. The model assumes a value near 0."
    )


class Lifetime(MoneyAnswer):
    """Answers: who is leaving us, and what is each customer still worth?"""

    consumers: Count = Field(description="Consumers with an order, whose first one is in the period.")
    repeaters: Count = Field(description="Consumers with orders on at least two days.")
    horizon_weeks: Count = Field(title="Horizon (weeks)", description="Length of the horizon in weeks.")
    active: Rate | None = Field(
        title="Repeaters still there",
        description="Expected number of active repeaters: the sum of 1 − churn_risk.",
    )
    expected_orders: Rate | None = Field(description="Expected orders of all consumers within the horizon.")
    expected_value_minor: MinorMean | None = Field(
        description="Expected value of all consumers within the horizon, in minor units."
    )
    orders_model: OrdersModel | None
    spend_model: SpendModel | None
    notes: list[Label] = Field(description="Reasons why a value is missing or unreliable.")
    # Which relations are orders depends on the signs of amounts and on the currency.
    items: Annotated[list[Customer], OrderedBy("amount", "currency")] = Field(
        description="Highest expected value, or highest churn risk, first."
    )


@dataclass(frozen=True, slots=True)
class LifetimeRequest:
    """The horizon (weeks), the yearly discount rate of later money, and the filter of the list."""

    weeks: int
    discount: float
    order: LifetimeOrder
    risk_from: float
    risk_to: float
    limit: int
