"""Queries of time buckets and rankings. They add up the partial sums of the partitions.

Each partial sum is exact as of the latest commit of its partition; partitions advance independently.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import reduce
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from pymongo.collection import Collection
from pymongo.database import Database

from services.analytics.answers import Aggregate, Top
from services.analytics.buckets import Buckets
from services.analytics.parameters import (
    Bucket,
    By,
    Measure,
    Period,
    bucket_and_key,
)
from services.analytics.partials import plus
from services.analytics.projection import AGGREGATES, PRESENCE
from services.analytics.ranking import Ranking
from shared.http.parameters import BadParameter
from shared.mongo.errors import translated
from shared.runtime.protocols import Document


class Aggregates(NamedTuple):
    """A page, and the place after which the next one begins; None at the end."""

    items: list[Aggregate]
    next: tuple[str, str] | None


class AnalyticsQueries:
    """The queries of analytics on its database. All raise Unavailable while MongoDB is unavailable."""

    def __init__(self, database: Database[Document], names: Callable[[str], str] = str) -> None:
        """``names`` returns the present full name of a collection."""
        self._database = database
        self._names = names

    def aggregates(
        self,
        tenant: str,
        by: By,
        key: str | None,
        bucket: Bucket,
        period: Period,
        limit: int,
        place: Sequence[Any] | None = None,
    ) -> Aggregates:
        """At most ``limit`` buckets of a key (None: of all keys), ordered by bucket and key, after a place.

        Raises BadParameter for a key of the total and for a place of another list.
        """
        if by == "total":
            if key:
                raise BadParameter("key", "must be left out for the total, which has none")
            key = ""
        after = bucket_and_key(place, bucket) if place is not None else ("", "")
        with_consumers = bucket == "day" and by in ("total", "provider")
        items: list[Aggregate] = []
        rows = Buckets(self._collection(AGGREGATES), tenant, by, key, period, after).rows(bucket)
        with translated(), closing(rows):
            for found, group in groupby(rows, key=itemgetter(0, 1)):
                if found <= after:
                    continue
                partials = [sums for _, _, sums in group]
                total: Document = reduce(plus, partials, {})
                consumers = sum(partial.get("consumers", 0) for partial in partials) if with_consumers else None
                # A fact added in one partition and removed in another leaves partial sums that cancel out.
                if not total and not consumers:
                    continue
                if len(items) == limit:
                    return Aggregates(items, (items[-1].bucket, items[-1].key))
                items.append(
                    Aggregate(
                        key=found[1],
                        bucket=found[0],
                        count=total.get("count", 0),
                        amount=total.get("amount", {}),
                        rating_count=total.get("rating_count", 0),
                        rating_sum=total.get("rating_sum", 0),
                        consumers=consumers,
                    )
                )
        return Aggregates(items, None)

    def top(self, tenant: str, by: By, measure: Measure, currency: str | None, period: Period, limit: int) -> Top:
        """The ``limit`` keys of the highest value over the days that the period touches.

        ``currency`` matters for amounts only. Raises BadParameter when it is None and several occur, and for
        distinct consumers by anything but providers.
        """
        aggregates, presence = self._collection(AGGREGATES), self._collection(PRESENCE)
        with translated():
            return Ranking(aggregates, presence, tenant, by, period).top(measure, currency, limit)

    def _collection(self, name: str) -> Collection[Document]:
        return self._database[self._names(name)]
