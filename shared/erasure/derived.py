"""Documents about single consumers that the intelligence service derives. An erasure deletes them."""

from collections.abc import Sequence

from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from shared.contracts.events import document_id
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

GRAPH_NODES = "graph_nodes"


def forget(database: Database[Document], tenant: str, consumer_ids: Sequence[str]) -> None:
    """Delete everything that is stored about these consumers. Raises Unavailable."""
    durable = database.with_options(write_concern=WriteConcern("majority", wtimeout=10_000))
    nodes = [document_id(tenant, "consumer", consumer_id) for consumer_id in consumer_ids]
    with translated():
        durable[GRAPH_NODES].delete_many({"_id": {"$in": nodes}})
