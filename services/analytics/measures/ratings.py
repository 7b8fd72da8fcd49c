"""Average ratings that allow for the number of ratings, so that a single five-star review does not win. Pure."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from shared.access.lineage import Count, OrderedBy
from shared.measures.answer import Answer
from shared.measures.query import BadMeasure
from shared.measures.scale import Scale
from shared.measures.units import Points
from shared.measures.wilson import wilson

RatingOrder = Literal["bayesian", "wilson", "mean"]


class RatedProvider(BaseModel):
    provider_id: str
    rating_count: Count = Field(title="Ratings", description="Number of ratings in the period.")
    mean: Points = Field(description="Arithmetic mean of the ratings, on the upstream's scale.")
    bayesian: Points = Field(
        title="Bayesian mean",
        description="Mean after `weight` further ratings at the overall mean; same scale.",
    )
    wilson: Points = Field(
        title="At least (Wilson)",
        description="Lower bound of the mean, with 97.5 % confidence; same scale.",
    )


class Ratings(Answer):
    """Answers: whom do consumers rate best, once we allow for how few ratings some have?"""

    scale: Scale | None = Field(description="Scale of the ratings; null without ratings.")
    mean: Points | None = Field(
        title="Mean of all ratings", description="Mean of all ratings of the selection; null without ratings."
    )
    rating_count: Count = Field(title="Ratings", description="Number of ratings of the selection.")
    items: Annotated[list[RatedProvider], OrderedBy("rating")] = Field(
        description="Highest chosen average first, then most ratings first."
    )


def ratings(
    sums: Mapping[str, tuple[int, int]],
    scale: Scale | None,
    weight: float,
    order: RatingOrder,
    limit: int,
) -> Ratings:
    """Providers by average rating.

    ``sums``: provider → (number, sum) of its ratings, ``scale``: None only without ratings. With C the
    mean of all ratings and w the ``weight`` (in ratings):

        bayesian = (w·C + Σ ratings) / (w + n)
        wilson   = lowest + (highest − lowest) · lower Wilson bound of p = (mean − lowest)/(highest − lowest), n

    Unit: points of the upstream's scale. Sources: the weighted rating of IMDb's top list; E. Miller, "How not to
    sort by average rating", 2009. On a scale of one rating the Wilson bound is that rating. Raises BadMeasure for
    a mean outside of a configured or requested scale. The scale of the data may be older than the sums.
    """
    rated = {provider: (count, total) for provider, (count, total) in sums.items() if count > 0}
    all_count, all_sum = (sum(part) for part in zip(*rated.values(), strict=True)) if rated else (0, 0)
    overall = all_sum / all_count if all_count else None
    items = []
    for provider, (count, total) in rated.items():
        assert overall is not None
        # The sums and the scale of the data come from different documents, and the scale may lag behind.
        lowest, highest = (scale.lowest, scale.highest) if scale else (total // count, -(-total // count))
        if scale and scale.source == "data":
            lowest, highest = min(lowest, total // count), max(highest, -(-total // count))
        if not lowest * count <= total <= highest * count:
            raise BadMeasure(
                "lowest" if total < lowest * count else "highest",
                f"is wrong: the ratings of a provider have the mean {total / count:.3g}, outside of {lowest} to "
                f"{highest}{' (KITH_RATING_SCALES)' if scale and scale.source == 'setting' else ''}",
            )
        width = highest - lowest
        at_least, _ = wilson((total - lowest * count) / width, count) if width else (0.0, 0.0)
        items.append(
            RatedProvider(
                provider_id=provider,
                rating_count=count,
                mean=total / count,
                bayesian=(weight * overall + total) / (weight + count),
                wilson=min(total / count, lowest + (highest - lowest) * at_least),
            )
        )
    items.sort(key=lambda item: (-getattr(item, order), -item.rating_count, item.provider_id))
    return Ratings(scale=scale, mean=overall, rating_count=all_count, items=items[:limit])
