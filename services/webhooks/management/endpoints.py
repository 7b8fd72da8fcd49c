"""Endpoints as the API manages them. Methods raise Unavailable."""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.database import Database

from services.webhooks.deliveries import DELIVERIES, ENDPOINTS, LEASES, LOG, endpoint_id
from services.webhooks.delivery.queue import Queue
from services.webhooks.fanout.feed import Feed
from services.webhooks.log_reader import LogReader
from services.webhooks.management.models import shown
from services.webhooks.management.replays import Replay, Replays
from services.webhooks.management.retries import Wanted, retry
from services.webhooks.messages import credentials, signing
from services.webhooks.messages.notice import test_delivery
from services.webhooks.messages.rendering import SECRET_FIELD, Renderer
from services.webhooks.projection import MOST_ENDPOINTS
from shared.access.apps.compliance import TOPICS
from shared.contracts.topics import Topics
from shared.mongo.concerns import durable_database
from shared.mongo.errors import translated
from shared.mongo.limits import QUERY_MS
from shared.mongo.store import beginning_with, earlier
from shared.mongo.transactions import transact
from shared.runtime.protocols import Document
from shared.vault.keys import Vault
from shared.vault.tokens import seal

_MOST_COUNTED = 10_000
#: Tests of one endpoint that wait.
MOST_TESTS = 10
#: Valid secrets of one endpoint: each delivery is signed with all of them.
MOST_SECRETS = 5


@dataclass(frozen=True, slots=True)
class Since:
    """From when on changes are sent. None: from the beginning of the log. ``after``: only those of these origins,
    with a higher number."""

    time: datetime | None = None
    after: Mapping[str, int] | None = None


class TooMany(Exception):
    """There are as many of something as there may be: a sentence for a person."""


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
        self._replays = Replays(database, topics, open_log)

    def find(self, tenant: str, name: str) -> Document | None:
        with translated():
            return self._endpoints.find_one({"_id": endpoint_id(tenant, name)}, max_time_ms=QUERY_MS)

    def all(self, tenant: str, session: ClientSession | None = None) -> list[Document]:
        with translated():
            query = {"_id": beginning_with(endpoint_id(tenant, "")), "tenant": tenant}
            found = self._endpoints.find(query, max_time_ms=QUERY_MS, session=session)
            return list(found.sort("_id", 1))

    def create(
        self,
        tenant: str,
        stated: Mapping[str, Any],
        algorithm: signing.Algorithm,
        masks: list[str],
        by: str,
        most: int | None = None,
        since: Since | None = None,
    ) -> Made:
        """``by`` is the creator's key, ``most`` the number of endpoints that it may have. An endpoint that is
        ``bound`` belongs to all keys of its purpose. ``since``: it also gets what has changed from then on; None:
        from now on. Raises TooMany."""
        # Before anything is made: Kafka may be away, and the secret is shown once.
        starts = {} if since is None else self._replays.starts(stated["types"], since.time)
        id = endpoint_id(tenant, f"ep_{secrets.token_hex(12)}")
        secret, now = signing.new_secret(algorithm, os.urandom), self._clock()
        document: Document = {
            "_id": id,
            "tenant": tenant,
            **self._to_store(tenant, id, stated),
            "secrets": [{"secret": self._sealed(tenant, id, secret), "created": now}],
            "state": "enabled",
            "masks": sorted(masks),
            "created": now,
            "created_by": by,
            "revision": 1,
        }
        purpose = stated["purpose"] if stated.get("bound") else None

        def transaction(session: ClientSession) -> None:
            self._alone(tenant, session)
            every = self.all(tenant, session)
            if len(every) >= MOST_ENDPOINTS:
                raise TooMany(f"the tenant has {MOST_ENDPOINTS} endpoints, which is the most")
            own = [each for each in every if (owned(each, purpose) if purpose else each["created_by"] == by)]
            if most is not None and len(own) >= most:
                raise TooMany(f"this credential has {len(own)} endpoints, and may have {most}")
            self._endpoints.insert_one(document, session=session)
            if starts:
                self._replays.begin(id, starts, session)

        transact(self._database, transaction)
        return Made(document, secret)

    def _alone(self, tenant: str, session: ClientSession) -> None:
        """Have one of two transactions of a tenant that count and then add called again: both write the same."""
        turn = {"$inc": {"epoch": 1}, "$set": {"owner": tenant, "until": self._clock()}}
        self._database[LEASES].update_one({"_id": f"adding/{tenant}"}, turn, upsert=True, session=session)

    def change(
        self, endpoint: Document, stated: Mapping[str, Any], removed: set[str], masks: list[str]
    ) -> Document | None:
        """Change an endpoint; None when it was changed or deleted meanwhile. It keeps the masks that it had, and
        gets those of the caller."""
        both = sorted({*endpoint["masks"], *masks})
        if "headers" in stated or "headers" in removed:
            removed = {*removed, credentials.PLAIN, credentials.SEALED}
        kept = self._to_store(endpoint["tenant"], endpoint["_id"], stated)
        return self._update(endpoint, {**kept, "masks": both}, removed - kept.keys())

    def rotate(self, endpoint: Document, overlap: timedelta) -> Made | None:
        """A new secret; the former one is valid for ``overlap`` more, and those before it until the end that they
        were given. Without an overlap all of them end now. Raises TooMany."""
        tenant, now = endpoint["tenant"], self._clock()
        former = [each for each in endpoint["secrets"] if each.get("ends", now + overlap) > now]
        if len(former) >= MOST_SECRETS:
            raise TooMany(
                f"the endpoint has {len(former)} valid secrets, which is the most; wait until one ends, "
                "or end all of them now with an overlap of 0 hours"
            )
        secret = signing.new_secret(
            signing.algorithm_of(self._renderer.opened(endpoint, endpoint["secrets"][-1]["secret"])), os.urandom
        )
        valid = [
            *({"ends": now + overlap, **each} for each in former if overlap),
            {"secret": self._sealed(tenant, endpoint["_id"], secret), "created": now},
        ]
        after = self._update(endpoint, {"secrets": valid}, set())
        return None if after is None else Made(after, secret)

    def enable(self, endpoint: Document) -> Document | None:
        """What was not sent meanwhile is sent now."""
        return self._update(
            endpoint, {"state": "enabled"}, {"reason", "failing_since", "failures", "failed", "notice"}
        )

    def disable(self, endpoint: Document) -> Document | None:
        return self._update(endpoint, {"state": "disabled", "reason": "by request"}, set())

    def delete(self, endpoint: Document) -> None:
        """The rest of its documents is deleted by the next purge."""
        with translated():
            self._endpoints.delete_one({"_id": endpoint["_id"]})

    def test(self, endpoint: Document) -> str:
        """Enqueue a test, and return the id of its delivery. Raises TooMany."""
        made = test_delivery(endpoint, secrets.token_hex(8), self._clock())

        def transaction(session: ClientSession) -> None:
            self._alone(endpoint["tenant"], session)
            if self._queue.tests(endpoint["_id"], MOST_TESTS, session) >= MOST_TESTS:
                raise TooMany(f"{MOST_TESTS} tests of the endpoint are not sent yet, which is the most")
            self._database[DELIVERIES].insert_one(made, session=session)

        transact(self._database, transaction)
        return str(made["_id"])

    def replay(self, endpoint: Document, since: Since) -> tuple[str, int]:
        """Send again what has been sent since a time or a place. Returns the name of the replay and the number of
        changes to read. What is still queued of that part is sent as part of it. Raises Unfinished."""
        # Before Kafka is asked, which costs most.
        self._replays.check(endpoint["_id"])
        starts = self._replays.starts(endpoint["types"], since.time)

        def transaction(session: ClientSession) -> Replay:
            self._alone(endpoint["tenant"], session)
            return self._replays.begin(endpoint["_id"], starts, session, since.after)

        begun = transact(self._database, transaction)
        self._replays.take_over(begun)
        return begun.name, begun.changes

    def retry(self, endpoint: Document, wanted: Wanted) -> int:
        """Send again what was given up, or what waits for its next attempt. Returns how many."""
        return retry(self._database, endpoint["_id"], wanted)

    def waiting_types(self, endpoint: Document) -> set[str]:
        """The types of what is queued for an endpoint, or was given up and can be sent again."""
        with translated():
            return {*self._database[DELIVERIES].distinct("change.type", {"endpoint": endpoint["_id"]})}

    def attempts(
        self,
        endpoint: Document,
        outcome: str | None,
        limit: int,
        after: tuple[datetime, str] | None,
        *,
        bound: bool = False,
        receipts: bool = True,
    ) -> list[Document]:
        """Entries of the log, latest first, after a place. ``bound``: without deliveries that were dropped, for
        their consumers have not granted the purpose. ``receipts``: also those of receipts."""
        query: Document = {"endpoint": endpoint["_id"]}
        if outcome is not None:
            query["outcome"] = outcome
        without: list[Document] = []
        if bound:
            without.append({"outcome": {"$ne": "dropped"}})
        if not receipts:
            without.append({"type": {"$nin": list(TOPICS)}})
        if without:
            query["$and"] = without
        if after is not None:
            query.update(earlier(*after))
        with translated():
            found = self._database[LOG].find(query, max_time_ms=QUERY_MS).sort([("at", -1), ("_id", -1)])
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
            return self._database[DELIVERIES].count_documents(query, limit=_MOST_COUNTED, maxTimeMS=QUERY_MS)

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

    def _to_store(self, tenant: str, id: str, stated: Mapping[str, Any]) -> Document:
        """What is stored of what was stated of an endpoint."""
        kept = dict(stated)
        headers = kept.pop("headers", None)
        return kept if headers is None else {**kept, **credentials.stored(self._vault, tenant, id, headers)}

    def _sealed(self, tenant: str, id: str, secret: str) -> str:
        if self._vault is None:
            return secret
        return seal(self._vault.tenant_key(tenant), tenant, id, SECRET_FIELD, secret)
