"""What every answer of a measure states about itself: period, zone, and which money counts. Pure."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import BaseModel, Field

from shared.access.lineage import DerivedFrom, OrderedBy
from shared.measures.days import Span, date_of

A = TypeVar("A", bound="Answer")


class Period(BaseModel):
    first: Annotated[date | None, DerivedFrom()] = Field(
        None, description="First day; null: from the first relation on."
    )
    last: Annotated[date | None, DerivedFrom()] = Field(None, description="Last day, included in the period.")
    zone: Annotated[Literal["UTC"], DerivedFrom()] = Field("UTC", description="Time zone of the days.")


class Answer(BaseModel):
    #: How the measure treats money of several currencies; None for a measure without money.
    money: ClassVar[str | None] = None

    # Every measure counts what lies in a period, which ends today by default.
    period: Annotated[Period, OrderedBy("time")] = Field(
        default_factory=Period, description="The period counted; set in every answer."
    )


class Occurring(BaseModel):
    currency: str = Field(description="ISO 4217.")
    orders: Annotated[int, DerivedFrom("amount", "currency")] = Field(
        description="Relations with an amount of at least 0 in this currency."
    )


class MoneyAnswer(Answer):
    currency: str | None = Field(
        description="Currency of the money: the requested one, otherwise that of most orders; null without orders."
    )
    other_currencies: list[Occurring] = Field(
        default_factory=list,
        description="Other currencies that occur, most orders first; empty if a currency was requested. Money"
        " is never added up across currencies.",
    )
    left_out: Annotated[int, DerivedFrom("currency")] = Field(
        0, description="Consumers or providers with money in other currencies only. Not counted here."
    )


def stated(answer: A, span: Span, currencies: Mapping[str, int] | None = None) -> A:
    """``answer`` with its period, and with the orders by currency where none was requested."""
    answer.period = Period(first=date_of(span.first) if span.first > 0 else None, last=date_of(span.end - 1))
    if currencies and isinstance(answer, MoneyAnswer):
        answer.other_currencies = [
            Occurring(currency=each, orders=orders)
            for each, orders in currencies.items()
            if each != answer.currency
        ]
    return answer
