"""The relations service with a real MongoDB: its own runner stores what its queries are to find."""

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo.database import Database

from services.relations.cache import QueryCache
from services.relations.factory import with_keys
from services.relations.invalidation import subjects
from services.relations.queries import Queries
from services.relations.schema import COLLECTIONS
from services.relations.wide import MOST_CELLS
from shared.contracts.events import Event
from shared.mongo.store import MongoStore, prepare
from shared.runtime.protocols import Document
from shared.runtime.runner import Runner
from shared.testing.memory import MemoryReader
from shared.vault.keys import Vault
from shared.vault.mongo_store import MongoKeyStore
from shared.vault.schema import COLLECTIONS as VAULT
from tests.support.builders import STRENGTH, TOPICS, MemoryKith, event
from tests.support.vault import MASTERS

Mongo = Database[Document]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class MongoKith:
    """The relations service with its documents in MongoDB and its log in memory."""

    def __init__(
        self, database: Mongo, slice_events: int = 40, *, sealed: bool = False, most_cells: int = MOST_CELLS
    ) -> None:
        """``sealed``: with a vault, its keys in the same database."""
        prepare(database, {**COLLECTIONS, **VAULT})
        self.vault = Vault(MongoKeyStore(database), MASTERS, life_seconds=0.0) if sealed else None
        self.memory = MemoryKith(
            vault=(lambda _: Vault(MongoKeyStore(database), MASTERS)) if sealed else None, most_cells=most_cells
        )
        self._database = database
        self._reader = MemoryReader(self.memory.log)
        self._reader.assign(self.memory.inputs)
        self._runner = Runner(
            self._reader,
            with_keys(MongoStore(database, COLLECTIONS), self.vault),
            self.memory.publisher,
            self.memory.projection,
            owner="test",
            dead_letters=TOPICS.name("dead-letters"),
            slice_events=slice_events,
        )

    def store(self, events: Iterable[Event]) -> None:
        """Publish, and run until all of it is stored."""
        self.memory.publish(events)
        ends = {f"relations@1/{p}": self.memory.log.end(p) for p in self.memory.inputs if self.memory.log.end(p)}
        for _ in range(1_000):
            self._runner.step(0)
            found = {position["_id"]: position.get("next") for position in self._database["positions"].find()}
            if all(found.get(id) == end for id, end in ends.items()):
                return
        raise AssertionError("the runner does not get to the end")

    def start_again(self) -> None:
        """From where the database says, which has been exchanged."""
        self._reader.revoke(self.memory.inputs)
        self._reader.assign(self.memory.inputs)

    def forget(self, cache: QueryCache) -> None:
        """Tell the cache of all changes, as the service's thread does."""
        for partition, records in self.memory.log.records.items():
            if partition not in self.memory.inputs:
                for record in records:
                    cache.forget(subjects(record))


def history(seed: int) -> list[Event]:
    """Facts of few people, with ties in time, amendments, retractions, and the same ids in two tenants."""
    chance = random.Random(seed)
    events = []
    for number in range(400):
        tenant, consumer = (
            chance.choice(["default", "default", "acme"]),
            chance.choice(["ann", "bob", "c:1", "100%"]),
        )
        relation, provider = f"r{chance.randrange(80)}", chance.choice(["café", "p:1", "1:p"])
        place: Document = {"relation_id": relation, "consumer_id": consumer, "provider_id": provider}
        time = (NOW - timedelta(days=30 * chance.randrange(14), seconds=chance.randrange(3))).isoformat()
        if chance.random() < 0.15:
            events.append(event("relation.retracted", f"e{number}", time, place, tenant=tenant))
            continue
        kind = chance.choice(["purchase", "review", "view", "unheard_of"])
        data = {**place, "kind": kind}
        if kind == "purchase":
            data |= {"amount": chance.randrange(-500, 10**11), "currency": chance.choice(["EUR", "USD"])}
        if kind == "review":
            data |= {"rating": chance.randrange(6), "text": "très bon", "traits": {"n": 2**40, "x": [0.1, None]}}
        events.append(event("relation.recorded", f"e{number}", time, data, tenant=tenant))
    return [*events, *chance.sample(events, 40)]


def uncached(database: Mongo) -> Queries:
    return Queries(database, STRENGTH, QueryCache("off", 1))


def pages(read: Callable[[Any], Document], limit: int) -> Iterator[Document]:
    """The items of all pages that ``read`` gives after a place."""
    place = None
    while True:
        page = read(place)
        assert len(page["items"]) <= limit
        yield from page["items"]
        if (place := page["next"]) is None:
            return
        assert len(page["items"]) == limit
