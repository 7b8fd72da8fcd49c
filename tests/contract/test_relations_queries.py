"""Queries and the API of the relations service on a real MongoDB, on documents that its runner stored."""

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import WriteError

from services.relations import answers
from services.relations.api import create_app
from services.relations.cache import QueryCache
from services.relations.invalidation import subjects
from services.relations.queries import EVIDENCE, BadCursor, Queries
from services.relations.schema import COLLECTIONS
from services.relations.strength import Strength
from shared.cursors import encode_cursor
from shared.events import Event
from shared.memory import MemoryReader
from shared.mongo_io import MongoStore, prepare
from shared.protocols import Document
from shared.runner import Runner
from tests.analytics_driver import get
from tests.builders import STRENGTH, TOPICS, MemoryKith, event, recorded, retracted, stored_state

Mongo = Database[Document]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class MongoKith:
    """The relations service with its documents in MongoDB and its log in memory."""

    def __init__(self, database: Mongo, slice_events: int = 40) -> None:
        prepare(database, COLLECTIONS)
        self.memory = MemoryKith()
        self._database = database
        reader = MemoryReader(self.memory.log)
        reader.assign(self.memory.inputs)
        self._runner = Runner(
            reader,
            MongoStore(database, COLLECTIONS),
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
        tenant, consumer = chance.choice(["default", "default", "acme"]), chance.choice(["ann", "bob", "c:1", "100%"])
        relation, provider = f"r{chance.randrange(80)}", chance.choice(["café", "p:1", "1:p"])
        place = {"relation_id": relation, "consumer_id": consumer, "provider_id": provider}
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
    return events


def uncached(database: Mongo) -> Queries:
    return Queries(database, STRENGTH, QueryCache("off", 1))


def pages(read: Callable[[str | None], Document], limit: int) -> Iterator[Document]:
    cursor = None
    while True:
        page = read(cursor)
        assert len(page["items"]) <= limit
        yield from page["items"]
        if (cursor := page["next"]) is None:
            return
        assert len(page["items"]) == limit


@pytest.mark.parametrize("seed", [1, 2])
def test_mongodb_and_memory_store_the_same_and_every_page_of_it_is_found(mongo_database: Mongo, seed: int) -> None:
    events = history(seed)
    MongoKith(mongo_database).store(events)
    expected = stored_state(events)
    for name in ("relations", "relationships"):
        assert {document["_id"]: document for document in mongo_database[name].find()} == expected[name]

    queries = uncached(mongo_database)
    facts = [fact for fact in expected["relations"].values() if not fact["retracted"]]
    facts.sort(key=lambda fact: (fact["time"], fact["_id"]), reverse=True)
    for tenant, consumer, provider, kind in (
        ("default", "ann", None, None),
        ("default", None, "p:1", None),
        ("default", "c:1", "café", None),
        ("acme", "ann", None, None),
        ("default", "100%", None, "review"),
        ("acme", None, "1:p", "purchase"),
        ("default", "bob", "1:p", "unheard_of"),
        ("default", "nobody", None, None),
        ("nobody", "ann", None, None),
    ):
        stated = {"tenant": tenant, "consumer_id": consumer, "provider_id": provider, "kind": kind}
        wanted = [fact for fact in facts if all(v is None or fact[k] == v for k, v in stated.items())]
        for limit in (1, 3, len(wanted) or 7, 1000):
            read = lambda cursor, *where: queries.relations(*where, cursor)  # noqa: E731
            found = list(pages(lambda cursor: read(cursor, tenant, consumer, provider, kind, limit), limit))  # noqa: B023
            assert found == [answers.relation(fact) for fact in wanted]

    for tenant, side, id in (
        ("default", "consumer_id", "ann"),
        ("default", "provider_id", "p:1"),
        ("acme", "provider_id", "café"),
        ("acme", "consumer_id", "100%"),
        ("default", "provider_id", "nobody"),
        ("nobody", "provider_id", "café"),
    ):
        strongest = [doc for doc in expected["relationships"].values() if (doc["tenant"], doc[side]) == (tenant, id)]
        strongest.sort(key=lambda doc: (-STRENGTH.at(doc["kinds"], NOW)[0], doc["_id"]))
        for limit in (1, 2, 1000):
            listed = list(
                pages(lambda cursor: queries.relationships(tenant, side, id, limit, cursor, NOW), limit)  # noqa: B023
            )
            assert [(item["consumer_id"], item["provider_id"]) for item in listed] == [
                (doc["consumer_id"], doc["provider_id"]) for doc in strongest
            ]
            strengths = [STRENGTH.at(doc["kinds"], NOW)[0] for doc in strongest]
            assert [item["strength"] for item in listed] == pytest.approx(strengths, rel=1e-9)
            assert [item["count"] for item in listed] == [sum(item["kinds"].values()) for item in listed]
