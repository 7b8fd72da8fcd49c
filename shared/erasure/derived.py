"""Documents about single consumers that the intelligence service derives. An erasure deletes them. Data."""

from collections.abc import Iterator

from shared.contracts.events import document_id
from shared.runtime.protocols import Document

GRAPH_NODES, OUTCOMES = "graph_nodes", "outcomes"


def filters(tenant: str, consumer_id: str) -> Iterator[tuple[str, Document]]:
    """By collection, the filter of everything that is stored about a consumer."""
    yield GRAPH_NODES, {"_id": document_id(tenant, "consumer", consumer_id)}
    # The ids of outcomes begin with the consumer, then ":" follows, before ";" in order.
    first = document_id(tenant, consumer_id)
    yield OUTCOMES, {"_id": {"$gte": f"{first}:", "$lt": f"{first};"}}
