"""What the queries answer: the models behind the API's JSON. Pure."""

from pydantic import BaseModel, Field


class _Sums(BaseModel):
    key: str = Field(
        description="The kind, the provider_id, the consumer_id, `provider_id:kind`, or empty for the total."
    )
    count: int = Field(description="Relations.")
    amount: dict[str, int] = Field(description="Money by currency (ISO 4217), in minor units such as cents.")
    rating_count: int = Field(description="Relations that carry a rating.")
    rating_sum: int = Field(description="Sum of these ratings; divided by rating_count it is their mean.")


class Aggregate(_Sums):
    """What happened in one bucket of time. A bucket in which nothing happened is left out."""

    bucket: str = Field(
        description="Where it begins, in UTC: `2026-11-21` for a day, `2026-11-21T07:00:00Z` for an hour."
    )
    consumers: int | None = Field(
        description="Distinct consumers. Kept by day for the total and for providers, null elsewhere."
    )


class AggregatePage(BaseModel):
    items: list[Aggregate] = Field(description="Ordered by bucket, then by key.")
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


class Ranked(_Sums):
    """One place in a ranking: its sums over the whole period."""

    value: int | float = Field(description="What the ranking is by; for ratings the mean.")
    consumers: int | None = Field(
        description="Distinct consumers of the whole period, for the measure `consumers`; null for others."
    )


class Top(BaseModel):
    items: list[Ranked] = Field(
        description="Highest value first; equal ones by key (ratings: by rating_count first)."
    )
    currency: str | None = Field(description="The currency of the values, for the measure `amount`.")
