"""The Registry in MongoDB: one document per projection in ``projections``, with positions beside it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from bson.codec_options import CodecOptions
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from shared.contracts.collections import Collections
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.mongo.store import OUTBOX, POSITIONS, server_time
from shared.runtime.protocols import Document
from shared.versions.generations import (
    Generations,
    Handover,
    PartitionPosition,
    collections_of,
    own_collections,
    place_of,
)

PROJECTIONS = "projections"


class MongoRegistry:
    """The versions of the projection ``name`` in one database. A projection without a document is at version 1."""

    def __init__(self, database: Database[Document], name: str) -> None:
        options: CodecOptions[Document] = CodecOptions(tz_aware=True)
        self._database = database.with_options(
            codec_options=options,
            read_concern=ReadConcern("majority"),
            write_concern=DURABLE,
        )
        self._name = name
        self._projections = self._database[PROJECTIONS]

    @property
    def name(self) -> str:
        return self._name

    def read(self) -> Generations:
        with translated():
            stored = self._projections.find_one({"_id": self._name})
        return Generations() if stored is None else _generations(stored)

    def replace(self, before: Generations, after: Generations) -> bool:
        stored, document = _document(before), {"_id": self._name, **_document(after)}
        # Field by field, because whole documents are equal only with their fields in the same order.
        expected = {"_id": self._name, **{name: {"$eq": value} for name, value in stored.items()}}
        with translated():
            if self._projections.replace_one(expected, document).matched_count:
                return True
            if before == Generations():
                try:
                    self._projections.insert_one(document)
                    return True
                except DuplicateKeyError:
                    pass
        # An earlier attempt whose response was lost.
        return before != after and self.read() == after

    def now(self) -> datetime:
        with translated():
            return server_time(self._database)

    def positions(self, version: int) -> dict[str, PartitionPosition]:
        with translated():
            found = self._database[POSITIONS].find(self._of(version), {"next": 1, "owner": 1, "emitted": 1})
            return {
                place_of(each["_id"]): PartitionPosition(
                    each.get("next"), each.get("owner", ""), each.get("emitted", 0)
                )
                for each in found
            }

    def delete(self, version: int, collections: Collections) -> None:
        with translated():
            for name in collections_of(own_collections(collections), version):
                self._database.drop_collection(name)
            self._database[OUTBOX].delete_many(self._of(version))
            self._database[POSITIONS].delete_many(self._of(version))

    def _of(self, version: int) -> Document:
        """The filter for ids of the version: "0" is the character after "/"."""
        prefix = f"{self._name}@{version}"
        return {"_id": {"$gte": f"{prefix}/", "$lt": f"{prefix}0"}}


def _document(generations: Generations) -> Document:
    return asdict(generations)


def _generations(stored: Mapping[str, Any]) -> Generations:
    fields = {name: value for name, value in stored.items() if name != "_id"}
    if fields["hand_over"] is not None:
        fields["hand_over"] = Handover(**fields["hand_over"])
    return Generations(**fields)
