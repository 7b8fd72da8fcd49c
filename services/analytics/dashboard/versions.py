"""The versions of each projection, and how far a new one is built."""

from typing import Any

from pymongo.database import Database

from shared.mongo.errors import translated
from shared.mongo.store import POSITIONS
from shared.observability.status import PartitionStatus, Status
from shared.runtime.protocols import Document
from shared.versions.generations import position_of
from shared.versions.mongo_registry import MongoRegistry

Json = dict[str, Any]


class Versions:
    """Reads the versions of the projections of a status. Raises Unavailable."""

    def __init__(self, database: Database[Document]) -> None:
        self._database = database

    def __call__(self, status: Status) -> dict[str, Json]:
        """Service → live, building and previous version, None where there is none; of the one being built
        ``built`` of ``total`` messages."""
        found: dict[str, Json] = {}
        for service in status.lag:
            versions = MongoRegistry(self._database, service).read()
            partitions = [p for p in status.partitions if p.service == service]
            found[service] = {"live": versions.live, "building": versions.building, "previous": versions.previous}
            if versions.building is not None:
                found[service] |= {
                    "built": self._built(service, versions.building, partitions),
                    "total": sum(partition.end for partition in partitions),
                }
        return found

    def _built(self, service: str, version: int, partitions: list[PartitionStatus]) -> int:
        names = [position_of(f"{service}@1/{p.topic}/{p.partition}", version) for p in partitions]
        with translated():
            return sum(p.get("next") or 0 for p in self._database[POSITIONS].find({"_id": {"$in": names}}))
