"""Sums of facts by day and hour, and their differences in stored documents. Pure, in integers.

Numbers of nothing are left out and maps are sorted by key, so equal sums are equal documents, in whatever order
they were made. A sum of 0 is stored as long as there are facts with its currency (``shared.contracts.money``).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from shared.contracts.events import EPOCH, document_id
from shared.contracts.money import AMOUNT, AMOUNT_COUNT, Money, store, store_sum
from shared.runtime.protocols import Document

HOUR = timedelta(hours=1)

#: tenant, by, key, day: the key of an aggregate document
Place = tuple[str, str, str, str]


SUMS = ("count", AMOUNT, AMOUNT_COUNT, "rating_count", "rating_sum")

#: Count of facts, money by currency in minor units and its facts, number and sum of ratings. Numbers of nothing
#: other than the count are left out; an empty sum is the empty map. Partial sums may be negative.
StoredSums = Mapping[str, Any]


def plus(one: StoredSums, other: StoredSums) -> Document:
    """The sum of two stored sums, in stored form. Other fields in them are ignored."""
    total: Document = {"count": one.get("count", 0) + other.get("count", 0)}
    if AMOUNT in one or AMOUNT in other:
        store_sum(one, other, total["count"], total)
    if rating_count := one.get("rating_count", 0) + other.get("rating_count", 0):
        total["rating_count"] = rating_count
    if rating_sum := one.get("rating_sum", 0) + other.get("rating_sum", 0):
        total["rating_sum"] = rating_sum
    return total if total["count"] or len(total) > 1 else {}


class Sums:
    """Sums to which facts are added and from which they are removed."""

    __slots__ = ("count", "money", "rating_count", "rating_sum")

    def __init__(self) -> None:
        self.count = 0
        self.rating_count = 0
        self.rating_sum = 0
        self.money: Money = {}

    def stored(self) -> Document:
        sums: Document = {"count": self.count}
        if self.money:
            store(self.money, self.count, sums)
        if self.rating_count:
            sums["rating_count"] = self.rating_count
        if self.rating_sum:
            sums["rating_sum"] = self.rating_sum
        return sums if self.count or len(sums) > 1 else {}


class Difference:
    """The difference that a slice makes in one stored document: a place in a partition."""

    __slots__ = ("_hours", "_partition", "_place", "consumers", "id")

    def __init__(self, place: Place, partition: int) -> None:
        tenant, by, key, day = place
        self._place = place
        self._partition = partition
        self._hours: dict[str, Sums] = {}
        self.consumers = 0
        # A range of ids is a key's range of days.
        self.id = f"{document_id(tenant, by, key)}:{day}:{partition}"

    def hour(self, hour: str) -> Sums:
        """The difference within one hour, ``"00"`` to ``"23"``."""
        sums = self._hours.get(hour)
        if sums is None:
            sums = self._hours[hour] = Sums()
        return sums

    def applied(self, before: Document | None) -> Document | None:
        """The document after the difference; None when everything in it is zero."""
        total: StoredSums = before or {}
        hours: dict[str, Document] = dict(before["hours"]) if before else {}
        consumers = self.consumers + (before.get("consumers", 0) if before else 0)
        for hour, sums in self._hours.items():
            if moved := sums.stored():
                total = plus(total, moved) if total else moved
                if hour in hours:
                    moved = plus(hours.pop(hour), moved)
                if moved:
                    hours[hour] = moved
        # Not "the count is zero": while another partition lags, a partial's count may be zero or less.
        if not hours and not consumers:
            return None
        tenant, by, key, day = self._place
        after: Document = {"_id": self.id, "tenant": tenant, "by": by, "key": key, "day": day}
        after["partition"] = self._partition
        after["count"] = 0
        for name in SUMS:
            if name in total:
                after[name] = total[name]
        if consumers:
            after["consumers"] = consumers
        after["hours"] = dict(sorted(hours.items())) if len(hours) > 1 else hours
        return after


def hour_number(time: datetime) -> int:
    """Whole hours since 1970 of an aware time. Exact, unlike a division of floating-point seconds."""
    return (time - EPOCH) // HOUR


@lru_cache(maxsize=10_000)
def day_and_hour(number: int) -> tuple[str, str]:
    """The UTC day and hour of an hour number: ``("2026-11-21", "07")``."""
    time = EPOCH + number * HOUR
    return time.date().isoformat(), f"{time.hour:02}"
