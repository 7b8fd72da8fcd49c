"""A service in memory whose projection is rebuilt beside it."""

from typing import Any

from services.rebuild.build import LiveBounds, RebuildContext, arrived, build, offsets
from services.rebuild.handover import hand_over
from services.rebuild.versions import begin
from services.relations.schema import COLLECTIONS
from shared.runtime.protocols import Message, Partition
from shared.runtime.runner import Runner
from shared.runtime.sequence_numbers import NUMBER, ORIGIN
from shared.testing.memory import MemoryReader, MemoryStore
from shared.testing.memory_registry import MemoryRegistry
from shared.versions.generations import collections_of, own_collections
from shared.versions.live import LiveStore
from tests.support.builders import TOPICS, MemoryKith, recorded, retracted, stored_state

OWN = tuple(own_collections(COLLECTIONS))


class Service:
    """The relations service in memory, following its live version, with a workshop beside it."""

    def __init__(self, partitions: int = 2) -> None:
        self.kith = MemoryKith(partitions)
        self.store = MemoryStore(COLLECTIONS)
        self.kith.store = self.store
        self.registry = MemoryRegistry(self.store, "relations")
        self.workers: list[tuple[MemoryReader, Runner]] = []
        self.projection = self.kith.projection
        self.sent: list[Any] = []
        self.start_worker()

    def start_worker(self) -> None:
        """All partitions move to a new worker; the ones before do not know it."""
        reader = MemoryReader(self.kith.log)
        reader.assign(self.kith.inputs)
        runner = Runner(
            reader,
            LiveStore(self.registry, lambda _: self.store),
            self.kith.publisher,
            self.projection,
            owner=f"worker-{len(self.workers)}",
            dead_letters=TOPICS.name("dead-letters"),
            slice_events=3,
            clock=lambda: self.kith.now,
        )
        self.workers.append((reader, runner))

    def send(self, count: int, start: int = 0) -> None:
        """Facts, amendments and retractions of a few relations, and now and then what is no event."""
        for n in range(start, start + count):
            time = f"2026-03-{n % 28 + 1:02}T00:{n % 60:02}:00Z"
            relation, consumer = f"r{n % 7}", f"c{n % 3}"
            one = (
                retracted(f"e{n}", time, relation, consumer_id=consumer)
                if n % 5 == 4
                else recorded(f"e{n}", time, relation, consumer_id=consumer, provider_id=f"p{n % 2}")
            )
            self.sent.append(one)
            self.kith.publish([one])
            if n % 11 == 10:
                self.kith.log.append(Message(TOPICS.name("relations"), b"k", b"no event"))

    def work(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.kith.now += 10.0
            for _, runner in self.workers:
                runner.step(0)

    def drain(self) -> None:
        """Until all is stored and published, by the latest worker: the others have heard of it by now."""
        for reader, _ in self.workers[:-1]:
            reader.revoke(self.kith.inputs)
        for _ in range(1_000):
            self.work()
            reached = offsets(self.registry, self.registry.read().live)
            if not self.store.outbox and all(
                reached.get(str(p), 0) == self.kith.log.end(p) for p in self.kith.inputs
            ):
                return
        raise AssertionError("the service does not get to the end")

    def drain_live(self) -> None:
        """As ``drain``, when the version beside it has left something that nobody may publish."""
        kept = {id: self.store.outbox.pop(id) for id in list(self.store.outbox) if id.startswith("relations@2")}
        self.drain()
        self.store.outbox.update(kept)

    def context(self, owner: str = "rebuild", publisher: Any = None) -> RebuildContext:
        def prepare(version: int) -> None:
            for name in collections_of(own_collections(COLLECTIONS), version):
                self.store.collections.setdefault(name, {})
                self.store._specs = {**self.store._specs, **collections_of(COLLECTIONS, version)}

        def reader() -> MemoryReader:
            found = MemoryReader(self.kith.log, most=4)
            found.assign(self.kith.inputs)
            return found

        return RebuildContext(
            projection=self.kith.projection,
            collections=COLLECTIONS,
            registry=self.registry,
            owner=owner,
            open_store=lambda _: self.store,
            open_reader=reader,
            open_publisher=lambda: publisher or self.kith.publisher,
            prepare=prepare,
            slice_events=3,
        )

    def firsts(self) -> dict[str, int]:
        return {str(p): self.kith.log.first[p] for p in self.kith.inputs}

    def begin(self, context: RebuildContext) -> int:
        return begin(context, self.firsts)

    def build(self, context: RebuildContext, target: int, steps: int = 10_000) -> None:
        """Until it is level with the live version, or for so many steps."""
        left = steps

        def done(runner: Runner) -> bool:
            nonlocal left
            left -= 1
            return left < 0 or arrived(runner, offsets(self.registry, self.registry.read().live))

        bounds = LiveBounds(self.registry, target, context.owner, clock=lambda: self.kith.now)
        build(context, target, bounds, done)
        self.kith.now += 1.0

    def documents(self, version: int) -> dict[str, Any]:
        names = collections_of(own_collections(COLLECTIONS), version)
        return {name.partition("@")[0]: self.store.collections[name] for name in names}

    def check(self) -> None:
        """What is stored is a fold of what was sent, and readers of changes take each change once, all of them
        joined to the one before."""
        live = self.registry.read().live
        expected = stored_state(self.sent)
        assert self.documents(live) == {name: expected[name] for name in OWN}
        plain = Service()
        plain.kith.log.records = {
            p: list(records) if p in plain.kith.inputs else [] for p, records in self.kith.log.records.items()
        }
        plain.drain()
        assert self.changes() == plain.changes()
        letters = self.store.collections["dead_letters"]
        assert letters.keys() == plain.store.collections["dead_letters"].keys()

    def changes(self) -> dict[tuple[str, Partition], list[bytes | None]]:
        """By origin and partition, what a reader takes who follows the numbers; there must be no gap."""
        taken: dict[tuple[str, Partition], list[bytes | None]] = {}
        for partition, records in self.kith.log.records.items():
            for record in records:
                headers = dict(record.headers)
                if ORIGIN not in headers:
                    continue
                series = taken.setdefault((headers[ORIGIN].decode(), partition), [])
                number = int(headers[NUMBER])
                assert number <= len(series) + 1, f"{partition}: {number} after {len(series)}"
                if number == len(series) + 1:
                    series.append(record.value)
                else:
                    assert series[number - 1] == record.value, f"{partition}: two changes with number {number}"
        return taken


def switch(context: RebuildContext, target: int) -> list[str]:
    return list(hand_over(context, target))
