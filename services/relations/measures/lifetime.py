"""Churn risk and lifetime value: what is asked of them and what is answered. Pure."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from shared.access.lineage import Count, DerivedFrom, Label, Ratio

LifetimeOrder = Literal["value", "risk"]

#: Below so many consumers with a second order there is no model.
FEWEST = 10


class Customer(BaseModel):
    consumer_id: str
    orders: Count = Field(description="Days with an order.")
    last: Annotated[date, DerivedFrom("time")] = Field(description="The latest of them.")
    churn_risk: Ratio | None = Field(
        description="The probability that they have left for good, from 0 to 1; null after a single order, for"
        " which the model cannot tell."
    )
    expected_orders: Ratio = Field(description="Days with an order that are expected within the horizon.")
    expected_order: Annotated[float | None, DerivedFrom("amount")] = Field(
        description="Expected worth of each, in minor units; null without money."
    )
    expected_value: Annotated[float | None, DerivedFrom("amount")] = Field(
        description="Expected money within the horizon, discounted."
    )


class OrdersModel(BaseModel):
    """BG/NBD: orders are Poisson at a rate of Gamma(r, alpha); who leaves, leaves after one, by Beta(a, b)."""

    r: Ratio
    alpha: Ratio = Field(description="Weeks.")
    a: Ratio
    b: Ratio
    log_likelihood: Ratio


class SpendModel(BaseModel):
    """Gamma-Gamma: orders vary as Gamma(p, ν) and ν is Gamma(q, v) over consumers."""

    p: Annotated[float, DerivedFrom("amount")]
    q: Annotated[float, DerivedFrom("amount")]
    v: Annotated[float, DerivedFrom("amount")] = Field(description="Minor units.")
    correlation: Annotated[float | None, DerivedFrom("amount")] = Field(
        description="Between the number of orders and their mean. The model assumes that it is near 0."
    )


class Lifetime(BaseModel):
    """Answers: who is leaving us, and what is each customer still worth?"""

    currency: str | None = Field(description="Of the money; null when no order has any.")
    consumers: Count = Field(description="Consumers with an order, whose first one is in the period.")
    repeaters: Count = Field(description="Those with orders on at least two days.")
    horizon_weeks: Count = Field(description="How far ahead it looks.")
    active: Ratio | None = Field(description="How many repeaters are still there: the sum of 1 − churn_risk.")
    expected_orders: Ratio | None = Field(description="Of all consumers, within the horizon.")
    expected_value: Annotated[float | None, DerivedFrom("amount")] = Field(
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
