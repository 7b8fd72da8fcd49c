"""Reads what the intelligence service has stored about one consumer, for the export."""

from collections.abc import Iterator
from typing import Any

from pymongo.database import Database

from shared.contracts.events import document_id
from shared.erasure.derived import GRAPH_NODES, OUTCOMES
from shared.mongo.errors import translated
from shared.runtime.protocols import Document

_BATCH = 100
_NODE = {"_id": 0, "community": 1, "pagerank": 1, "degree": 1}


class Derived:
    """Reads one database. Every method raises Unavailable."""

    def __init__(self, database: Database[Document]) -> None:
        self._nodes, self._lists = database[GRAPH_NODES], database[OUTCOMES]

    def graph(self, tenant: str, consumer_id: str) -> Document | None:
        """The consumer's place in the graph, as of the last job; None without one."""
        with translated():
            found = self._nodes.find_one({"_id": document_id(tenant, "consumer", consumer_id)}, _NODE)
        if found is None:
            return None
        return {"relationships": found["degree"], **{name: found[name] for name in ("community", "pagerank")}}

    def any(self, tenant: str, consumer_id: str) -> bool:
        """Whether the consumer is in a list that was shown."""
        with translated():
            return self._lists.find_one({"tenant": tenant, "consumers": consumer_id}, {"_id": 1}) is not None

    def recommended(self, tenant: str, consumer_id: str) -> Iterator[Document]:
        """Each recommendation that was shown and recorded: a provider to the consumer, or the consumer to a
        provider, by the ids of the lists and by rank. Nobody else in the same list is told of."""
        after = ""
        while True:
            # One page at a time, so that a slow or disconnected client holds no cursor.
            wanted: Document = {"tenant": tenant, "consumers": consumer_id, "_id": {"$gt": after}}
            with translated():
                page = list(self._lists.find(wanted).sort("_id", 1).limit(_BATCH))
            for shown in page:
                yield from _of(shown, consumer_id)
            if len(page) < _BATCH:
                return
            after = page[-1]["_id"]


def _of(shown: Document, consumer_id: str) -> Iterator[Document]:
    side = shown["side"]
    for item in shown["items"]:
        if side == "provider" and item["id"] != consumer_id:
            continue
        found: dict[str, Any] = {
            "provider_id": item["id"] if side == "consumer" else shown["id"],
            "asked_about": side,
            "at": shown["at"],
            "model": shown["model"],
            "rank": item["rank"],
            "score": item["score"],
            "followed": item.get("followed"),
        }
        yield found
