"""How measures read MongoDB: as streams, within stated limits."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymongo.collection import Collection

from shared.measures.query import BadMeasure
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

#: The most providers of a category that can be a filter.
MAX_PROVIDERS = 20_000
_BATCH = 2_000


def aggregated(collection: Collection[Document], *stages: Mapping[str, Any]) -> Iterator[Document]:
    """The results of an aggregation, as a stream. Raises Unavailable."""
    with (
        translated(),
        collection.aggregate(list(stages), allowDiskUse=True, batchSize=_BATCH) as found,
    ):
        yield from found


def currencies_of(relations: Collection[Document], wanted: Mapping[str, Any]) -> dict[str, int]:
    """Currency → orders (relations with an amount of at least 0) among the facts that match ``wanted``, most
    orders first. Currencies with refunds only come last. Raises Unavailable."""
    found = aggregated(
        relations,
        {"$match": {"currency": {"$exists": True}, **wanted}},
        {"$group": {"_id": "$currency", "orders": {"$sum": {"$cond": [{"$gte": ["$amount", 0]}, 1, 0]}}}},
        {"$sort": {"orders": -1, "_id": 1}},
    )
    return {row["_id"]: row["orders"] for row in found}


def ratings_of(relations: Collection[Document], tenant: str) -> tuple[int, int] | None:
    """The lowest and the highest rating of a tenant's facts, None without any. Raises Unavailable."""
    found = aggregated(
        relations,
        {"$match": {"tenant": tenant, "retracted": False, "rating": {"$exists": True}}},
        {"$group": {"_id": None, "lowest": {"$min": "$rating"}, "highest": {"$max": "$rating"}}},
    )
    return next(((row["lowest"], row["highest"]) for row in found), None)


def tenant_ids(tenant: str) -> Document:
    """The range of ``_id`` of a tenant's documents. ";" is the character after ":"."""
    return {"$gte": f"{tenant}:", "$lt": f"{tenant};"}


def providers_of(providers: Collection[Document], tenant: str, category: str) -> Sequence[str]:
    """The providers of a category, in order. ``providers`` is the collection of the relations service. It has no
    index by category, so all profiles of the tenant are scanned. Raises BadMeasure for more than MAX_PROVIDERS,
    and Unavailable."""
    found = [
        document["provider_id"]
        for document in aggregated(
            providers,
            {"$match": {"_id": tenant_ids(tenant), "categories": category}},
            {"$sort": {"_id": 1}},
            {"$limit": MAX_PROVIDERS + 1},
            {"$project": {"_id": 0, "provider_id": 1}},
        )
    ]
    if len(found) > MAX_PROVIDERS:
        raise BadMeasure("category", f"has more than {MAX_PROVIDERS:,} providers, which is too many for a filter")
    return found
