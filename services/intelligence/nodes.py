"""What the job stores: the figures of nodes, and of each tenant the last run and whose turn is next."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from pymongo import DeleteOne, ReplaceOne
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from services.intelligence.engine.snapshot import NodeFigures
from services.intelligence.schema import JOBS
from shared.contracts.errors import Unavailable
from shared.contracts.events import document_id
from shared.erasure.derived import GRAPH_NODES
from shared.mongo.concerns import DURABLE
from shared.mongo.errors import translated
from shared.mongo.limits import STREAM_MS
from shared.mongo.store import beginning_with, server_time
from shared.runtime.protocols import Document

#: A process that has not finished by then has ended.
_LEASE_SECONDS = 900.0
_BATCH = 2_000


class Nodes:
    """Every method raises Unavailable. ``owner`` is this process."""

    def __init__(self, database: Database[Document], owner: str) -> None:
        durable = database.with_options(write_concern=DURABLE)
        self._database, self._nodes, self._jobs = database, durable[GRAPH_NODES], durable[JOBS]
        self._owner = owner

    def tenants(self) -> set[str]:
        """The tenants of whom the job has ever run."""
        with translated():
            return set(self._jobs.distinct("_id"))

    def lease(self, tenant: str) -> bool:
        """Whether it is this process's turn to run the job of a tenant; until it has finished, it is nobody
        else's. ``finish`` sets when the next run is due."""
        with translated():
            now = server_time(self._database)
            lease = {"tenant": tenant, "owner": self._owner, "until": now + timedelta(seconds=_LEASE_SECONDS)}
            due = {"_id": tenant, "$or": [{"until": {"$lte": now}}, {"until": {"$exists": False}}]}
            if self._jobs.update_one(due, {"$set": lease}).matched_count:
                return True
            if self._jobs.find_one({"_id": tenant}, {"_id": 1}) is not None:
                return False
            try:
                self._jobs.insert_one({"_id": tenant, **lease})
            except DuplicateKeyError:
                return False
        return True

    def finish(self, tenant: str, job: Mapping[str, Any], seconds: float) -> None:
        """Store the result of a run; the next one is due after ``seconds``."""
        with translated():
            until = server_time(self._database) + timedelta(seconds=seconds)
            self._jobs.update_one({"_id": tenant, "owner": self._owner}, {"$set": {**job, "until": until}})

    def store(self, tenant: str, nodes: Sequence[NodeFigures], going_on: Callable[[], bool]) -> int:
        """Make the stored nodes of a tenant those of ``nodes``, and write only what differs. Returns how many
        were written."""
        wanted = {document_id(tenant, node.side, node.id): _document(tenant, node) for node in nodes}
        writes: list[Any] = []
        with translated():
            for each in self._nodes.find({"_id": beginning_with(f"{tenant}:")}, max_time_ms=STREAM_MS):
                if (new := wanted.pop(each["_id"], None)) is None:
                    writes.append(DeleteOne({"_id": each["_id"]}))
                elif new != each:
                    writes.append(ReplaceOne({"_id": each["_id"]}, new))
            writes += [ReplaceOne({"_id": id}, new, upsert=True) for id, new in wanted.items()]
            for start in range(0, len(writes), _BATCH):
                if not going_on():
                    raise Unavailable("the service is stopping")
                self._nodes.bulk_write(writes[start : start + _BATCH], ordered=False)
        return len(writes)

    def delete(self, tenant: str, consumers: Sequence[str]) -> None:
        """Delete the figures of consumers."""
        ids = [document_id(tenant, "consumer", id) for id in consumers]
        with translated():
            for start in range(0, len(ids), _BATCH):
                self._nodes.delete_many({"_id": {"$in": ids[start : start + _BATCH]}})

    def job(self, tenant: str) -> Document | None:
        """The last run of a tenant's job; None before the first."""
        with translated():
            return self._jobs.find_one({"_id": tenant, "at": {"$exists": True}})

    def central(self, tenant: str, side: str, limit: int) -> list[Document]:
        """The nodes of a side by PageRank, then id."""
        with translated():
            found = self._nodes.find({"tenant": tenant, "side": side})
            return list(found.sort([("pagerank", -1), ("_id", 1)]).limit(limit))

    def members(self, tenant: str, community: str, sides: Iterable[str], limit: int) -> list[Document]:
        """The members of a community by PageRank, then id."""
        wanted = {"tenant": tenant, "community": community, "side": {"$in": list(sides)}}
        with translated():
            return list(self._nodes.find(wanted).sort([("pagerank", -1), ("_id", 1)]).limit(limit))


def _document(tenant: str, node: NodeFigures) -> Document:
    return {
        "_id": document_id(tenant, node.side, node.id),
        "tenant": tenant,
        "side": node.side,
        "id": node.id,
        "community": str(node.community),
        # Six digits, so that a node is not written again for what nobody sees.
        "pagerank": float(f"{node.pagerank:.6g}"),
        "degree": node.degree,
    }
