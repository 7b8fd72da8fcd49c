"""Leaves out consumers who have not granted a purpose, as of the moment of an export."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from services.exports.snapshot import Snapshot
from shared.contracts.events import document_id
from shared.runtime.protocols import Document

_GRANTED = "granted_by"


def consenting(snapshot: Snapshot, tenant: str, purpose: str, documents: Sequence[Document]) -> Sequence[Document]:
    """The documents of consumers who have granted the purpose. Unknown consumers and pseudonyms count as not
    consenting, as in the relations API."""
    ids = {document_id(tenant, document["consumer_id"]) for document in documents}
    wanted = {"_id": {"$in": sorted(ids)}, f"consent.{purpose}": True}
    with closing(snapshot.find("relations", "consumers", wanted, {"_id": 1})) as found:
        granted = {document["_id"] for document in found}
    return [document for document in documents if document_id(tenant, document["consumer_id"]) in granted]


def stages(snapshot: Snapshot, tenant: str, purpose: str) -> list[Mapping[str, Any]]:
    """The same as stages of a pipeline, for pages and counts."""
    consumer = {"$concat": [f"{tenant}:", "$consumer_id"]}
    granted = {"$and": [{"$expr": {"$eq": ["$_id", "$$consumer"]}}, {f"consent.{purpose}": True}]}
    lookup = {
        "from": snapshot.name("relations", "consumers"),
        "let": {"consumer": consumer},
        "pipeline": [{"$match": granted}, {"$project": {"_id": 1}}],
        "as": _GRANTED,
    }
    return [{"$lookup": lookup}, {"$match": {f"{_GRANTED}.0": {"$exists": True}}}, {"$unset": _GRANTED}]
