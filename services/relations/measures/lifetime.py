"""Churn risk and lifetime value: what is asked of them and what is answered. Pure."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from shared.access.lineage import Count, DerivedFrom, Label
from shared.measures.answer import MoneyAnswer
from shared.measures.units import Fraction, MinorMean, Parameter, Rate

LifetimeOrder = Literal["value", "risk"]

#: Below so many consumers with a second order there is no model.
FEWEST = 10


class Customer(BaseModel):
    consumer_id: str
    orders: Count = Field(description="Days with an order.")
    last: Annotated[date, DerivedFrom("time")] = Field(title="Last order", description="The latest of them.")
    churn_risk: Fraction | None = Field(
        description="The probability that they have left for good, from 0 to 1; null after a single order, for"
        " which the model cannot tell."
    )
    expected_orders: Rate = Field(
        title="Expected orders", description="Days with an order that are expected within the horizon."
    )
    expected_order_minor: MinorMean | None = Field(
        title="Worth of each", description="Expected worth of each, in minor units; null without money."
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
        description="Between the number of orders and their mean. The model assumes that it is near 0."
    )


class Lifetime(MoneyAnswer):
    """Answers: who is leaving us, and what is each customer still worth?"""

    consumers: Count = Field(description="Consumers with an order, whose first one is in the period.")
    repeaters: Count = Field(description="Those with orders on at least two days.")
    horizon_weeks: Count = Field(title="Horizon (weeks)", description="How far ahead it looks.")
    active: Rate | None = Field(
        title="Repeaters still there", description="How many repeaters are still there: the sum of 1 − churn_risk."
    )
    expected_orders: Rate | None = Field(description="Of all consumers, within the horizon.")
    expected_value_minor: MinorMean | None = Field(
        description="Of all consumers, within the horizon, in minor units."
    )
    orders_model: OrdersModel | None
    spend_model: SpendModel | None
    notes: list[Label] = Field(description="Why something is missing, or is to be read with care.")
    items: list[Customer] = Field(description="Highest expected value, or highest churn risk, first.")


@dataclass(frozen=True, slots=True)
class LifetimeRequest:
    """How far to look ahead (weeks), the yearly rate that discounts later money, and whom to list."""

    weeks: int
    discount: float
    order: LifetimeOrder
    risk_from: float
    risk_to: float
    limit: int
