"""How ratings are distributed. Pure."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from shared.access.lineage import Count, DerivedFrom, OrderedBy
from shared.measures.wilson import wilson


class RatingCount(BaseModel):
    rating: int
    count: Annotated[int, DerivedFrom("rating")]
    share: Annotated[float, DerivedFrom("rating")] = Field(description="Of all ratings, from 0 to 1.")


class RatingDistribution(BaseModel):
    """Answers: are we liked by all, or loved by some and hated by others?"""

    rating_count: Count
    mean: Annotated[float | None, DerivedFrom("rating")] = Field(
        description="On the upstream's scale; null without ratings."
    )
    deviation: Annotated[float | None, DerivedFrom("rating")] = Field(
        description="Standard deviation of the ratings, same scale."
    )
    positive: Annotated[float | None, DerivedFrom("rating")] = Field(
        description="The share of ratings that are at least `positive_from`."
    )
    positive_low: Annotated[float, DerivedFrom("rating")] = Field(
        description="That share, at least, with 97.5 % confidence (Wilson)."
    )
    positive_high: Annotated[float, DerivedFrom("rating")] = Field(description="And at most.")
    items: Annotated[list[RatingCount], OrderedBy("rating")] = Field(
        description="By rating, lowest first; ratings that nobody gave are left out."
    )


def distribution(counts: Mapping[int, int], positive_from: int) -> RatingDistribution:
    """The distribution of ratings, their mean, and the share of good ones with its Wilson interval.

    ``counts``: rating → how often. mean = Σ r·n_r / Σ n_r; deviation = √(Σ n_r (r − mean)² / Σ n_r), of the whole
    population. Unit: points of the upstream's scale, and fractions of 1. Source of the interval: ``wilson``.
    """
    n = sum(counts.values())
    total = sum(rating * count for rating, count in counts.items())
    squares = sum(rating * rating * count for rating, count in counts.items())
    good = sum(count for rating, count in counts.items() if rating >= positive_from)
    low, high = wilson(good, n)
    return RatingDistribution(
        rating_count=n,
        mean=total / n if n else None,
        # In integers up to the root: no cancellation.
        deviation=((n * squares - total * total) ** 0.5 / n) if n else None,
        positive=good / n if n else None,
        positive_low=low,
        positive_high=high,
        items=[
            RatingCount(rating=rating, count=count, share=count / n)
            for rating, count in sorted(counts.items())
            if count
        ],
    )
