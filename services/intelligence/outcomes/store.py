"""Lists that were shown, in MongoDB, and the facts that decide what followed."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import UpdateOne
from pymongo.database import Database

from services.intelligence.outcomes.shown import Followed, pairs_of
from shared.erasure.derived import OUTCOMES
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.mongo.store import beginning_with
from shared.runtime.protocols import Document

_IDS = 1_000  # in one query


class OutcomeStore:
    """Every method raises Unavailable. ``names`` gives the present name of a collection of relations."""

    def __init__(self, database: Database[Document], names: Callable[[str], str]) -> None:
        self._database, self._names = database, names
        self._lists = database.get_collection(OUTCOMES, write_concern=DURABLE)

    def add(self, lists: Sequence[Document]) -> int:
        """Store these, unless they are there. Returns how many were not."""
        fields = [(each["_id"], {name: value for name, value in each.items() if name != "_id"}) for each in lists]
        writes = [UpdateOne({"_id": id}, {"$setOnInsert": each}, upsert=True) for id, each in fields]
        with translated():
            return self._lists.bulk_write(writes, ordered=False).upserted_count

    def by_id(self, ids: Collection[str]) -> list[Document]:
        with translated():
            return list(self._lists.find({"_id": {"$in": list(ids)}}))

    def of(self, tenant: str, consumers: Sequence[str]) -> list[Document]:
        """The lists about these consumers, or with one of them."""
        found: dict[str, Document] = {}
        for start in range(0, len(consumers), _IDS):
            wanted = {"tenant": tenant, "consumers": {"$in": consumers[start : start + _IDS]}}
            with translated():
                found |= {each["_id"]: each for each in self._lists.find(wanted)}
        return list(found.values())

    def page(self, tenant: str, after: str, size: int) -> list[Document]:
        """The next lists by id, of a tenant, or (the empty text) of all."""
        ids = {**(beginning_with(f"{tenant}:") if tenant else {}), "$gt": after}
        with translated():
            return list(self._lists.find({"_id": ids}).sort("_id", 1).limit(size))

    def followed(self, shown: Mapping[str, Any]) -> Followed:
        """The pairs of a list with a live relation within its window, and the time of the first."""
        pairs = pairs_of(shown)
        if not pairs:
            return {}
        matching = {
            "tenant": shown["tenant"],
            "consumer_id": {"$in": sorted({consumer for consumer, _ in pairs})},
            "provider_id": {"$in": sorted({provider for _, provider in pairs})},
            "retracted": False,
            "time": {"$gte": shown["at"], "$lte": shown["until"]},
        }
        first = {
            "_id": {"consumer": "$consumer_id", "provider": "$provider_id"},
            "first": {"$min": "$time"},
        }
        with translated():
            found = self._database[self._names("relations")].aggregate([{"$match": matching}, {"$group": first}])
            return {(each["_id"]["consumer"], each["_id"]["provider"]): each["first"] for each in found}

    def set_items(self, shown: Mapping[str, Any], items: Sequence[Document]) -> bool:
        """Replace the items of a list. False: somebody has changed it since it was read, or it is gone."""
        unchanged = {"_id": shown["_id"], "revision": shown["revision"]}
        with translated():
            done = self._lists.update_one(unchanged, {"$set": {"items": list(items)}, "$inc": {"revision": 1}})
        return bool(done.matched_count)

    def counts(
        self, tenant: str, start: datetime, end: datetime, now: datetime
    ) -> tuple[list[Document], list[Document], int]:
        """Counts the lists shown from ``start`` to before ``end`` whose window has ended by ``now``: by model
        ``{model, lists, followed}`` and by model and rank ``{model, rank, shown, followed}``. And how many lists
        have a window that is open."""
        wanted: Document = {"tenant": tenant, "at": {"$gte": start, "$lt": end}}
        ended = {"$match": {**wanted, "until": {"$lte": now}}}
        any_followed = {"$cond": [{"$gt": [{"$size": {"$ifNull": ["$items.followed", []]}}, 0]}, 1, 0]}
        by_model = {"_id": "$model", "lists": {"$sum": 1}, "followed": {"$sum": any_followed}}
        by_rank = {
            "_id": {"model": "$model", "rank": "$items.rank"},
            "shown": {"$sum": 1},
            "followed": {"$sum": {"$cond": [{"$gt": ["$items.followed", None]}, 1, 0]}},
        }
        with translated():
            lists = self._lists.aggregate([ended, {"$group": by_model}])
            models = [{"model": each.pop("_id"), **each} for each in lists]
            ranks = [
                {**each.pop("_id"), **each}
                for each in self._lists.aggregate([ended, {"$unwind": "$items"}, {"$group": by_rank}])
            ]
            still_open = self._lists.count_documents({**wanted, "until": {"$gt": now}})
        return models, ranks, still_open


def by_tenant(consumers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The ids of consumers, by tenant."""
    found: dict[str, list[str]] = {}
    for tenant, id in consumers:
        found.setdefault(tenant, []).append(id)
    return found
