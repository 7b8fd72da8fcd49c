"""The Cassandra sink over a real MongoDB: whatever goes wrong, rows end as the documents are, and lists too."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from services.cassandra.subjects import AGGREGATES, RELATIONS, RELATIONSHIPS
from services.relations.cache import QueryCache
from services.relations.queries import BadPlace, Queries
from shared.cassandra.address import Address
from shared.cassandra.lists import RelationshipLists
from shared.cassandra.protocol import Tables
from shared.cassandra.store import CassandraTables
from shared.cassandra.tables import AGGREGATES as SUMS
from shared.cassandra.tables import BY_CONSUMER, BY_PROVIDER, BY_SCORE, FACTS
from shared.contracts.errors import Unavailable
from shared.contracts.events import Event
from shared.local.cassandra import CassandraServer
from shared.testing.memory_cassandra import MemoryTables
from tests.support.builders import STRENGTH, event
from tests.support.cassandra_driver import SinkKith, TroubledTables, stored
from tests.support.relations_driver import NOW, Mongo, history, pages

#: Enough for every kind of event to meet every other; a node beside all else on two cores is slow.
EVENTS = 120


@pytest.fixture(scope="module")
def cluster(cassandra_address: Address) -> Iterator[CassandraTables]:
    tables = CassandraTables(replace(cassandra_address, keyspace=f"test_{uuid.uuid4().hex[:12]}"))
    tables.prepare()
    yield tables
    tables.drop()
    tables.close()


@pytest.fixture(params=["memory", "real"])
def tables(request: pytest.FixtureRequest) -> Iterator[Tables]:
    if request.param == "memory":
        yield MemoryTables()
        return
    real: CassandraTables = request.getfixturevalue("cluster")
    real.empty()
    yield real


def test_rows_are_what_the_documents_are_after_every_fault(tables: Tables, mongo_database: Mongo) -> None:
    """Zombies, retries, slices done again, and rebuilds in between."""
    sink, chance = SinkKith(mongo_database), random.Random(7)
    events = history(11)[:EVENTS]
    zombies = []
    for start in range(0, EVENTS, 40):
        sink.emit(events[start : start + 40])
        # A worker that believes its writes have arrived, and stops before the position: killed, or cut off.
        zombie = TroubledTables(tables, late=True)
        worker = sink.worker(zombie, slice_events=chance.choice([3, 30]), owner="zombie")
        for _ in range(20):
            if not zombie.kept:
                sink.step(worker)
        zombies.append(zombie)
        # The position of what it had is moved back, as if that commit had not been.
        mongo_database["positions"].update_many(
            {"_id": {"$regex": "^cassandra@"}}, {"$set": {"next": 0, "seen": []}}
        )
        plan = [chance.choice(["", "before", "half", "after"]) for _ in range(12)]
        sink.drain(sink.worker(TroubledTables(tables, plan), slice_events=7))
        if start == 40:
            sink.rebuild(TroubledTables(tables, ["half", "", "after"]))
    assert all(zombie.kept for zombie in zombies), "each has something to bring late"
    for zombie in zombies:
        zombie.arrive()
    found, expected = stored(tables), sink.expected()
    assert found == expected
    assert all(expected.values()), "every table has rows"
    assert list(mongo_database["dead_letters"].find()) == []
    # What the zombies have left in the order is deleted by a rebuild; it deletes nothing else.
    places = len(list(tables.keys(BY_SCORE)))
    assert sink.rebuild(tables) is not None
    assert stored(tables) == expected
    assert len(list(tables.keys(BY_SCORE))) == len(expected[BY_PROVIDER]) <= places


def test_lists_are_the_same_on_both(tables: Tables, mongo_database: Mongo) -> None:
    sink = SinkKith(mongo_database)
    sink.emit(history(5)[: 2 * EVENTS])
    sink.drain(sink.worker(tables))
    one = queries(mongo_database)
    other = queries(mongo_database, RelationshipLists(tables))
    seen = 0
    for tenant in ("default", "acme", "nobody"):
        sides = [("consumer_id", name) for name in ("ann", "bob", "c:1", "100%", "nobody")]
        for side, id in sides + [("provider_id", name) for name in ("café", "p:1", "1:p", "nobody")]:
            for limit in (1, 2, 1000):
                expected = list(pages(partial(paged, one, tenant, side, id, limit), limit))
                assert list(pages(partial(paged, other, tenant, side, id, limit), limit)) == expected
                seen += len(expected)
    assert seen > 50
    for place in (["x"], [1, "a"], [1.0, 2], [1.0, "a", 3]):
        for each in (one, other):
            with pytest.raises(BadPlace):
                each.relationships("default", "consumer_id", "ann", 10, place, NOW)


@pytest.mark.parametrize("mode", ["delete", "anonymise"])
def test_an_erased_consumer_is_in_no_row(mongo_database: Mongo, mode: str) -> None:
    tables = MemoryTables()
    sink = SinkKith(mongo_database, sealed=True)
    sink.emit(history(3)[:EVENTS])
    sink.drain(sink.worker(tables))
    assert "'ann'" in repr(stored(tables))
    sink.emit([erasure("x1", "default", mode), erasure("x2", "acme", mode)])
    sink.emit([])  # what relations has sent itself to erase the facts
    sink.drain(sink.worker(tables))
    assert stored(tables) == sink.expected()
    shown = repr([stored(tables), list(tables.keys(BY_SCORE))])
    assert "'ann'" not in shown
    assert ":ann:" not in shown
    assert "kith1." not in shown, "nothing encrypted is copied either"


def test_a_rebuild_fills_empty_tables_and_deletes_what_no_document_has(
    tables: Tables, mongo_database: Mongo
) -> None:
    sink = SinkKith(mongo_database)
    sink.emit(history(9)[:EVENTS])
    done = sink.rebuild(tables)
    assert done is not None
    assert done[1] == 0
    expected = sink.expected()
    assert stored(tables) == expected
    # A backup of MongoDB without these, say. (Nothing but a rebuild can know of it.)
    for name in (RELATIONS, RELATIONSHIPS, AGGREGATES):
        mongo_database[name].delete_many({"consumer_id" if name != AGGREGATES else "key": {"$in": ["ann", "bob"]}})
    gone = sum(len(rows) for rows in expected.values()) - sum(len(rows) for rows in sink.expected().values())
    done = sink.rebuild(tables)
    assert done is not None
    assert done[1] >= gone > 0
    assert stored(tables) == sink.expected()
    assert {name: bool(rows) for name, rows in sink.expected().items()} == dict.fromkeys(
        (FACTS, BY_CONSUMER, BY_PROVIDER, SUMS), True
    )


def test_numbers_rise_and_are_not_below_the_clock(mongo_database: Mongo) -> None:
    sink = SinkKith(mongo_database)
    numbers = [sink.current.read({}, {})[0] for _ in range(20)]
    assert numbers == sorted(set(numbers))
    assert abs(numbers[0] / 1000 - __import__("time").time()) < 3600
    mongo_database["sink_numbers"].update_one({"_id": "cassandra"}, {"$set": {"last": 2**42}})
    assert sink.current.read({}, {})[0] == 2**42 + 1, "the clock went back, or the counter was ahead"
    mongo_database["sink_numbers"].delete_many({})
    assert sink.current.read({}, {})[0] > numbers[-1], "a lost counter begins above"


def test_rows_wait_for_analytics(mongo_database: Mongo) -> None:
    sink = SinkKith(mongo_database)
    with pytest.raises(Unavailable, match="analytics has not counted"):
        sink.current.__class__(
            sink.database, sink.current._relations, sink.current._analytics, lambda _: None
        ).read({AGGREGATES: ["x"]}, {"relations@1/kith.relations/0": 5})


def test_cassandra_goes_away_and_comes_back(
    cassandra_node: CassandraServer, cluster: CassandraTables, mongo_database: Mongo
) -> None:
    """Nothing is a dead letter, no more is read than a slice or two, and it goes on by itself."""
    cluster.empty()
    sink = SinkKith(mongo_database)
    events: list[Event] = history(13)[:EVENTS]
    sink.emit(events[:80])
    worker = sink.worker(cluster)
    sink.drain(worker)
    cassandra_node.kill()
    sink.emit(events[80:])
    before = list(mongo_database["positions"].find({"_id": {"$regex": "^cassandra@"}}, {"next": 1}))
    sink.step(worker, 6)
    assert any(state.failures for state in worker.partitions.values()), "it has noticed"
    assert before == list(mongo_database["positions"].find({"_id": {"$regex": "^cassandra@"}}, {"next": 1}))
    cassandra_node.start()
    sink.drain(worker)
    assert stored(cluster) == sink.expected()
    assert list(mongo_database["dead_letters"].find()) == []


def erasure(id: str, tenant: str, mode: str) -> Event:
    data = {"consumer_id": "ann", "mode": mode}
    return event("consumer.erased", id, "2026-11-20T00:00:00Z", data, tenant=tenant)


def queries(database: Mongo, lists: RelationshipLists | None = None) -> Queries:
    return Queries(database, STRENGTH, QueryCache("off", 1), lists=None if lists is None else lists.page)


def paged(found: Queries, tenant: str, side: str, id: str, limit: int, after: Any) -> Any:
    return found.relationships(tenant, side, id, limit, after, NOW)
