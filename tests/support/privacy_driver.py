"""The services relations, analytics and privacy on one MongoDB, with their log in memory."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from services.analytics.projection import AnalyticsProjection
from services.analytics.schema import COLLECTIONS as ANALYTICS
from services.privacy.api import create_app
from services.privacy.audit_routes import add_audit
from services.privacy.erasure_evidence import Stores
from services.privacy.erasure_list import ErasureList, add_erasure_list
from services.privacy.erasures import Erasures
from services.privacy.people import People
from services.privacy.receipts import Receipts
from services.privacy.schema import COLLECTIONS as PRIVACY
from shared.access.apps.notices import MongoNotices, MongoReceipts
from shared.access.apps.schema import TELLING
from shared.access.audit_reading import MongoAuditReader
from shared.access.guard import Access
from shared.contracts.events import Event
from shared.erasure.records import LedgerEntry, Mode, decode_entry, hashed
from shared.mongo.store import MongoStore, prepare
from shared.runtime.protocols import Message
from shared.runtime.runner import Runner
from shared.testing.memory import MemoryReader
from shared.versions.mongo_registry import MongoRegistry
from tests.support.builders import OPEN, TOPICS
from tests.support.relations_driver import Mongo, MongoKith


class Services:
    """All three. ``run`` lets relations and analytics do all there is to do; ``now`` is what the clock says."""

    def __init__(self, database: Mongo, access: Access = OPEN) -> None:
        prepare(database, {**ANALYTICS, **PRIVACY, **TELLING})
        self.database = database
        self.kith = MongoKith(database)
        self.log, self.memory = self.kith.memory.log, self.kith.memory
        self.now = datetime(2026, 11, 21, 12, tzinfo=UTC)
        self._changes = [p for p in self.log.records if p.topic == TOPICS.name("relation-changes")]
        self._reader = MemoryReader(self.log)
        self._reader.assign(self._changes)
        self._analytics = Runner(
            self._reader,
            MongoStore(database, ANALYTICS),
            self.memory.publisher,
            AnalyticsProjection(TOPICS),
            owner="test",
            dead_letters=TOPICS.name("dead-letters"),
        )
        stores = Stores(
            database,
            str,
            MongoRegistry(database, "relations"),
            MongoRegistry(database, "analytics"),
            self.mode,
            hashed,
        )
        receipts = Receipts(database, None, lambda: self.now)
        erasures = Erasures(stores, receipts, lambda: self.now, MongoReceipts(database).of_erasure)
        self.app: FastAPI = create_app(
            erasures,
            People(database, str, None),
            receipts,
            self.publish,
            TOPICS,
            list,
            lambda: self.now,
            access=access,
            notify=MongoNotices(database).exported,
        )
        add_audit(self.app, MongoAuditReader(database))
        add_erasure_list(self.app, ErasureList(database, str, erasures))

    def entries(self) -> list[LedgerEntry]:
        return [decode_entry(value) for value in self.memory.values("erasures")]

    def mode(self, tenant: str, consumer_id: str) -> Mode | None:
        found = [e.mode for e in self.entries() if (e.tenant, e.consumer_id) == (tenant, consumer_id)]
        return max(found, default=None)

    def publish(self, messages: Sequence[Message]) -> None:
        self.memory.publisher.send(messages).result()

    def store(self, events: Sequence[Event], *, counted: bool = True) -> None:
        """Publish, and run until relations have stored all; analytics too, if ``counted``."""
        self.kith.store(events)
        self.relate()
        if counted:
            self.count()

    def relate(self) -> None:
        """Let relations come to the end, also of what they publish to themselves."""
        while True:
            end = sum(self.log.end(p) for p in self.memory.inputs)
            self.kith.store([])
            if sum(self.log.end(p) for p in self.memory.inputs) == end:
                return

    def count(self) -> None:
        for _ in range(200):
            self._analytics.step(0)

    def start_again(self) -> None:
        """Both, from where the database says, which has been exchanged."""
        self.kith.start_again()
        self._reader.revoke(self._changes)
        self._reader.assign(self._changes)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://privacy") as client:
                return await client.request(method, path, **options)

        return asyncio.run(answer())
