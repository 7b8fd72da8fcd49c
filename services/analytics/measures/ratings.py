"""Average ratings in which one five-star review does not win. Pure."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from shared.access.lineage import Count, DerivedFrom, OrderedBy
from shared.measures.query import BadMeasure
from shared.measures.wilson import wilson

RatingOrder = Literal["bayesian", "wilson", "mean"]


class RatedProvider(BaseModel):
    provider_id: str
    rating_count: Count = Field(description="Ratings in the period.")
    mean: Annotated[float, DerivedFrom("rating")] = Field(description="Their plain mean, on the upstream's scale.")
    bayesian: Annotated[float, DerivedFrom("rating")] = Field(
        description="The mean after `weight` further ratings at the mean of all; same scale."
    )
    wilson: Annotated[float, DerivedFrom("rating")] = Field(
        description="The mean that the provider has at least, with 97.5 % confidence; same scale."
    )


class Ratings(BaseModel):
    """Answers: whom do consumers rate best, once we allow for how few ratings some have?"""

    mean: Annotated[float | None, DerivedFrom("rating")] = Field(
        description="Mean of all ratings of the selection; null without ratings."
    )
    rating_count: Count = Field(description="All ratings of the selection.")
    items: Annotated[list[RatedProvider], OrderedBy("rating")] = Field(
        description="Highest first by the chosen average, then more ratings first."
    )


def ratings(
    sums: Mapping[str, tuple[int, int]],
    scale: tuple[int, int],
    weight: float,
    order: RatingOrder,
    limit: int,
) -> Ratings:
    """Providers by average rating.

    ``sums``: provider → (number, sum) of its ratings, ``scale``: the lowest and the highest rating. With C the
    mean of all ratings and w the ``weight`` (in ratings):

        bayesian = (w·C + Σ ratings) / (w + n)
        wilson   = lowest + (highest − lowest) · lower Wilson bound of p = (mean − lowest)/(highest − lowest), n

    Unit: points of the upstream's scale. Sources: the weighted rating of IMDb's top list; E. Miller, "How not to
    sort by average rating", 2009. Raises BadMeasure for a mean outside of the scale.
    """
    lowest, highest = scale
    if lowest >= highest:
        raise BadMeasure("highest", "must be above lowest")
    rated = {provider: (count, total) for provider, (count, total) in sums.items() if count > 0}
    all_count, all_sum = (sum(part) for part in zip(*rated.values(), strict=True)) if rated else (0, 0)
    overall = all_sum / all_count if all_count else None
    items = []
    for provider, (count, total) in rated.items():
        assert overall is not None
        if not lowest * count <= total <= highest * count:
            raise BadMeasure(
                "lowest" if total < lowest * count else "highest",
                f"is wrong: the ratings of a provider have the mean {total / count:.3g}, "
                f"outside of {lowest} to {highest}",
            )
        at_least, _ = wilson((total - lowest * count) / (highest - lowest), count)
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
    return Ratings(mean=overall, rating_count=all_count, items=items[:limit])
