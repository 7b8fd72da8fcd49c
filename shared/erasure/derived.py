"""Documents about single consumers that the intelligence service derives. An erasure deletes them."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from pymongo.database import Database

from shared.contracts.events import document_id
from shared.erasure.records import LedgerEntry
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

GRAPH_NODES, OUTCOMES = "graph_nodes", "outcomes"
_BATCH = 1_000


def forget(database: Database[Document], tenant: str, consumer_ids: Sequence[str]) -> None:
    """Delete everything that is stored about these consumers. Raises Unavailable."""
    durable = database.with_options(write_concern=DURABLE)
    for start in range(0, len(consumer_ids), _BATCH):
        ids = list(consumer_ids[start : start + _BATCH])
        nodes = [document_id(tenant, "consumer", consumer_id) for consumer_id in ids]
        lists = {"tenant": tenant, "consumers": {"$in": ids}}
        gone = {"$pull": {"items": {"id": {"$in": ids}}, "consumers": {"$in": ids}}, "$inc": {"revision": 1}}
        with translated():
            durable[GRAPH_NODES].delete_many({"_id": {"$in": nodes}})
            durable[OUTCOMES].delete_many({**lists, "side": "consumer"})
            durable[OUTCOMES].update_many({**lists, "side": "provider"}, gone)


def forget_all(database: Database[Document], entries: Iterable[LedgerEntry]) -> None:
    """The same for everybody in the ledger of erasures. Raises Unavailable."""
    people = sorted({(entry.tenant, entry.consumer_id) for entry in entries})
    for tenant, found in groupby(people, key=lambda person: person[0]):
        forget(database, tenant, [consumer_id for _, consumer_id in found])
