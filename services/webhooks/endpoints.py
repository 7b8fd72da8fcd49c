"""Endpoints as the API manages them. Methods raise Unavailable."""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pymongo.database import Database

from services.webhooks import signing
from services.webhooks.answers import shown
from services.webhooks.deliveries import DELIVERIES, ENDPOINTS, LANES, LOG, RANGES, endpoint_id, lane_id
from services.webhooks.feed import Feed
from services.webhooks.log_reader import LogReader
from services.webhooks.notice import test_delivery
from services.webhooks.projection import MOST_ENDPOINTS
from services.webhooks.queue import Queue
from services.webhooks.rendering import SECRET_FIELD, Renderer
from services.webhooks.retrying import Wanted, retry
from services.webhooks.subscription import topics_of
from shared.contracts.topics import Topics
from shared.mongo.concerns import durable_database
from shared.mongo.errors import translated
from shared.mongo.store import beginning_with, earlier
from shared.runtime.protocols import Document
from shared.vault.keys import Vault
from shared.vault.tokens import seal

_QUERY_MS = 5_000
_MOST_COUNTED = 10_000


class TooMany(Exception):
    """The tenant, or the credential, has as many endpoints as it may have."""


def owned(endpoint: Document, purpose: str) -> bool:
    """Whether an endpoint belongs to the credentials that are bound to a purpose."""
    return endpoint.get("bound") is True and bool(endpoint["purpose"] == purpose)


@dataclass(frozen=True, slots=True)
class Made:
    endpoint: Document
    secret: str = field(repr=False)


class Endpoints:
    """The endpoints of ``database``. ``feed`` and ``open_log`` are for what begins in the past."""

    def __init__(
        self,
        database: Database[Document],
        renderer: Renderer,
        vault: Vault | None,
        topics: Topics,
        open_log: Callable[[], LogReader],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = durable_database(database)
        self._endpoints = self._database[ENDPOINTS]
        self._renderer, self._vault, self._topics, self._clock = renderer, vault, topics, clock
        self._open_log = open_log
        self._queue = Queue(database)

    def find(self, tenant: str, name: str) -> Document | None:
        with translated():
            return self._endpoints.find_one({"_id": endpoint_id(tenant, name)}, max_time_ms=_QUERY_MS)

    def all(self, tenant: str) -> list[Document]:
        with translated():
            query = {"_id": beginning_with(endpoint_id(tenant, "")), "tenant": tenant}
            return list(self._endpoints.find(query, max_time_ms=_QUERY_MS).sort("_id", 1))

    def create(
        self,
        tenant: str,
        stated: Mapping[str, Any],
        algorithm: signing.Algorithm,
        masks: list[str],
        by: str,
        most: int | None = None,
    ) -> Made:
        """``by`` is the creator's key, ``most`` the number of endpoints that it may have. An endpoint that is
        ``bound`` belongs to all keys of its purpose. Raises TooMany."""
        every = self.all(tenant)
        if len(every) >= MOST_ENDPOINTS:
            raise TooMany(f"the tenant has {MOST_ENDPOINTS} endpoints, which is the most")
        purpose = stated["purpose"] if stated.get("bound") else None
        own = [each for each in every if (owned(each, purpose) if purpose else each["created_by"] == by)]
        if most is not None and len(own) >= most:
            raise TooMany(f"this credential has {len(own)} endpoints, and may have {most}")
        id = endpoint_id(tenant, f"ep_{secrets.token_hex(12)}")
        secret, now = signing.new_secret(algorithm, os.urandom), self._clock()
        document: Document = {
            "_id": id,
            "tenant": tenant,
            **stated,
            "secrets": [{"secret": self._sealed(tenant, id, secret), "created": now}],
            "state": "enabled",
            "masks": sorted(masks),
            "created": now,
            "created_by": by,
            "revision": 1,
        }
        with translated():
            self._endpoints.insert_one(document)
        return Made(document, secret)

    def change(
        self, endpoint: Document, stated: Mapping[str, Any], removed: set[str], masks: list[str]
    ) -> Document | None:
        """Change an endpoint; None when it was changed or deleted meanwhile. It keeps the masks that it had, and
        gets those of the caller."""
        both = sorted({*endpoint["masks"], *masks})
        return self._update(endpoint, {**stated, "masks": both}, removed)

    def rotate(self, endpoint: Document, overlap: timedelta) -> Made | None:
        """A new secret; the former one is valid for ``overlap`` more. Older ones end at once."""
        tenant, now = endpoint["tenant"], self._clock()
        former = endpoint["secrets"][-1]
        secret = signing.new_secret(
            signing.algorithm_of(self._renderer.opened(endpoint, former["secret"])), os.urandom
        )
        valid = [
            {**former, "ends": now + overlap},
            {"secret": self._sealed(tenant, endpoint["_id"], secret), "created": now},
        ]
        after = self._update(endpoint, {"secrets": valid}, set())
        return None if after is None else Made(after, secret)

    def enable(self, endpoint: Document) -> Document | None:
        """What was not sent meanwhile is sent now."""
        return self._update(endpoint, {"state": "enabled"}, {"reason", "failing_since", "failures", "notice"})

    def disable(self, endpoint: Document) -> Document | None:
        return self._update(endpoint, {"state": "disabled", "reason": "it was disabled by request"}, set())

    def delete(self, endpoint: Document) -> None:
        """The rest of its documents is deleted by the next purge."""
        with translated():
            self._endpoints.delete_one({"_id": endpoint["_id"]})

    def test(self, endpoint: Document) -> str:
        """Enqueue a test, and return the id of its delivery."""
        made = test_delivery(endpoint, secrets.token_hex(8), self._clock())
        self._queue.add([made])
        return str(made["_id"])

    def replay(self, endpoint: Document, since: datetime | None) -> tuple[str, int]:
        """Send again what has been sent since a time; None: all that retention has left. Returns the name of the
        replay and the number of changes to read. What is still queued of that part is sent as part of it."""
        name = secrets.token_hex(6)
        reader = self._open_log()
        try:
            topics = [self._topics.name(short) for short in sorted(topics_of(endpoint["types"]))]
            starts = reader.offsets(topics, since)
        finally:
            reader.close()
        feed, total = Feed(self._database, self._open_log, self._topics), 0
        with translated():
            lanes = {lane["_id"]: lane for lane in self._database[LANES].find({"endpoint": endpoint["_id"]})}
        for partition, start in starts.items():
            lane = lane_id(endpoint["_id"], self._topics.short(partition.topic), partition.number)
            known = lanes.get(lane)
            # Where nothing is live yet, the range ends where it begins to be. Where there is a gap, at its
            # beginning: the gap follows.
            end = -1 if known is None else known.get("start", feed.position(partition) or 0)
            if 0 <= end <= start:
                continue
            total += (end if end >= 0 else feed.position(partition) or 0) - start
            self._add_range(lane, name, endpoint["_id"], partition.topic, partition.number, start, end)
        return name, max(0, total)

    def _add_range(
        self, lane: str, name: str, endpoint: str, topic: str, number: int, start: int, end: int
    ) -> None:
        document: Document = {
            "_id": f"{lane}~{name}",
            "endpoint": endpoint,
            "lane": lane,
            "topic": topic,
            "partition": number,
            "start": start,
            "next": start,
            "end": end,
            "at": 0,
        }
        with translated():
            self._database[RANGES].insert_one(document)
            if end >= 0:
                ids = {"$gte": f"{lane}/{start:019d}", "$lt": f"{lane}/{end:019d}"}
                self._database[DELIVERIES].delete_many({"_id": ids, "lane": lane, "state": "queued"})

    def retry(self, endpoint: Document, wanted: Wanted) -> int:
        """Send again what was given up, or what waits for its next attempt. Returns how many."""
        return retry(self._database, endpoint["_id"], wanted)

    def attempts(
        self,
        endpoint: Document,
        outcome: str | None,
        limit: int,
        after: tuple[datetime, str] | None,
        *,
        bound: bool = False,
    ) -> list[Document]:
        """Entries of the log, latest first, after a place. ``bound``: without deliveries that were dropped, for
        their consumers have not granted the purpose."""
        query: Document = {"endpoint": endpoint["_id"]}
        if outcome is not None:
            query["outcome"] = outcome
        if bound:
            query["$and"] = [{"outcome": {"$ne": "dropped"}}]
        if after is not None:
            query.update(earlier(*after))
        with translated():
            found = self._database[LOG].find(query, max_time_ms=_QUERY_MS).sort([("at", -1), ("_id", -1)])
            return list(found.limit(limit))

    def answer(self, endpoint: Document, *, bound: bool = False) -> Document:
        """An endpoint as the API shows it, without its secret. ``bound``: to a caller who may not learn how much
        there is of consumers who have not granted its purpose."""
        id, now = endpoint["_id"], self._clock()
        valid = self._renderer.secrets(endpoint, now)
        algorithm = signing.algorithm_of(valid[0])
        more: Document = {
            "algorithm": algorithm,
            "secrets": len(valid),
            "queued": self._queue.length(id, _MOST_COUNTED, tried=bound),
            "failed": self._failed(id),
        }
        if not bound:
            more["behind"] = self._behind(id)
        if algorithm == "ed25519":
            more["public_key"] = signing.public_key(valid[0])
        return shown(endpoint, more)

    def _failed(self, id: str) -> int:
        query = {"endpoint": id, "state": "failed"}
        with translated():
            return self._database[DELIVERIES].count_documents(query, limit=_MOST_COUNTED, maxTimeMS=_QUERY_MS)

    def _behind(self, id: str) -> int:
        feed = Feed(self._database, self._open_log, self._topics)
        return sum(part.end - part.next for part in feed.parts(id))

    def _update(self, endpoint: Document, stated: Mapping[str, Any], unset: set[str]) -> Document | None:
        update: Document = {"$set": dict(stated), "$inc": {"revision": 1}}
        if unset:
            update["$unset"] = dict.fromkeys(unset, "")
        match = {"_id": endpoint["_id"], "revision": endpoint["revision"]}
        with translated():
            return self._endpoints.find_one_and_update(match, update, return_document=True)

    def _sealed(self, tenant: str, id: str, secret: str) -> str:
        if self._vault is None:
            return secret
        return seal(self._vault.tenant_key(tenant), tenant, id, SECRET_FIELD, secret)
