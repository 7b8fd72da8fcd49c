"""The models of the API's answers. Pure."""

from typing import Annotated

from pydantic import BaseModel, Field

from shared.access.lineage import KEY, ContainedByParameter, ContainedIn, Count, DerivedBy, DerivedFrom, OrderedBy

#: The fields that a ranking by a measure reveals.
MEASURED = DerivedBy(
    "measure", {"count": ("count",), "consumers": (), "amount": ("amount", "currency"), "rating": ("rating",)}
)
#: The key in a cursor.
_IN_CURSOR = ContainedByParameter("by", KEY.values)


class _Sums(BaseModel):
    key: Annotated[str, KEY] = Field(
        description="The kind, the provider_id, the consumer_id, `provider_id:kind`, or empty for the total."
    )
    count: Count = Field(description="Relations.")
    amount: Annotated[dict[str, int], DerivedFrom("amount", "currency")] = Field(
        description="Money by currency (ISO 4217), in minor units such as cents."
    )
    rating_count: Count = Field(description="Number of relations with a rating.")
    rating_sum: Annotated[int, DerivedFrom("rating")] = Field(
        description="Sum of these ratings; divided by rating_count, their mean."
    )


class Aggregate(_Sums):
    """The sums of one time bucket. An empty bucket is left out."""

    bucket: Annotated[str, DerivedFrom("time", "day")] = Field(
        description="Start of the bucket in UTC: `2026-11-21` for a day, `2026-11-21T07:00:00Z` for an hour."
    )
    consumers: Count | None = Field(
        description="Distinct consumers. Kept by day for the total and for providers, null elsewhere."
    )


class AggregatePage(BaseModel):
    # The number of buckets, and what is in each, reveal times even without their names.
    items: Annotated[list[Aggregate], OrderedBy("time", "day")] = Field(
        description="Ordered by bucket, then by key."
    )
    next: Annotated[str | None, ContainedIn("time"), _IN_CURSOR] = Field(
        description="The cursor of the next page; null on the last one."
    )


class Ranked(_Sums):
    """One place in a ranking: its sums over the whole period."""

    value: Annotated[int | float, MEASURED] = Field(description="The value of the measure; the mean for ratings.")
    consumers: Count | None = Field(
        description="Distinct consumers of the whole period, for the measure `consumers`; null for others."
    )


class Top(BaseModel):
    items: list[Ranked] = Field(
        description="Highest value first; equal ones by key (ratings: by rating_count first)."
    )
    currency: str | None = Field(description="The currency of the values, for the measure `amount`.")
