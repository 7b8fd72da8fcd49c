"""Visits: the consumers active on each day, as the measures read them. Pure.

A million visits are counted by whole sets and counters, hardly ever one by one. That is most of the cost of these
measures.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from shared.measures.days import Unit, bucket_of

#: About how many visits are in memory at a time.
PORTION = 1_000_000

#: Days in ascending order, each once, with the distinct consumers that have a relation on it.
Days = Iterable[tuple[int, Collection[str]]]
#: Portions, each with all days of its consumers. A consumer is in one portion only.
Visits = Iterable[Days]


def by_day(consumers: Iterable[tuple[str, Iterable[int]]], most: int = PORTION) -> Iterator[Days]:
    """The visits of a stream of consumers, each with their distinct days and named once, in portions of ``most``
    visits or slightly more."""
    days: dict[int, list[str]] = {}
    number = 0
    for consumer, theirs in consumers:
        for day in theirs:
            days.setdefault(day, []).append(consumer)
            number += 1
        if number >= most:
            yield sorted(days.items())
            days, number = {}, 0
    if days:
        yield sorted(days.items())


def bucketed(days: Days, unit: Unit) -> Iterator[tuple[int, set[str]]]:
    """Buckets in ascending order, each with the consumers active in it. Empty ones are left out."""
    for bucket, parts in groupby(((bucket_of(day, unit), those) for day, those in days), key=itemgetter(0)):
        active: set[str] = set()
        for _, consumers in parts:
            active.update(consumers)
        if active:
            yield bucket, active
