"""New, returning, resurrected and lost consumers. Pure."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from shared.access.lineage import Count, DerivedFrom
from shared.measures.answer import Answer
from shared.measures.days import Span, Unit, bucket_of, date_of, start_of
from shared.measures.visits import Visits, bucketed


class LifecycleBucket(BaseModel):
    bucket: Annotated[date, DerivedFrom("time")] = Field(
        title="From", description="First day of the day, week or month."
    )
    active: Count = Field(description="Consumers with a relation in it: new + returning + resurrected.")
    new: Count = Field(description="Their first relation ever is in it.")
    returning: Count = Field(description="Also active in the bucket before.")
    resurrected: Count = Field(description="Active earlier, but not in the bucket before.")
    lost: Count = Field(description="Active in the bucket before, and not in this one.")
    complete: bool = Field(description="False while the bucket has not ended; `lost` may then still fall.")


class Lifecycle(Answer):
    """Answers: do we grow because consumers come, or because they stay?"""

    unit: Unit
    items: list[LifecycleBucket] = Field(description="Every bucket that the period touches, in order.")


def lifecycle(visits: Visits, span: Span, unit: Unit, today: int) -> Lifecycle:
    """Growth accounting by day, week or month.

    ``visits``: all days with a relation before the period's end, each with its consumers. Unit: consumers. For
    A(b) the consumers active in bucket b:

        new(b) = |A(b) − ∪ A(j<b)|      returning(b)   = |A(b) ∩ A(b−1)|
        lost(b) = |A(b−1) − A(b)|       resurrected(b) = |A(b) ∩ ∪ A(j<b−1) − A(b−1)|

    so active(b) = active(b−1) + new(b) + resurrected(b) − lost(b). Source: growth accounting as in J. Hsu,
    "Diligence at Social Capital", 2015.
    """
    low, high = bucket_of(span.first, unit), bucket_of(span.end - 1, unit)
    size = high - low + 1
    new, returning, resurrected, lost = ([0] * size for _ in range(4))
    for days in visits:
        ever: set[str] = set()
        latest, before = low - 2, ever
        for bucket, now in bucketed(days, unit):
            if bucket > latest + 1:
                if low <= latest + 1 <= high:
                    lost[latest + 1 - low] += len(before)
                before = set()
            if low <= bucket <= high:
                came, stayed = len(now - ever), len(now & before)
                new[bucket - low] += came
                returning[bucket - low] += stayed
                resurrected[bucket - low] += len(now) - came - stayed
                lost[bucket - low] += len(before) - stayed
            ever |= now
            latest, before = bucket, now
        if low <= latest + 1 <= high:
            lost[latest + 1 - low] += len(before)
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
