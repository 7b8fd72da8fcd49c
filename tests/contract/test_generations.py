"""One suite for every Registry, in memory and on a real MongoDB, and a Reader of all partitions on real Kafka."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count

import pytest
from pymongo.database import Database

from shared.contracts.collections import Collections, CollectionSpec
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.kafka.clients import open_publisher
from shared.kafka.python_client.all_partitions import AllPartitionsReader
from shared.mongo.store import MongoStore, prepare
from shared.runtime.protocols import (
    Document,
    Get,
    Message,
    Outcome,
    Partition,
    Progress,
    Record,
    Slice,
    Store,
    Write,
)
from shared.settings import Settings
from shared.testing.memory import MemoryStore
from shared.testing.memory_registry import MemoryRegistry
from shared.versions.generations import (
    Generations,
    Handover,
    PartitionPosition,
    Registry,
    collections_of,
    live_version,
)
from shared.versions.mongo_registry import MongoRegistry
from tests.support.waiting import PATIENCE_SECONDS, Deadline

SPECS: Collections = {"things": CollectionSpec({}), "dead_letters": CollectionSpec({})}
ALL: Collections = {**SPECS, **collections_of(SPECS, 2), **collections_of(SPECS, 12)}


class World:
    def __init__(self, registry: Registry, store: Store) -> None:
        self.registry, self.store = registry, store

    def stored(self, version: int, place: str, next: int, id: str) -> None:
        """A document of a version, with a message in its outbox."""
        claim, before = self.store.claim(f"relations@{version}/{place}", "me")
        collection = "things" if version == 1 else f"things@{version}"
        write = Write(collection, id, None, {"_id": id})
        outcome = Outcome([write], [Message("t", None, b"v", 0)])
        self.store.commit(Slice(claim, before, Progress(next, 7), outcome))


@pytest.fixture(params=["memory", "mongo"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        store = MemoryStore(ALL)
        yield World(MemoryRegistry(store, "relations"), store)
    else:
        database: Database[Document] = request.getfixturevalue("mongo_database")
        prepare(database, ALL)
        yield World(MongoRegistry(database, "relations"), MongoStore(database, ALL))


def test_what_was_never_rebuilt_is_at_its_first_version(world: World) -> None:
    assert world.registry.read() == Generations()
    assert (world.registry.name, live_version(world.registry), world.registry.positions(1)) == ("relations", 1, {})


def test_of_two_that_replace_the_same_one_wins(world: World) -> None:
    registry, now = world.registry, world.registry.now()
    building = Generations().with_new(now)
    assert registry.replace(Generations(), building)
    assert not registry.replace(Generations(), building.without_other())
    assert registry.read() == building
    hand_over = Handover("a", "me", 2, now + timedelta(seconds=30))
    announced = building.handing_over(hand_over)
    assert registry.replace(building, announced)
    other = building.handing_over(Handover("b", "other", 2, now + timedelta(seconds=30)))
    assert not registry.replace(building, other)
    assert registry.replace(announced, other)
    assert not registry.replace(announced, announced.switched(now)), "a handover that was taken over has ended"
    assert registry.replace(other, other.switched(now))
    found = registry.read()
    assert (found.live, found.previous, found.building, found.switched_at) == (2, 1, None, now)
    assert live_version(registry) == 2


def test_nobody_works_while_it_is_handed_over_and_one_that_is_overdue_is_cancelled(world: World) -> None:
    registry, now = world.registry, world.registry.now()
    building = Generations().with_new(now)
    announced = building.handing_over(Handover("a", "me", 2, now + timedelta(seconds=60)))
    assert registry.replace(Generations(), announced)
    with pytest.raises(Unavailable, match="handed over from version 1 to 2"):
        live_version(registry)
    overdue = building.handing_over(Handover("a", "me", 2, now - timedelta(seconds=1)))
    assert registry.replace(announced, overdue)
    assert live_version(registry) == 1
    assert registry.read() == building


def test_stands_are_those_of_the_version(world: World) -> None:
    world.stored(1, "kith.relations/0", 5, "a")
    world.stored(2, "kith.relations/0", 3, "a")
    world.stored(12, "kith.relations/1", 9, "a")
    world.store.claim("relations@1/kith.relations/1", "you")
    world.store.claim("relationships@1/kith.relations/3", "you")
    assert world.registry.positions(1) == {
        "kith.relations/0": PartitionPosition(5, "me", 7),
        "kith.relations/1": PartitionPosition(None, "you", 0),
    }
    assert world.registry.positions(2) == {"kith.relations/0": PartitionPosition(3, "me", 7)}


def test_a_version_is_deleted_whole_and_nothing_else(world: World) -> None:
    for version in (1, 2, 12):
        world.stored(version, "kith.relations/0", 3, "a")
    claim, before = world.store.claim("relations@1/kith.relations/1", "me")
    letter = Outcome([Write("dead_letters", "x", None, {"_id": "x"}, blind=True)])
    world.store.commit(Slice(claim, before, Progress(1), letter))
    for _ in range(2):  # one that was interrupted is done again
        world.registry.delete(2, SPECS)
    assert world.registry.positions(2) == {}
    assert world.store.unpublished("relations@2/kith.relations/0") == []
    asked = {"things": ["a"], "things@2": ["a"], "things@12": ["a"], "dead_letters": ["x"]}
    found = world.store.read(Get(asked))
    assert {name: list(documents) for name, documents in found.items()} == {**asked, "things@2": []}
    assert len(world.store.unpublished("relations@12/kith.relations/0")) == 1
    assert set(world.registry.positions(1)) == {"kith.relations/0", "kith.relations/1"}


def test_only_one_of_many_begins_a_version(world: World) -> None:
    found, begun, now = world.registry.read(), [], world.registry.now()
    # Two of one millisecond would be one try whose answer was lost.
    numbers = count()

    def begin() -> None:
        if world.registry.replace(found, found.with_new(now + timedelta(milliseconds=next(numbers)))):
            begun.append(1)

    # The one in memory is for one thread.
    threads = [threading.Thread(target=begin) for _ in range(1 if isinstance(world.store, MemoryStore) else 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    begin()
    assert begun == [1]
    assert world.registry.read().building == 2
    with pytest.raises(ConfigurationError, match="version 2 has to be dropped first"):
        world.registry.read().with_new(world.registry.now())


@pytest.fixture
def whole(real_settings: Settings) -> Iterator[AllPartitionsReader]:
    reader = AllPartitionsReader(real_settings, [f"{real_settings.topic_prefix}.relations"])
    yield reader
    reader.close()


def believed(reader: AllPartitionsReader, partition: Partition, start: int) -> None:
    """Start beyond the end, for as long as the broker that says where it is may be one that was cut off."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with suppress(Unavailable):
            reader.start(partition, start)
        time.sleep(0.1)


def test_the_reader_of_all_partitions_needs_no_group(real_settings: Settings, whole: AllPartitionsReader) -> None:
    topic = f"{real_settings.topic_prefix}.relations"
    publisher = open_publisher(real_settings)
    publisher.send([Message(topic, None, b"%d" % n, n % 2) for n in range(40)]).result(PATIENCE_SECONDS)
    publisher.close()
    parts = {Partition(topic, 0), Partition(topic, 1)}
    polled = whole.poll(100)
    assert polled.assigned == parts
    assert not polled.records
    assert whole.firsts() == {f"{topic}/0": 0, f"{topic}/1": 0}
    assert whole.start(Partition(topic, 0), None) == (0, 0)
    assert whole.start(Partition(topic, 1), 15) == (0, 15)
    with pytest.raises(ConfigurationError, match="the log holds 0 to 20"):
        believed(whole, Partition(topic, 1), 21)
    records = read(whole, 25)
    assert {part: [r.offset for r in records if r.partition == part] for part in parts} == {
        Partition(topic, 0): list(range(20)),
        Partition(topic, 1): list(range(15, 20)),
    }
    whole.pause([Partition(topic, 0)])
    whole.start(Partition(topic, 1), 10)
    assert {r.partition for r in read(whole, 10)} == {Partition(topic, 1)}


def test_it_has_to_have_topics(real_settings: Settings) -> None:
    with pytest.raises(Unavailable, match="has no topic"):
        AllPartitionsReader(real_settings, [f"{real_settings.topic_prefix}.nothing"])


def read(reader: AllPartitionsReader, count: int) -> list[Record]:
    deadline = Deadline()
    records: list[Record] = []
    while len(records) < count:
        deadline.check(f"only {len(records)} of {count} records came")
        for batch in reader.poll(100).records.values():
            records += batch
    return records
