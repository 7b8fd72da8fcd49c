"""What every answer of a measure says about itself: period, zone, and which money counts. Pure."""

from collections.abc import Mapping
from datetime import date
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import BaseModel, Field

from shared.access.lineage import DerivedFrom
from shared.measures.days import Span, date_of

A = TypeVar("A", bound="Answer")


class Period(BaseModel):
    first: Annotated[date | None, DerivedFrom()] = Field(
        None, description="First day; null: from the first relation on."
    )
    last: Annotated[date | None, DerivedFrom()] = Field(None, description="Last day; it belongs to the period.")
    zone: Annotated[Literal["UTC"], DerivedFrom()] = Field("UTC", description="Where days begin and end.")


class Answer(BaseModel):
    #: How money is treated, where it is not of one currency; None where there is none.
    money: ClassVar[str | None] = None

    period: Period = Field(default_factory=Period, description="What is counted; set in every answer.")


class Occurring(BaseModel):
    currency: str = Field(description="ISO 4217.")
    orders: Annotated[int, DerivedFrom("amount", "currency")] = Field(
        description="Relations with an amount of at least 0 in this currency."
    )


class MoneyAnswer(Answer):
    currency: str | None = Field(
        description="Of the money: the one that was asked for, else that of most orders; null when there is none."
    )
    other_currencies: list[Occurring] = Field(
        default_factory=list,
        description="Further currencies that occur, most orders first; empty where a currency was asked for. Money"
        " is never added up across currencies.",
    )
    left_out: Annotated[int, DerivedFrom("currency")] = Field(
        0, description="Those who have money in other currencies only, and are not counted here."
    )


def stated(answer: A, span: Span, currencies: Mapping[str, int] | None = None) -> A:
    """``answer`` with its period, and with the orders by currency where none was asked for."""
    answer.period = Period(first=date_of(span.first) if span.first > 0 else None, last=date_of(span.end - 1))
    if currencies and isinstance(answer, MoneyAnswer):
        answer.other_currencies = [
            Occurring(currency=each, orders=orders)
            for each, orders in currencies.items()
            if each != answer.currency
        ]
    return answer
