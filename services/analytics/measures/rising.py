"""Rising and falling providers. Pure."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field

from shared.access.lineage import Count
from shared.measures.answer import Answer
from shared.measures.units import Rate, Times
from shared.measures.wilson import wilson

Direction = Literal["rising", "falling"]


class MovingProvider(BaseModel):
    provider_id: str
    count: Count = Field(title="Relations", description="Number of relations in the period.")
    baseline: Count = Field(title="Relations before", description="Number of relations in the baseline.")
    rate: Rate = Field(title="A day", description="Relations per day in the period.")
    baseline_rate: Rate = Field(title="A day before", description="Relations per day in the baseline.")
    ratio: Times | None = Field(description="rate / baseline_rate; null for a provider without a baseline.")
    at_least: Times = Field(description="Lower bound of the ratio, with 97.5 % confidence.")
    at_most: Times | None = Field(
        description="Upper bound of the ratio, with 97.5 % confidence; null without a baseline."
    )


class Rising(Answer):
    """Answers: which providers are taking off, or fading, measured against themselves?"""

    days: Count = Field(title="Days of the period", description="Length of the period in days.")
    baseline_days: Count = Field(
        title="Days before it", description="Length of the baseline in days. It ends where the period begins."
    )
    items: list[MovingProvider] = Field(
        description="Rising: highest `at_least` first. Falling: lowest `at_most` first."
    )


def rising(
    current: Mapping[str, int],
    baseline: Mapping[str, int],
    days: int,
    baseline_days: int,
    direction: Direction,
    minimum: int,
    limit: int,
) -> Rising:
    """Providers by the rate of their relations against their own baseline.

    ``current`` and ``baseline``: provider → relations in ``days`` and in the ``baseline_days`` before. Only
    providers with ``minimum`` relations in both together. Unit: relations per day, and ratios.

        ratio = (count / days) / (baseline / baseline_days)

    If both are Poisson, then count given count + baseline is binomial with p/(1 − p) = ratio · days/baseline_days;
    the bounds of the ratio are those of p (Wilson), so that few relations do not win. Sorting by the bound needs
    no threshold. Source: J. Przyborowski, H. Wilenski, "Homogeneity of results in testing samples from Poisson
    series", Biometrika 31 (1940).
    """
    stretch = baseline_days / days
    items = []
    for provider in current.keys() | baseline.keys():
        now, before = max(0, current.get(provider, 0)), max(0, baseline.get(provider, 0))
        if now + before < max(1, minimum):
            continue
        low, high = wilson(now, now + before)
        items.append(
            MovingProvider(
                provider_id=provider,
                count=now,
                baseline=before,
                rate=now / days,
                baseline_rate=before / baseline_days,
                ratio=stretch * now / before if before else None,
                at_least=stretch * low / (1 - low),
                at_most=stretch * high / (1 - high) if before else None,
            )
        )
    if direction == "rising":
        items.sort(key=lambda item: (-item.at_least, item.provider_id))
    else:
        items = [item for item in items if item.at_most is not None]
        items.sort(key=lambda item: (item.at_most, item.provider_id))
    return Rising(days=days, baseline_days=baseline_days, items=items[:limit])
