"""How ratings are distributed. Pure."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from shared.access.lineage import Count, DerivedFrom, Label, OrderedBy
from shared.measures.answer import Answer
from shared.measures.scale import Scale
from shared.measures.units import Fraction, Points
from shared.measures.wilson import wilson


class RatingCount(BaseModel):
    rating: int
    count: Annotated[int, DerivedFrom("rating")]
    share: Annotated[Fraction, DerivedFrom("rating")] = Field(description="Share of all ratings, from 0 to 1.")


class RatingDistribution(Answer):
    """Answers: are we liked by all, or loved by some and hated by others?"""

    scale: Scale | None = Field(description="Scale of the ratings; null without ratings.")
    rating_count: Count = Field(title="Ratings")
    mean: Points | None = Field(description="Mean rating, on the scale; null without ratings.")
    deviation: Points | None = Field(description="Standard deviation of the ratings, same scale.")
    positive_from: Annotated[int | None, DerivedFrom("rating")] = Field(
        title="Good from", description="Lowest good rating; null if it is unknown."
    )
    positive: Annotated[Fraction | None, DerivedFrom("rating")] = Field(
        title="Good ratings",
        description="Share of ratings of at least `positive_from`; null if `positive_from` is null.",
    )
    positive_low: Annotated[Fraction, DerivedFrom("rating")] = Field(
        title="Good ratings, at least", description="Lower bound of this share, with 97.5 % confidence (Wilson)."
    )
    positive_high: Annotated[Fraction, DerivedFrom("rating")] = Field(
        title="Good ratings, at most", description="Upper bound of this share, with 97.5 % confidence (Wilson)."
    )
    notes: list[Label] = Field(description="Reasons why a value is missing or unreliable.")
    items: Annotated[list[RatingCount], OrderedBy("rating")] = Field(
        description="Count by rating, lowest first; ratings without a count are left out."
    )


def distribution(
    counts: Mapping[int, int], scale: Scale | None, positive_from: int | None = None
) -> RatingDistribution:
    """The distribution of ratings, their mean, and the share of good ones with its Wilson interval.

    ``counts``: rating → how often. ``positive_from``: the lowest good rating; None: the uppermost quarter of the
    scale. mean = Σ r·n_r / Σ n_r; deviation = √(Σ n_r (r − mean)² / Σ n_r), of the whole population. Unit: points
    of the upstream's scale, and fractions of 1. Source of the interval: ``wilson``.
    """
    n = sum(counts.values())
    total = sum(rating * count for rating, count in counts.items())
    squares = sum(rating * rating * count for rating, count in counts.items())
    notes = []
    if positive_from is None and scale is not None and (positive_from := scale.good) is None:
        notes.append(
            f"Which ratings are good is not known: all are {scale.lowest}. State the scale by lowest and highest,"
            " or by KITH_RATING_SCALES."
        )
    if scale is not None and (
        beyond := sum(count for rating, count in counts.items() if not scale.lowest <= rating <= scale.highest)
    ):
        notes.append(f"Outside of the scale: {beyond:,} of {n:,} ratings.")
    good = sum(count for rating, count in counts.items() if positive_from is not None and rating >= positive_from)
    low, high = wilson(good, n) if positive_from is not None else (0.0, 1.0)
    return RatingDistribution(
        scale=scale,
        positive_from=positive_from,
        notes=notes,
        rating_count=n,
        mean=total / n if n else None,
        # Integers up to the root avoid cancellation.
        deviation=((n * squares - total * total) ** 0.5 / n) if n else None,
        positive=good / n if n and positive_from is not None else None,
        positive_low=low,
        positive_high=high,
        items=[
            RatingCount(rating=rating, count=count, share=count / n)
            for rating, count in sorted(counts.items())
            if count
        ],
    )
