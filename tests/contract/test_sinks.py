"""One suite for every sink: whatever crashes, repeats or comes late, a target holds exactly what was published."""

import asyncio
import copy
import shutil
import sqlite3
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.rabbitmq.metrics import BridgeMetrics
from services.rabbitmq.outflow import Outflow
from services.rabbitmq.projection import RabbitProjection
from shared.contracts.changes import RelationChange, decode_change
from shared.contracts.errors import Fenced, Unavailable
from shared.contracts.topics import Topics
from shared.observability.metrics import new_registry
from shared.runtime.protocols import Answer, Ask, Message, Outcome, Progress, Projection, Record, Slice
from shared.sinks.store import SinkStore
from shared.sinks.target import Row, Target
from shared.testing.memory_sink import MemoryTables, NumberedTarget, TransactionTarget
from tests.support.analytics_driver import PARTITIONS, TOPIC
from tests.support.builders import TOPICS
from tests.support.documents import of
from tests.support.paths import ROOT
from tests.support.postgres import PostgresWorld
from tests.support.rabbitmq import MemoryRabbit
from tests.support.runner import Later
from tests.support.sinks import Place, SinkRig, SinkWorld


class FactsProjection:
    """Changes → rows, the smallest sink."""

    name = "facts"
    version = 1
    topics: tuple[str, ...] = (TOPIC,)
    numbered = True

    def weight(self, record: Record) -> int:  # noqa: ARG002
        return 1

    def decode(self, record: Record) -> RelationChange:
        return decode_change(record.value or b"")

    def project(self, items: Sequence[tuple[Record, RelationChange]]) -> Generator[Ask, Answer, Outcome]:
        yield from ()
        rows = {}
        for _, change in items:
            data = change.data
            key = (change.tenant, data.consumer_id, data.relation_id)
            rows[key] = Row("facts", key, None if data.after is None else {"amount": data.after.amount})
        return Outcome(effects=list(rows.values()))


class InMemory:
    def __init__(self, kind: Callable[[MemoryTables], Target[Any]]) -> None:
        self.tables = MemoryTables()
        self._kind = kind

    def target(self) -> Target[Any]:
        return self._kind(self.tables)

    def projection(self) -> Projection[Any]:
        return FactsProjection()

    def held(self) -> dict[Place, int]:
        return {(str(a), str(b), str(c)): row["amount"] for (a, b, c), row in self.tables.rows("facts").items()}

    def copied(self) -> Callable[[], None]:
        kept = copy.deepcopy(self.tables.__dict__)
        return lambda: self.tables.__dict__.update(copy.deepcopy(kept))


class OfTheGuide:
    """What docs/how-to/add-sink.md builds, word for word."""

    def __init__(self, path: Path) -> None:
        [code] = of(ROOT / "docs/how-to/add-sink.md", "python")
        assert code.count("\n") < 100, "a sink in under 100 lines"
        self._guide: dict[str, Any] = {}
        exec(compile(code, "add-sink.md", "exec"), self._guide)
        self._path = str(path)

    def target(self) -> Target[Any]:
        target: Target[Any] = self._guide["SqliteTarget"](self._path)
        return target

    def projection(self) -> Projection[Any]:
        projection: Projection[Any] = self._guide["FactsProjection"](TOPICS)
        return projection

    def held(self) -> dict[Place, int]:
        with closing(sqlite3.connect(self._path)) as database:
            found = database.execute("SELECT tenant, consumer, relation, amount FROM facts").fetchall()
        return {(tenant, consumer, relation): amount for tenant, consumer, relation, amount in found}

    def copied(self) -> Callable[[], None]:
        kept = f"{self._path}.backup"
        shutil.copy(self._path, kept)

        def restore() -> None:
            shutil.copy(kept, self._path)

        return restore


def _closing(request: pytest.FixtureRequest, world: PostgresWorld) -> SinkWorld:
    request.addfinalizer(world.close)
    return world


class InRabbit:
    """The changes that a queue got, taken once by their numbers. The double, which tests/contract/test_rabbitmq.py
    holds to the real one."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self.rabbit = MemoryRabbit()
        self.rabbit.exchanges["kith"] = "topic"
        self.rabbit.bind("all", "kith", "#")
        self.loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        thread.start()

        def end() -> None:
            self.loop.call_soon_threadsafe(self.loop.stop)
            thread.join()
            self.loop.close()

        request.addfinalizer(end)

    def target(self) -> Target[Any]:
        return Outflow("kith", self.rabbit.connect, self.loop, BridgeMetrics(new_registry()))

    def projection(self) -> Projection[Any]:
        projection = RabbitProjection(Topics())
        projection.topics = (TOPIC,)
        return projection

    def copied(self) -> Callable[[], None]:
        raise NotImplementedError("a queue is no copy of anything")

    def held(self) -> dict[Place, int]:
        seen: dict[object, int] = {}
        facts: dict[Place, int] = {}
        for body, properties, _ in self.rabbit.queues["all"].messages:
            origin, number = properties.headers["kith-origin"], properties.headers["kith-number"]
            if number != seen.get(origin, 0) + 1:
                continue
            seen[origin] = number
            change = decode_change(body)
            place = (change.tenant, change.data.consumer_id, change.data.relation_id)
            facts.pop(place, None)
            if change.data.after is not None and change.data.after.amount is not None:
                facts[place] = change.data.after.amount
        return facts


#: A new sink adds itself here: a name, and what makes its world of the test's fixtures.
WORLDS: dict[str, Callable[[pytest.FixtureRequest], SinkWorld]] = {
    "memory with transactions": lambda _: InMemory(TransactionTarget),
    "memory with numbers": lambda _: InMemory(NumberedTarget),
    "the guide's": lambda request: OfTheGuide(request.getfixturevalue("tmp_path") / "facts.db"),
    "postgres": lambda request: _closing(
        request, PostgresWorld(request.getfixturevalue("postgres_dsn"), "test_sinks")
    ),
    "rabbitmq": InRabbit,
}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> SinkWorld:
    return WORLDS[request.param](request)


@pytest.fixture
def rig(world: SinkWorld) -> SinkRig:
    return SinkRig(world)


def publish_some(rig: SinkRig, start: int, count: int) -> None:
    """Facts that come, change and go, in every partition."""
    for number in range(start, start + count):
        relation = f"r{number % 5}"
        rig.publish(relation, None if number % 7 == 6 else number, partition=number % PARTITIONS)


def test_the_target_holds_what_was_published(rig: SinkRig) -> None:
    publish_some(rig, 0, 40)
    rig.worker().drain()
    assert rig.world.held() == rig.truth()
    assert rig.truth(), "something is left to hold"


def test_a_crash_between_effect_and_position_repeats_the_slice(rig: SinkRig) -> None:
    """Cut at another place, too: the next worker has larger slices."""

    class Killed(Exception):
        pass

    def killed(slice: Slice) -> None:  # noqa: ARG001
        raise Killed

    for crash in range(6):
        publish_some(rig, 10 * crash, 10)
        worker = rig.worker(slice_events=1 + crash % 4)
        rig.store.before_commit = killed
        with pytest.raises(Killed):
            worker.drain()
        rig.store.before_commit = lambda _: None
    rig.worker().drain()
    assert rig.world.held() == rig.truth()


def test_an_unavailable_target_costs_time_only(rig: SinkRig) -> None:
    """Also where it did everything and only the answer was lost."""
    publish_some(rig, 0, 20)
    rig.worker(["before", "before", "after", "", "after", "before", "after"]).drain()
    publish_some(rig, 20, 20)
    rig.worker(["after"] * 4, slice_events=2).drain()
    assert rig.world.held() == rig.truth()
    assert rig.store.collections["dead_letters"] == {}


def test_what_a_zombie_applies_late_is_without_effect(rig: SinkRig) -> None:
    rig.publish("r1", 1)
    rig.publish("r2", 1)
    zombie_commits = Later()
    zombie = rig.worker(later=zombie_commits, slice_events=2)
    zombie.step(3)
    assert zombie_commits.waiting, "a slice is about to be applied"
    fresh = rig.worker()
    fresh.step(2)
    for number in range(2, 9):
        rig.publish("r1", number)
    rig.publish("r2", None)
    fresh.drain()
    assert rig.world.held() == rig.truth()
    zombie_commits.heal()
    assert rig.world.held() == rig.truth()
    # It is fenced, claims in its turn, and goes on from where the other one is; then the other one does.
    rig.publish("r2", 20)
    zombie.drain()
    rig.publish("r1", 21)
    fresh.drain()
    assert rig.world.held() == rig.truth()


def test_a_claim_that_is_void_before_the_target_knows_it_applies_nothing(rig: SinkRig) -> None:
    """Two workers claim; the older one comes to the target last, where it might look like the newer one."""
    rig.publish("r1", 1)
    first, second = rig.world.target(), rig.world.target()
    position = f"{rig.world.projection().name}@1/{TOPIC}/0"

    class Overtaken:
        """The second worker claims while the first one is on its way to the target."""

        def claimed(self, claim: Any) -> Progress | None:
            SinkStore(rig.store, second).claim(position, "second")
            return first.claimed(claim)

        def apply(self, *_: Any) -> None:
            raise AssertionError("the claim is void")

    with pytest.raises(Fenced):
        SinkStore(rig.store, Overtaken()).claim(position, "first")
    rig.worker().drain()
    assert rig.world.held() == rig.truth()


def test_repeated_and_missing_numbers_count_once(rig: SinkRig) -> None:
    """A broker failed while changes were published: one is missing at first, and some come twice."""
    numbered: list[Message] = [rig.change(f"r{n % 3}", n) for n in range(9)]
    for sent in (numbered[:3], numbered[4:6], numbered[2:5], numbered[4:], numbered):
        for message in sent:
            rig.log.append(message)
        rig.worker(slice_events=2).drain()
    assert rig.world.held() == rig.truth()


def test_a_bad_record_becomes_a_dead_letter_and_harms_no_other(rig: SinkRig) -> None:
    rig.publish("r1", 1)
    rig.log.append(Message(TOPIC, b"default:c0", b"no change", 0))
    rig.publish("r2", 2)

    attempts: list[int] = []

    def once(slice: Slice) -> None:
        attempts.append(slice.after.next or 0)
        if len(attempts) == 1:
            raise Unavailable("the positions are away")

    rig.store.before_commit = once
    rig.worker().drain()
    assert rig.world.held() == rig.truth()
    assert [letter["reason"] for letter in rig.store.collections["dead_letters"].values()] == ["not_json"]


@pytest.mark.parametrize("goes_on", [True, False], ids=["the same worker", "another one"])
@pytest.mark.parametrize("name", ["memory with transactions", "the guide's", "postgres"])
def test_a_restored_target_is_filled_again(request: pytest.FixtureRequest, name: str, goes_on: bool) -> None:
    """Rows, progress and the mark of the claim are those of a backup: the sink reads again what came after it,
    also where it was running all the time."""
    world = WORLDS[name](request)
    rig = SinkRig(world)
    publish_some(rig, 0, 30)
    worker = rig.worker()
    worker.drain()
    restore = world.copied()
    publish_some(rig, 30, 30)
    worker.drain()
    assert world.held() == rig.truth()
    restore()
    assert world.held() != rig.truth()
    publish_some(rig, 60, 5)
    (worker if goes_on else rig.worker()).drain()
    assert world.held() == rig.truth()
