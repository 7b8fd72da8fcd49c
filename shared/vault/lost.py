"""Consumers, and tenants, whose data key was lost with a database: what was sealed with it can never be read
again."""

from collections.abc import Callable

import pymongo
from pymongo.database import Database

from shared.contracts.findings import FINDINGS, KEYS_LOST, TENANT_KEYS_LOST
from shared.mongo.errors import translated
from shared.runtime.periodic import Periodic
from shared.runtime.protocols import Document
from shared.vault.keys import TENANT
from shared.vault.schema import DATA_KEYS

#: One document per consumer, and one with an empty id for a tenant's own key, written by `kith restore`.
LOST_KEYS = "lost_keys"
_LOOK_SECONDS = 30.0
_TIMEOUT_SECONDS = 10.0
_BATCH = 1_000
_KIND = {"tenant": "$tenant", "consumer": {"$ne": ["$consumer_id", TENANT]}}


def finding_of(tenant: str, consumer_id: str) -> str:
    """The id of the finding that counts such keys of a tenant: those of consumers, or its own."""
    return f"{TENANT_KEYS_LOST if consumer_id == TENANT else KEYS_LOST}/{tenant}"


class LostKeys(Periodic):
    """Keeps the findings ``lost-keys/<tenant>`` and ``lost-tenant-keys/<tenant>`` up to date: an erased consumer
    is no longer among them. A tenant's own key is until its document is deleted: nothing shows when its secrets
    were made anew. ``show`` receives the number of all."""

    def __init__(self, database: Database[Document], show: Callable[[int], object]) -> None:
        self._lost, self._keys, self._findings = database[LOST_KEYS], database[DATA_KEYS], database[FINDINGS]
        self._show = show
        super().__init__("lost-keys", self.look, _LOOK_SECONDS)

    def look(self) -> None:
        """Forget the erased ones, and count the others. Raises Unavailable."""
        with translated(), pymongo.timeout(_TIMEOUT_SECONDS):
            self._look()

    def _look(self) -> None:
        ids: list[str] = []
        for each in self._lost.find({}, {"_id": 1}):
            ids.append(each["_id"])
            if len(ids) == _BATCH:
                self._forget_erased(ids)
                ids = []
        self._forget_erased(ids)
        counts = {
            finding_of(each["_id"]["tenant"], "consumer" if each["_id"]["consumer"] else TENANT): each["n"]
            for each in self._lost.aggregate([{"$group": {"_id": _KIND, "n": {"$sum": 1}}}])
        }
        known = [{"_id": {"$gt": f"{kind}/", "$lt": f"{kind}0"}} for kind in (KEYS_LOST, TENANT_KEYS_LOST)]
        for finding in self._findings.find({"$or": known}, {"count": 1}):
            count = counts.get(finding["_id"], 0)
            if count != finding["count"]:
                self._findings.update_one({"_id": finding["_id"]}, {"$set": {"count": count}})
        self._show(sum(counts.values()))

    def _forget_erased(self, ids: list[str]) -> None:
        if not ids:
            return
        erased = [each["_id"] for each in self._keys.find({"_id": {"$in": ids}, "destroyed": True}, {"_id": 1})]
        if erased:
            self._lost.delete_many({"_id": {"$in": erased}})
