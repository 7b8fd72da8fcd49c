"""Rankings over a period: one aggregation each, run by MongoDB."""

from collections.abc import Mapping
from typing import Any

from pymongo.collection import Collection

from services.analytics.answers import Ranked, Top
from services.analytics.parameters import Measure, Period
from shared.contracts.money import PUSHED, facts_in, summed
from shared.http.parameters import BadParameter
from shared.runtime.protocols import Document

_KEY_SUMS = {
    "_id": "$key",
    "count": {"$sum": "$count"},
    "rating_count": {"$sum": "$rating_count"},
    "rating_sum": {"$sum": "$rating_sum"},
    # The currencies are unknown beforehand, so the reader adds up the amounts.
    "amounts": {"$push": PUSHED},
}


class Ranking:
    """Ranks the keys of one ``by`` of a tenant over the days that a period touches."""

    def __init__(
        self,
        aggregates: Collection[Document],
        presence: Collection[Document],
        tenant: str,
        by: str,
        period: Period,
    ) -> None:
        self._aggregates = aggregates
        self._presence = presence
        self._tenant = tenant
        self._by = by
        self._first, self._end = period.days
        self._scope: Document = {"tenant": tenant, "by": by, "day": {"$gte": self._first, "$lt": self._end}}

    def top(self, measure: Measure, currency: str | None, limit: int) -> Top:
        """The first ``limit`` places. ``currency`` is for amounts: None means the only one that occurs.

        Raises BadParameter when several occur, and for consumers by anything but providers.
        """
        if measure == "consumers":
            return Top(items=self._by_consumers(limit), currency=None)
        if measure == "rating":
            return Top(items=self._by_rating(limit), currency=None)
        if measure == "count":
            return Top(items=self._by_sum("$count", "$count", limit), currency=None)
        if (currency := currency or self._only_currency()) is None:
            return Top(items=[], currency=None)
        return Top(items=self._by_sum(f"$amount.{currency}", facts_in(currency), limit), currency=currency)

    def _by_sum(self, field: str, facts: str | Mapping[str, Any], limit: int) -> list[Ranked]:
        """Ranks by the sum of ``field``, of the keys that have ``facts``: orders and refunds may add up to 0."""
        found = self._aggregate(
            {"$match": self._scope},
            {"$group": {**_KEY_SUMS, "value": {"$sum": field}, "facts": {"$sum": facts}}},
            {"$match": {"$or": [{"facts": {"$ne": 0}}, {"value": {"$ne": 0}}]}},
            {"$sort": {"value": -1, "_id": 1}},
            {"$limit": limit},
        )
        return [_ranked(document, document["value"]) for document in found]

    def _by_rating(self, limit: int) -> list[Ranked]:
        found = self._aggregate(
            {"$match": self._scope},
            {"$group": _KEY_SUMS},
            {"$match": {"rating_count": {"$gt": 0}}},
            {"$set": {"value": {"$divide": ["$rating_sum", "$rating_count"]}}},
            {"$sort": {"value": -1, "rating_count": -1, "_id": 1}},
            {"$limit": limit},
        )
        return [_ranked(document, document["value"]) for document in found]

    def _by_consumers(self, limit: int) -> list[Ranked]:
        if self._by != "provider":
            raise BadParameter("by", "must be provider: distinct consumers are ranked for providers only")
        # Presence documents begin their ids with tenant and day. A consumer present on several days is one.
        ids = {"$gte": f"{self._tenant}:{self._first}", "$lt": f"{self._tenant}:{self._end}"}
        ranked = self._run(
            self._presence,
            {"$match": {"_id": ids, "provider_id": {"$exists": True}, "count": {"$gt": 0}}},
            {"$group": {"_id": {"provider": "$provider_id", "consumer": "$consumer_id"}}},
            {"$group": {"_id": "$_id.provider", "consumers": {"$sum": 1}}},
            {"$sort": {"consumers": -1, "_id": 1}},
            {"$limit": limit},
        )
        keys = [document["_id"] for document in ranked]
        found = self._aggregate({"$match": {**self._scope, "key": {"$in": keys}}}, {"$group": _KEY_SUMS})
        sums = {document["_id"]: document for document in found}
        return [
            _ranked(
                sums.get(document["_id"], {"_id": document["_id"]}),
                document["consumers"],
                document["consumers"],
            )
            for document in ranked
        ]

    def _only_currency(self) -> str | None:
        # Each fact is in one total, and there are fewer totals than sums of any other key.
        totals = {**self._scope, "by": "total", "amount": {"$exists": True}}
        fields = {"_id": 0, "amount": 1, "amount_count": 1, "count": 1}
        found = self._aggregate({"$match": totals}, {"$project": fields})
        currencies = list(summed(found))
        if len(currencies) > 1:
            raise BadParameter("currency", f"is needed, because there are several: {', '.join(currencies)}")
        return currencies[0] if currencies else None

    def _aggregate(self, *stages: Mapping[str, Any]) -> list[Document]:
        return self._run(self._aggregates, *stages)

    @staticmethod
    def _run(collection: Collection[Document], *stages: Mapping[str, Any]) -> list[Document]:
        with collection.aggregate(list(stages), allowDiskUse=True) as found:
            return list(found)


def _ranked(sums: Document, value: float, consumers: int | None = None) -> Ranked:
    return Ranked(
        key=sums["_id"],
        value=value,
        count=sums.get("count", 0),
        amount=summed(sums.get("amounts", ())),
        rating_count=sums.get("rating_count", 0),
        rating_sum=sums.get("rating_sum", 0),
        consumers=consumers,
    )
