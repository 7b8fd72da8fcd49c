"""Top providers and their share of the whole. Pure."""

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from shared.access.lineage import Count, DerivedBy
from shared.measures.answer import MoneyAnswer
from shared.measures.units import Fraction, Minor, Parameter

#: The fields that values reveal: relations are counted, money is summed.
MEASURED = DerivedBy("measure", {"count": (), "amount": ("amount", "currency")})


class TopProvider(BaseModel):
    provider_id: str
    count: Count | None = Field(title="Relations", description="Relations; null when money ranks.")
    amount_minor: Minor | None = Field(
        title="Money", description="Net money in minor units; null when relations rank."
    )
    share: Annotated[Fraction | None, MEASURED] = Field(
        description="Share of all values above 0 of the whole selection, from 0 to 1; null for a value below 0"
        " (more refunds than sales), and where no value is above 0."
    )


class TopProviders(MoneyAnswer):
    """Answers: who are our most important providers?"""

    total_count: Count | None = Field(
        title="Relations",
        description="Relations of the whole selection, not only of the providers shown; null when money ranks.",
    )
    total_minor: Minor | None = Field(
        title="Money", description="Net money of the whole selection, in minor units; null when relations rank."
    )
    items: list[TopProvider] = Field(description="Highest value first; equal values by provider.")


class Concentration(MoneyAnswer):
    """Answers: how much do we depend on a few providers?"""

    providers: Annotated[int, MEASURED] = Field(description="Providers whose value is above 0.")
    below_zero: Annotated[int, MEASURED] = Field(
        description="Providers whose value is below 0 (more refunds than sales); not counted."
    )
    total_count: Count | None = Field(
        title="Relations", description="Relations of all providers; null when money is measured."
    )
    total_minor: Minor | None = Field(
        title="Money",
        description="Net money of the providers above 0, in minor units: the whole of which the shares are parts."
        " Null when relations are measured.",
    )
    gini: Annotated[Parameter | None, MEASURED] = Field(
        title="Gini coefficient",
        description="0: all providers have the same value; near 1: one provider has all. Null without providers.",
    )
    top_ten_share: Annotated[Fraction | None, MEASURED] = Field(
        title="Share of the ten largest", description="Share of the ten largest providers, from 0 to 1."
    )
    top_tenth_share: Annotated[Fraction | None, MEASURED] = Field(
        title="Share of the largest tenth", description="Share of the largest tenth of the providers, from 0 to 1."
    )
    half: Annotated[int, MEASURED] = Field(
        title="Providers that have half",
        description="Number of the largest providers that together have at least half.",
    )


def top_providers(
    values: Mapping[str, int], limit: int, *, money: bool = False, currency: str | None = None, left_out: int = 0
) -> TopProviders:
    """The providers of the highest value (relations, or net money in minor units). A provider whose orders and
    refunds cancel out has the value 0; ``values`` lacks those without money in the currency.

    share = value / Σ of the values above 0: with those below 0, a share could be above 1 and the shares of the
    others would add up to more than the whole. Source: none needed.
    """
    total = sum(values.values())
    above = sum(value for value in values.values() if value > 0)
    ranked = sorted(values.items(), key=_highest)
    return TopProviders(
        currency=currency,
        left_out=left_out,
        total_count=None if money else total,
        total_minor=total if money else None,
        items=[
            TopProvider(
                provider_id=provider,
                count=None if money else value,
                amount_minor=value if money else None,
                share=value / above if above > 0 and value >= 0 else None,
            )
            for provider, value in ranked[:limit]
        ],
    )


def _highest(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def concentration(
    values: Iterable[int], *, money: bool = False, currency: str | None = None, left_out: int = 0
) -> Concentration:
    """How unevenly values (relations, or net money in minor units) are spread over providers.

    With the n values above 0 in ascending order:

        gini = 2 Σ i·x_i / (n Σ x_i) − (n + 1)/n,  i = 1 … n
        top_ten_share = Σ of the ten largest / Σ x,  top_tenth_share: of the ⌈n/10⌉ largest

    Unit: fractions of 1. The sums lack providers without a relation in the period; these do not count as 0.
    Source: C. Gini, "Variabilità e mutabilità", 1912; the concentration ratio CR10.
    """
    given = list(values)
    ascending = sorted(value for value in given if value > 0)
    n, total = len(ascending), sum(ascending)
    weighted = sum(rank * value for rank, value in enumerate(ascending, 1))
    tenth = -(-n // 10)
    half, reached = 0, 0
    while 2 * reached < total:
        half += 1
        reached += ascending[-half]
    return Concentration(
        currency=currency,
        left_out=left_out,
        providers=n,
        below_zero=sum(value < 0 for value in given),
        total_count=None if money else total,
        total_minor=total if money else None,
        # One division of integers: exact for sums of any size, and 0 when all values are equal.
        gini=(2 * weighted - (n + 1) * total) / (n * total) if n else None,
        top_ten_share=sum(ascending[-10:]) / total if n else None,
        top_tenth_share=sum(ascending[-tenth:]) / total if n else None,
        half=half,
    )
