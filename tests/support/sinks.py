"""What tests of sinks share: a log of changes, and workers that bring it into a target, with trouble on demand."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

from shared.contracts.collections import CollectionSpec
from shared.contracts.errors import Unavailable
from shared.contracts.events import document_id
from shared.runtime.dead_letters import COLLECTION as DEAD_LETTERS
from shared.runtime.dead_letters import SPEC
from shared.runtime.protocols import Claim, Message, OutboxBatch, Partition, Progress, Projection, Slice
from shared.runtime.runner import Runner
from shared.sinks.store import SinkStore
from shared.sinks.target import Target
from shared.testing.memory import MemoryLog, MemoryPublisher, MemoryReader, MemoryStore
from tests.support.analytics_driver import PARTITIONS, TOPIC, History, fact
from tests.support.runner import Later

LETTERS = "kith.dead-letters"
#: What relations has stored; the rig keeps ``relations`` up to date, the others are empty.
DOCUMENTS = ("relations", "relationships", "consumers", "providers")
#: Tenant, consumer, relation.
Place = tuple[str, str, str]


class SinkWorld(Protocol):
    """A system with its sink. Empty at the start of a test."""

    def target(self) -> Target[Any]:
        """The target of another process."""

    def projection(self) -> Projection[Any]:
        """One that folds ``kith.relation-changes``. It may read the documents of ``relations``."""

    def held(self) -> dict[Place, int]:
        """The live facts with their amounts, as a correct reader of the system sees them."""

    def copied(self) -> Callable[[], None]:
        """Take a backup, where the system has transactions. Returns what restores it while the sink runs."""


def amount_of(number: int) -> dict[str, Any]:
    return fact("p1", "purchase", amount=number, currency="EUR")


class TroubledStore(MemoryStore):
    """Where the positions are. ``before_commit`` may raise what is to go wrong with a slice that moves one."""

    def __init__(self) -> None:
        super().__init__({DEAD_LETTERS: SPEC, **dict.fromkeys(DOCUMENTS, CollectionSpec({}))})
        self.before_commit: Callable[[Slice], None] = lambda _: None

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        if slice.before != slice.after:
            self.before_commit(slice)
        return super().commit(slice)


class TroubledTarget:
    """A target whose ``apply`` fails where the next of ``plan`` says so: "before", "after" (the answer is lost),
    or "" for not at all."""

    def __init__(self, target: Target[Any], plan: Iterable[str]) -> None:
        self._target = target
        self._plan = iter(plan)

    def claimed(self, claim: Claim) -> Progress | None:
        return self._target.claimed(claim)

    def apply(self, claim: Claim, after: Progress, effects: Sequence[Any]) -> None:
        when = next(self._plan, "")
        if when == "before":
            raise Unavailable("the target is away")
        self._target.apply(claim, after, effects)
        if when:
            raise Unavailable("the answer is lost")


class SinkWorker:
    """One process of the sink. With ``later``, its commits run when the test says so."""

    def __init__(self, rig: "SinkRig", target: Target[Any], slice_events: int, later: Later | None) -> None:
        self._rig = rig
        self._reader = MemoryReader(rig.log)
        self._runner = Runner(
            self._reader,
            SinkStore(rig.store, target),
            MemoryPublisher(rig.log),
            rig.world.projection(),
            owner="test",
            dead_letters=LETTERS,
            slice_events=slice_events,
            clock=lambda: rig.now,
            committer=later,
        )
        self._reader.assign(Partition(TOPIC, number) for number in range(PARTITIONS))

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self._rig.now += 10.0
            self._runner.step(0)

    def drain(self) -> None:
        """Work until everything in the log is stored."""
        for _ in range(500):
            self.step()
            if self._rig.behind() == 0:
                return
        raise AssertionError(f"the sink does not get to the end: {self._rig.behind()} records are left")


class SinkRig:
    """The log, the positions and the truth: what the published changes amount to."""

    def __init__(self, world: SinkWorld) -> None:
        self.world = world
        self.log = MemoryLog({TOPIC: PARTITIONS, LETTERS: 1})
        self.store = TroubledStore()
        self.history = History()
        self.now = 0.0

    def worker(self, plan: Iterable[str] = (), slice_events: int = 3, later: Later | None = None) -> SinkWorker:
        return SinkWorker(self, TroubledTarget(self.world.target(), plan), slice_events, later)

    def publish(self, relation: str, amount: int | None, partition: int = 0) -> Message:
        """The amount of a relation is now this; None: it is retracted. The consumer is one of the partition."""
        message = self.change(relation, amount, partition)
        self.log.append(message)
        return message

    def change(self, relation: str, amount: int | None, partition: int = 0) -> Message:
        """The same, and the message is not sent."""
        after, consumer = None if amount is None else amount_of(amount), f"c{partition}"
        place = {"tenant": "default", "consumer_id": consumer, "relation_id": relation}
        id = document_id(*place.values())
        fields = {} if after is None else {**after, "time": datetime.fromisoformat(after["time"])}
        self.store.collections["relations"][id] = {"_id": id, **place, **fields, "retracted": after is None}
        return self.history.state(relation, after, consumer=consumer, partition=partition)

    def behind(self) -> int:
        """Records that are not stored yet."""
        name = self.world.projection().name
        places = [place for place in self.log.records if place.topic == TOPIC]
        positions = {place: self.store.positions.get(f"{name}@1/{place}") for place in places}
        return sum(
            self.log.end(place) - ((entry.progress.next or 0) if entry else 0)
            for place, entry in positions.items()
        )

    def truth(self) -> dict[Place, int]:
        return {place: state["amount"] for place, state in self.history.live.items()}
