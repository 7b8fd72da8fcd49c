"""Reads the partial sums of buckets, in the order of bucket and key, as a stream of any length."""

from collections.abc import Generator
from contextlib import closing
from itertools import groupby
from operator import itemgetter

from pymongo.collection import Collection

from services.analytics.parameters import Bucket, Period, hour_bucket
from services.analytics.partials import StoredSums
from shared.contracts.events import document_id
from shared.runtime.protocols import Document

_BATCH = 500
_HOURS = tuple(f"{hour:02}" for hour in range(24))

#: bucket, key, and the partial sums of one partition
Row = tuple[str, str, StoredSums]
Rows = Generator[Row, None, None]
Documents = Generator[Document, None, None]


class Buckets:
    """The partial sums of a key (None: of all keys) within a period. ``after`` is a bucket and key: sums before it
    may be left out, and the caller must skip the others."""

    def __init__(
        self,
        aggregates: Collection[Document],
        tenant: str,
        by: str,
        key: str | None,
        period: Period,
        after: tuple[str, str],
    ) -> None:
        self._aggregates = aggregates
        self._scope: Document = {"tenant": tenant, "by": by}
        self._key = key
        self._id = document_id(tenant, by, key or "")
        self._period = period
        self._after = after

    def rows(self, bucket: Bucket) -> Rows:
        """The rows; all partial sums of a bucket and key are adjacent. Must be closed, to free the server's
        cursor."""
        if bucket == "day":
            return self._days() if self._key is None else self._days_of(self._key)
        return self._hours() if self._key is None else self._hours_of(self._key)

    def _days(self) -> Rows:
        first, end = self._period.days
        day, key = self._after
        parts: list[Document] = [{"day": {"$gte": first, "$lt": end}}]
        if first <= day < end:
            parts = [{"day": day, "key": {"$gt": key}}, {"day": {"$gt": day, "$lt": end}}]
        for part in parts:
            for document in self._find({**self._scope, **part}, ["day", "key"], {"hours": 0}):
                yield document["day"], document["key"], document

    def _days_of(self, key: str) -> Rows:
        for document in self._documents_of_key({"hours": 0}):
            yield document["day"], key, document

    def _hours_of(self, key: str) -> Rows:
        first, end = self._period.hours
        with closing(self._documents_of_key({"day": 1, "hours": 1})) as documents:
            for day, partials in groupby(documents, key=itemgetter("day")):
                rows = (
                    (hour_bucket(day, hour), key, sums)
                    for partial in partials
                    for hour, sums in partial["hours"].items()
                )
                yield from sorted((row for row in rows if first <= row[0] < end), key=itemgetter(0))

    def _hours(self) -> Rows:
        # Hour by hour through the index of the day's keys, so that a day may exceed the memory.
        first, end = self._period.hours
        first_day, end_day = self._period.days
        after, after_key = self._after
        days: Document = {"$gte": max(first_day, after[:10]), "$lt": end_day}
        while found := self._aggregates.find_one({**self._scope, "day": days}, {"day": 1}, sort=[("day", 1)]):
            day = found["day"]
            for hour in _HOURS:
                bucket = hour_bucket(day, hour)
                if not max(first, after) <= bucket < end:
                    continue
                wanted: Document = {**self._scope, "day": day, f"hours.{hour}": {"$exists": True}}
                if bucket == after:
                    wanted["key"] = {"$gt": after_key}
                for document in self._find(wanted, ["key"], {"key": 1, f"hours.{hour}": 1}):
                    yield bucket, document["key"], document["hours"][hour]
            days = {"$gt": day, "$lt": end_day}

    def _documents_of_key(self, projection: Document) -> Documents:
        first, end = self._period.days
        ids = {"$gte": f"{self._id}:{max(first, self._after[0][:10])}", "$lt": f"{self._id}:{end}"}
        return self._find({"_id": ids}, ["_id"], projection)

    def _find(self, wanted: Document, order: list[str], projection: Document) -> Documents:
        found = self._aggregates.find(wanted, projection, batch_size=_BATCH)
        with found.sort([(field, 1) for field in order]) as documents:
            yield from documents
