"""Active consumers and stickiness. Pure."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from itertools import accumulate
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from shared.access.lineage import Count, DerivedFrom
from shared.measures.answer import Answer
from shared.measures.days import Span, date_of
from shared.measures.units import Fraction
from shared.measures.visits import Visits

#: Lengths in days of the windows of DAU, WAU and MAU.
WINDOWS = (1, 7, 30)
LOOK_BACK = max(WINDOWS) - 1


class ActiveDay(BaseModel):
    day: Annotated[date, DerivedFrom("time")] = Field(description="UTC.")
    dau: Count = Field(
        title="On the day", description="Distinct consumers with a relation on this day. Always exact."
    )
    wau: Count = Field(title="In 7 days", description="Distinct consumers on this day and the 6 days before.")
    mau: Count = Field(title="In 30 days", description="Distinct consumers on this day and the 29 days before.")
    stickiness: Fraction | None = Field(description="dau / mau, from 0 to 1; null without consumers.")


class Activity(Answer):
    """Answers: how many consumers are with us, and how often do they come?"""

    consumers: Count = Field(description="Distinct consumers in the whole period.")
    method: Annotated[Literal["exact", "sketch"], DerivedFrom()] = Field(
        title="Counted", description="How wau, mau and consumers were counted."
    )
    relative_error: Fraction = Field(
        title="Relative error at most",
        description="Of wau, mau and consumers, with 95 % confidence: 0 when exact, 0.016 is 1.6 %.",
    )
    items: list[ActiveDay] = Field(description="Every day of the period, in order.")


def activity(visits: Visits, span: Span) -> Activity:
    """DAU, WAU, MAU and stickiness of each day of a period, exactly.

    ``visits``: the days with a relation, each with its consumers; those of the 29 days before the period count in
    the windows. Unit: consumers.

        window_w(d) = |{c : c has a relation on a day in (d − w, d]}|,  w = 1, 7, 30
        stickiness(d) = window_1(d) / window_30(d)

    A consumer adds the union of [day, day + w) over their days, as a difference array: a day adds what the day of
    their latest visit before it has not. Source: the DAU/MAU ratio is that of common product analytics.
    """
    size = len(span)
    moves = {window: [0] * (size + 1) for window in WINDOWS}
    consumers = 0
    never = span.first - LOOK_BACK - 1
    for days in visits:
        latest: dict[str, int] = {}
        for day, those in days:
            for known, number in Counter(map(latest.get, those)).items():
                before = never if known is None else known
                for window, moved in moves.items():
                    begin, end = max(day, before + window, span.first), min(day + window, span.end)
                    if begin < end:
                        moved[begin - span.first] += number
                        moved[end - span.first] -= number
                if before < span.first <= day < span.end:
                    consumers += number
            latest.update(dict.fromkeys(those, day))
    dau, wau, mau = (list(accumulate(moves[window][:size])) for window in WINDOWS)
    items = [_item(span.first + at, *numbers) for at, numbers in enumerate(zip(dau, wau, mau, strict=True))]
    return Activity(consumers=consumers, method="exact", relative_error=0, items=items)


def merged_activity(
    daily: Sequence[int], distinct: Callable[[int, int], float], span: Span, relative_error: float
) -> Activity:
    """The same measure from ``daily`` distinct consumers (exact, one per day of the period) and an estimate
    ``distinct(first, end)`` over any days. Formulas and units as above."""
    items = []
    for at, dau in enumerate(daily):
        day = span.first + at
        # A wider window never has fewer consumers; independent estimates could contradict that.
        wau = max(dau, round(distinct(day - 6, day + 1)))
        mau = max(wau, round(distinct(day - 29, day + 1)))
        items.append(_item(day, dau, wau, mau))
    consumers = max([round(distinct(span.first, span.end)), *daily])
    return Activity(consumers=consumers, method="sketch", relative_error=relative_error, items=items)


def _item(day: int, dau: int, wau: int, mau: int) -> ActiveDay:
    return ActiveDay(day=date_of(day), dau=dau, wau=wau, mau=mau, stickiness=dau / mau if mau else None)
