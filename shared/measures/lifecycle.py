"""New, returning, resurrected and lost consumers. Pure."""

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise

from pydantic import BaseModel, Field

from shared.measures.days import Span, Unit, bucket_of, date_of, start_of


class LifecycleBucket(BaseModel):
    bucket: date = Field(description="First day of the day, week or month.")
    active: int = Field(description="Consumers with a relation in it: new + returning + resurrected.")
    new: int = Field(description="Their first relation ever is in it.")
    returning: int = Field(description="Also active in the bucket before.")
    resurrected: int = Field(description="Active earlier, but not in the bucket before.")
    lost: int = Field(description="Active in the bucket before, and not in this one.")
    complete: bool = Field(description="False while it has not ended: then `lost` still falls.")


class Lifecycle(BaseModel):
    """Answers: do we grow because consumers come, or because they stay?"""

    unit: Unit
    items: list[LifecycleBucket] = Field(description="Every bucket that the period touches, in order.")


def lifecycle(visits: Iterable[Sequence[int]], span: Span, unit: Unit, today: int) -> Lifecycle:
    """Growth accounting by day, week or month.

    ``visits``: for each consumer all days with a relation before the period's end, ascending. Unit: consumers.
    For A(b) the consumers active in bucket b:

        new(b) = |A(b) − ∪ A(j<b)|      returning(b)   = |A(b) ∩ A(b−1)|
        lost(b) = |A(b−1) − A(b)|       resurrected(b) = |A(b) ∩ ∪ A(j<b−1) − A(b−1)|

    so active(b) = active(b−1) + new(b) + resurrected(b) − lost(b). Source: growth accounting as in J. Hsu,
    "Diligence at Social Capital", 2015.
    """
    low, high = bucket_of(span.first, unit), bucket_of(span.end - 1, unit)
    size = high - low + 1
    new, returning, resurrected, lost = ([0] * size for _ in range(4))
    for days in visits:
        buckets = list(dict.fromkeys(bucket_of(day, unit) for day in days))
        if buckets and low <= buckets[0] <= high:
            new[buckets[0] - low] += 1
        for before, bucket in pairwise(buckets):
            if low <= bucket <= high:
                (returning if bucket == before + 1 else resurrected)[bucket - low] += 1
        for bucket, after in zip(buckets, [*buckets[1:], None], strict=False):
            if after != bucket + 1 and low <= bucket + 1 <= high:
                lost[bucket + 1 - low] += 1
    return Lifecycle(
        unit=unit,
        items=[
            LifecycleBucket(
                bucket=date_of(start_of(low + at, unit)),
                active=new[at] + returning[at] + resurrected[at],
                new=new[at],
                returning=returning[at],
                resurrected=resurrected[at],
                lost=lost[at],
                complete=start_of(low + at + 1, unit) <= today,
            )
            for at in range(size)
        ],
    )
