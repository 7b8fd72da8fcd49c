"""A tenant's relations and profiles from MongoDB, for `kith evaluate` and `kith learn`."""

from collections.abc import Iterable
from typing import Any

from pymongo.database import Database

from services.intelligence.evaluation.relations import Relation, Relations
from services.intelligence.learning.profiles import Place, Profiles
from shared.contracts.errors import ConfigurationError
from shared.mongo.errors import translated
from shared.runtime.protocols import Document
from shared.versions.generations import collection_of
from shared.versions.mongo_registry import MongoRegistry

_BATCH = 20_000


def read_tenant(
    database: Database[Document], tenant: str, purposes: Iterable[str] = ()
) -> tuple[Relations, Profiles]:
    """All relations that are not retracted, and the places and categories of providers; with ``purposes``, of
    those consumers only who have granted all of them.

    Where consumers live is not read: it is encrypted, and a model must be learned from what the service has that
    answers by it. Raises ConfigurationError for a tenant without relations, and Unavailable.
    """
    version = MongoRegistry(database, "relations").read().live

    def found(name: str, wanted: Document, *fields: str) -> Any:
        shown = {"_id": 0, **dict.fromkeys(fields, 1)}
        return database[collection_of(name, version)].find({"tenant": tenant, **wanted}, shown, batch_size=_BATCH)

    with translated():
        granted: set[str] | None = None
        if wanted := {f"consent.{purpose}": True for purpose in purposes}:
            granted = {each["consumer_id"] for each in found("consumers", wanted, "consumer_id")}
        facts = found("relations", {"retracted": False}, "consumer_id", "provider_id", "time", "kind")
        relations = Relations.of(
            Relation(each["consumer_id"], each["provider_id"], each["time"], each["kind"])
            for each in facts
            if granted is None or each["consumer_id"] in granted
        )
        if not len(relations):
            of = " of consumers who have granted " + " and ".join(sorted(purposes)) if wanted else ""
            raise ConfigurationError(f"no relations of tenant {tenant!r}{of} are stored; check --tenant")
        places, categories = {}, {}
        for each in found("providers", {}, "provider_id", "location", "categories"):
            location = each.get("location") or {}
            latitude, longitude = location.get("lat"), location.get("lon")
            if isinstance(latitude, int | float) and isinstance(longitude, int | float):
                places[each["provider_id"]] = Place(float(latitude), float(longitude))
            if each.get("categories"):
                categories[each["provider_id"]] = frozenset(each["categories"])
    return relations, Profiles({}, places, categories)
