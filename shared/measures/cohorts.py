"""Retention cohorts. Pure."""

from collections import Counter
from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field

from shared.access.lineage import Count, DerivedFrom
from shared.measures.answer import Answer
from shared.measures.days import Span, Unit, bucket_of, date_of, start_of
from shared.measures.units import Fraction
from shared.measures.visits import Visits, bucketed


class Cohort(BaseModel):
    """The consumers whose first relation ever is in one week or month."""

    cohort: Annotated[date, DerivedFrom("time")] = Field(
        title="Cohort of", description="First day of that week or month."
    )
    size: Count = Field(title="Consumers", description="Consumers in it.")
    active: list[Count] = Field(
        description="How many of them were active 0, 1, 2 … buckets later; the first is the size."
    )
    retention: list[Fraction] = Field(description="The same as a fraction of the size, from 0 to 1.")


class Cohorts(Answer):
    """Answers: of those who came first in one day, week or month, how many still come, and is it getting better?"""

    unit: Unit
    running: bool = Field(
        title="Last bucket still runs",
        description="The last number of each cohort belongs to a bucket that has not ended.",
    )
    average: list[Fraction | None] = Field(
        description="Retention 0, 1, 2 … buckets later, over all cohorts that are old enough and over buckets"
        " that have ended; null where none is."
    )
    items: list[Cohort] = Field(description="Every bucket of the period with new consumers, in order.")


def cohorts(visits: Visits, span: Span, unit: Unit, today: int) -> Cohorts:
    """Retention by first relation.

    ``visits``: all days with a relation before the period's end, each with its consumers. Cohorts are those of the
    period, and what comes after it is not looked at. Unit: consumers, and fractions of 1.

        size(c) = |{first relation in bucket c}|
        retention(c, k) = |{first relation in c, and a relation in bucket c + k}| / size(c)
        average(k) = Σ_c active(c, k) / Σ_c size(c),  over cohorts c whose bucket c + k has ended

    Source: classic (bounded, "in the k-th period") retention; Fader and Hardie call its complement attrition.
    """
    low, high = bucket_of(span.first, unit), bucket_of(span.end - 1, unit)
    last = min(high, bucket_of(today, unit))
    active: dict[int, list[int]] = {}
    for days in visits:
        first: dict[str, int] = {}
        for bucket, consumers in bucketed(days, unit):
            first.update(dict.fromkeys(consumers - first.keys(), bucket))
            if bucket > last:
                continue
            for cohort, number in Counter(map(first.__getitem__, consumers)).items():
                if cohort >= low:
                    active.setdefault(cohort, [0] * (last - cohort + 1))[bucket - cohort] += number
    running = start_of(last + 1, unit) > today
    average = [_average(active, k, last - running) for k in range(max(map(len, active.values()), default=0))]
    return Cohorts(
        unit=unit,
        running=running,
        average=average,
        items=[
            Cohort(
                cohort=date_of(start_of(cohort, unit)),
                size=row[0],
                active=row,
                retention=[count / row[0] for count in row],
            )
            for cohort, row in sorted(active.items())
        ],
    )


def _average(active: dict[int, list[int]], k: int, last: int) -> float | None:
    rows = [row for cohort, row in active.items() if cohort + k <= last]
    return sum(row[k] for row in rows) / sum(row[0] for row in rows) if rows else None
