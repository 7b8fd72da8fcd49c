"""Building a version beside the live one, switching and dropping, in memory: stopped after any step, the service
stays exact and its changes come once."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import bson
import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from services.cli.rebuild.build import BuildingStore, LiveBounds, Superseded, Workshop, arrived, build, offsets
from services.cli.rebuild.diff import Row
from services.cli.rebuild.switch import Corrections, Failed, hand_over
from services.cli.rebuild.told import corrections, differing_facts
from services.cli.rebuild.versions import approach, begin, drop
from services.relations.projection import RelationsProjection
from services.relations.schema import COLLECTIONS
from services.relations.world import told
from shared.changes import decode_change
from shared.errors import ConfigurationError, InvalidEvent, Unavailable
from shared.events import EPOCH
from shared.generations import Generations, HandOver, collections_of, own_collections
from shared.memory import MemoryReader, MemoryStore
from shared.memory_generations import MemoryRegistry
from shared.numbering import NUMBER, ORIGIN
from shared.protocols import Message, Partition, Progress, Record
from shared.runner import Runner
from shared.versions import LiveStore
from tests.builders import STRENGTH, TOPICS, MemoryKith, event, recorded, retracted, stored_state
from tests.vault_support import SameKeys

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

    def workshop(self, owner: str = "rebuild", publisher: Any = None) -> Workshop:
        def prepare(version: int) -> None:
            for name in collections_of(own_collections(COLLECTIONS), version):
                self.store.collections.setdefault(name, {})
                self.store._specs = {**self.store._specs, **collections_of(COLLECTIONS, version)}

        def reader() -> MemoryReader:
            found = MemoryReader(self.kith.log, most=4)
            found.assign(self.kith.inputs)
            return found

        return Workshop(
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

    def begin(self, workshop: Workshop) -> int:
        return begin(workshop, self.firsts)

    def build(self, workshop: Workshop, target: int, steps: int = 10_000) -> None:
        """Until it is level with the live version, or for so many steps."""
        left = steps

        def done(runner: Runner) -> bool:
            nonlocal left
            left -= 1
            return left < 0 or arrived(runner, offsets(self.registry, self.registry.read().live))

        bounds = LiveBounds(self.registry, target, workshop.owner, clock=lambda: self.kith.now)
        build(workshop, target, bounds, done)
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


@pytest.fixture
def service() -> Service:
    return Service()


def switch(workshop: Workshop, target: int) -> list[str]:
    return list(hand_over(workshop, target))


def test_a_version_is_built_beside_the_live_one_without_side_effects(service: Service) -> None:
    service.send(60)
    service.drain()
    log = {p: list(records) for p, records in service.kith.log.records.items()}
    letters = dict(service.store.collections["dead_letters"])
    assert letters
    for letter in service.store.collections["dead_letters"].values():
        letter["discard_reason"] = "seen"
    workshop = service.workshop()
    target = service.begin(workshop)
    service.build(workshop, target)
    assert target == 2
    assert service.documents(2) == service.documents(1)
    assert service.kith.log.records == log, "something was published again"
    assert not service.store.outbox
    assert all(one["discard_reason"] == "seen" for one in service.store.collections["dead_letters"].values())


def test_it_never_passes_the_live_version(service: Service) -> None:
    service.send(12)
    service.drain()
    service.send(40, start=12)
    workshop = service.workshop()
    target = service.begin(workshop)
    reached = offsets(service.registry, 1)
    service.build(workshop, target, steps=50)
    assert offsets(service.registry, 2) == reached
    service.work(3)
    service.build(workshop, target)
    assert offsets(service.registry, 2) == offsets(service.registry, 1)


def test_a_rebuild_goes_on_where_it_was(service: Service) -> None:
    service.send(60)
    service.drain()
    workshop = service.workshop("one")
    target = service.begin(workshop)
    service.build(workshop, target, steps=4)
    first = offsets(service.registry, 2)
    assert 0 < sum(first.values()) < sum(offsets(service.registry, 1).values())
    again = service.workshop("two")
    assert service.begin(again) == target
    service.build(again, target)
    assert service.documents(2) == service.documents(1)


def test_the_process_that_was_there_before_gives_way(service: Service) -> None:
    service.send(60)
    service.drain()
    one, two = service.workshop("one"), service.workshop("two")
    target = service.begin(one)
    taken = False

    def done(_: Runner) -> bool:
        nonlocal taken
        if not taken and any(offsets(service.registry, 2).values()):
            taken = True
            service.build(two, target, steps=6)
        service.kith.now += 10.0
        return False

    with pytest.raises(Superseded, match="two has taken over"):
        build(one, target, LiveBounds(service.registry, target, "one", lambda: service.kith.now), done,
              clock=lambda: service.kith.now)  # fmt: skip
    service.build(two, target)
    assert service.documents(2) == service.documents(1)


@pytest.mark.parametrize("what", ["dropped", "switched to", "being switched to"])
def test_who_builds_a_version_ends_when_it_is(service: Service, what: str) -> None:
    """It stores nothing more of a version that is live or gone."""
    service.send(60)
    service.drain()
    builder, other = service.workshop("builder"), service.workshop("other")
    target = service.begin(builder)
    done_so = False
    looked = count()

    def done(_: Runner) -> bool:
        nonlocal done_so
        service.kith.now += 10.0
        assert next(looked) < 500, "it does not notice"
        if not done_so and any(offsets(service.registry, 2).values()):
            done_so = True
            if what == "dropped":
                list(drop(other, lambda _: None))
            elif what == "switched to":
                switch(other, target)
            else:
                next(hand_over(other, target))
        return False

    patterns = {"dropped": "has been dropped", "switched to": "is live now", "being switched to": "is switching"}
    bounds = LiveBounds(service.registry, target, "builder", lambda: service.kith.now)
    with pytest.raises(Superseded, match=patterns[what]):
        build(builder, target, bounds, done, clock=lambda: service.kith.now)
    assert done_so
    if what == "dropped":
        assert not any(service.documents(2).values())
        assert not service.registry.stands(2)
    service.registry.seconds += 31
    service.send(20, start=60)
    service.drain()
    service.check()


def test_a_claim_that_crosses_the_end_of_its_version_is_void(service: Service) -> None:
    """The version is dropped between the look before a claim and the claim itself."""
    service.send(20)
    service.drain()
    workshop = service.workshop("builder")
    target = service.begin(workshop)
    service.build(workshop, target)
    store = BuildingStore(replace(workshop, registry=Crossing(service)), target)
    with pytest.raises(Superseded, match="has been dropped"):
        store.claim("relations@1/kith.relations/1", "builder")


class Crossing(MemoryRegistry):
    """A registry in which the version is dropped right after the first look."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.store, "relations")
        self._service = service
        self._looked = 0

    def read(self) -> Generations:
        found = self._service.registry.read()
        self._looked += 1
        if self._looked == 1:
            list(drop(self._service.workshop("other"), lambda _: None))
        return found


def test_switch_and_rollback_and_drop(service: Service) -> None:
    service.send(50)
    service.drain()
    workshop = service.workshop()
    target = service.begin(workshop)
    service.build(workshop, target)
    service.send(30, start=50)
    service.work(4)
    assert switch(workshop, target)[-1] == "version 2 is live"
    assert {stand.owner for stand in service.registry.stands(2).values()} == {"worker-0"}
    service.drain()
    service.check()
    assert service.documents(1) != service.documents(2), "the old version has moved on"

    assert switch(workshop, 1)[-1] == "version 1 is live"
    service.send(30, start=80)
    service.drain()
    service.check()

    list(drop(workshop, lambda _: None))
    assert not any(service.documents(2).values())
    assert not [id for id in service.store.positions if id.startswith("relations@2")]
    service.send(10, start=110)
    service.drain()
    service.check()
    assert service.begin(workshop) == 3, "a number was given twice"


def test_the_first_version_can_be_dropped_and_workers_go_on(service: Service) -> None:
    service.send(50)
    service.drain()
    workshop = service.workshop()
    service.build(workshop, service.begin(workshop))
    switch(workshop, 2)
    list(drop(workshop, lambda _: None))
    assert not any(service.documents(1).values())
    service.send(20, start=50)
    service.start_worker()
    service.drain()
    service.check()


def test_the_live_version_and_what_is_not_there_cannot_be_dropped(service: Service) -> None:
    with pytest.raises(ConfigurationError, match="the only one"):
        list(drop(service.workshop()))
    with pytest.raises(Failed, match="not beside"):
        list(hand_over(service.workshop(), 2))


def test_a_third_version_waits_until_the_one_kept_is_dropped(service: Service) -> None:
    service.send(5)
    service.drain()
    workshop = service.workshop()
    service.build(workshop, service.begin(workshop))
    switch(workshop, 2)
    with pytest.raises(ConfigurationError, match="kept for a rollback"):
        service.begin(workshop)


def test_a_log_without_its_beginning_is_not_rebuilt_by_chance(service: Service) -> None:
    service.send(60)
    service.drain()
    service.kith.log.trim(max(service.kith.inputs, key=service.kith.log.end), 2)
    with pytest.raises(ConfigurationError, match="begins at 2"):
        service.begin(service.workshop())
    assert service.registry.read().building is None
    assert begin(service.workshop(), service.firsts, incomplete=True) == 2


def test_a_hand_over_that_died_ends_by_itself(service: Service) -> None:
    service.send(50)
    service.drain()
    workshop = service.workshop()
    service.build(workshop, service.begin(workshop))
    service.send(30, start=50)
    stopped = hand_over(workshop, 2)
    for step in stopped:
        if step.startswith("stopped kith.relations/1"):
            break
    before = offsets(service.registry, 1)
    service.work(20)
    assert offsets(service.registry, 1) == before, "a partition that was stopped has moved"
    service.registry.seconds += 31
    service.drain()
    assert service.registry.read().hand_over is None
    service.check()
    with pytest.raises(Failed):
        list(stopped)
    assert service.registry.read().live == 1
    service.drain()
    service.check()


def test_a_hand_over_cannot_end_once_it_is_overdue(service: Service) -> None:
    service.send(50)
    service.drain()
    workshop = service.workshop()
    service.build(workshop, service.begin(workshop))
    steps = hand_over(workshop, 2)
    for step in steps:
        if step.startswith("numbered"):
            break
    service.registry.seconds += 31
    service.send(9, start=50)
    service.work(5)
    with pytest.raises(Failed, match="took longer"):
        list(steps)
    service.drain()
    service.check()


def test_a_failed_hand_over_is_cancelled_at_once(service: Service) -> None:
    class Broken:
        def send(self, _: Any) -> Any:
            raise Unavailable("no brokers")

        def close(self) -> None: ...

    service.send(20)
    service.drain()
    workshop = service.workshop(publisher=Broken())
    service.build(workshop, service.begin(workshop))
    service.send(20, start=20)
    service.kith.publisher.available = False
    service.work(3)
    assert service.store.outbox
    with pytest.raises(Failed, match="no brokers"):
        list(hand_over(workshop, 2))
    assert service.registry.read().hand_over is None
    service.kith.publisher.available = True
    service.drain()
    service.check()


def test_what_was_not_published_yet_goes_out_before_the_new_version_goes_on(service: Service) -> None:
    service.send(40)
    service.kith.publisher.available = False
    service.work(8)
    service.kith.publisher.available = True
    assert service.store.outbox
    workshop = service.workshop()
    target = service.begin(workshop)
    service.build(workshop, target)
    assert any(step.startswith("published") for step in switch(workshop, target))
    service.drain()
    service.check()


class Narrow(RelationsProjection):
    """The code as it was once: it did not know amendments of the third relation, nor what happens with p1."""

    def decode(self, record: Record) -> Any:
        event: Any = super().decode(record)
        if event.data.relation_id == "r3" or getattr(event.data, "provider_id", None) == "p1":
            raise InvalidEvent("invalid", "not known yet")
        return event


def corrected(service: Service, live: int, target: int) -> Corrections:
    """Those of the real thing, with documents in memory."""

    def rows(version: int) -> list[Row]:
        facts = service.documents(version)["relations"]
        return [Row(id.encode(), bson.encode(fact)) for id, fact in sorted(facts.items())]

    def correct(hand_over: HandOver, marks: Mapping[str, Progress]) -> Mapping[str, list[Message]]:
        return corrections(differing_facts(rows(live), rows(target)), hand_over, marks, TOPICS)

    return correct


def known_to_readers(service: Service) -> dict[str, int]:
    """What the changes add up to, as states of facts and how often each counts."""
    states: Counter[str] = Counter()
    for (_, partition), changes in service.changes().items():
        for raw in changes if partition.topic == TOPICS.name("relation-changes") else ():
            decode_change(raw or b"")
            change = orjson.loads(raw or b"")
            data = change["data"]
            name = f"{change['tenant']}:{data['consumer_id']}:{data['relation_id']}"
            for state, sign in ((data["before"], -1), (data["after"], 1)):
                if state is not None:
                    states[f"{name} {json.dumps(state, sort_keys=True)}"] += sign
    return {state: count for state, count in states.items() if count}


def told_of(service: Service, version: int) -> dict[str, int]:
    return {
        f"{id} {json.dumps(orjson.loads(orjson.dumps(state)), sort_keys=True)}": 1
        for id, fact in service.documents(version)["relations"].items()
        if (state := told(fact)) is not None
    }


@pytest.mark.parametrize("failed_before", [False, True])
def test_readers_are_told_of_the_facts_that_other_code_makes(failed_before: bool) -> None:
    """The old code refused events that the new one takes. Each fact that differs is told of once, so that what
    readers have added up is what is stored; and so it is again after a rollback."""
    service = Service()
    service.projection = Narrow(TOPICS, STRENGTH, max_future_seconds=86_400)
    service.workers.clear()
    service.start_worker()
    service.send(80)
    service.drain()
    assert known_to_readers(service) == told_of(service, 1)
    workshop = service.workshop()
    service.build(workshop, service.begin(workshop))
    assert told_of(service, 1) != told_of(service, 2)
    if failed_before:
        steps = hand_over(workshop, 2, corrected(service, 1, 2))
        for step in steps:
            if step.startswith("numbered kith.relations/1"):
                break
        assert service.store.outbox, "there was nothing to tell"
        service.registry.seconds += 31
        service.send(10, start=80)
        service.drain_live()
        assert known_to_readers(service) == told_of(service, 1)
        approach(workshop, 2, None)
    steps_done = list(hand_over(workshop, 2, corrected(service, 1, 2)))
    assert any(step.startswith("found ") and step != "found 0 corrections" for step in steps_done)
    assert steps_done[-1].startswith("published what was left"), "it would wait for the next event"
    assert known_to_readers(service) == told_of(service, 2)

    service.projection = service.kith.projection
    service.workers.clear()
    service.start_worker()
    service.send(20, start=100)
    service.drain()
    assert known_to_readers(service) == told_of(service, 2)
    assert told_of(service, 2) == dict.fromkeys(told_of_events(service.sent), 1), (
        "not a fold of all events by the new code"
    )

    list(hand_over(workshop, 1, corrected(service, 2, 1)))
    service.send(20, start=120)
    service.drain()
    assert known_to_readers(service) == told_of(service, 1)


@pytest.mark.parametrize("sealed", [False, True], ids=["hashed", "vault"])
def test_what_readers_are_told_of_a_pseudonym_names_nobodys_event(sealed: bool) -> None:
    kith = MemoryKith(partitions=1, vault=SameKeys if sealed else None)
    kith.publish([recorded("till-1", "2026-01-01T00:00:00Z", "sale-1"), recorded("e2", "2026-01-01T00:00:00Z")])
    kith.publish([recorded("e3", "2026-01-01T00:00:00Z", consumer_id="c2")])
    kith.publish(
        [event("consumer.erased", "x", "2026-02-01T00:00:00Z", {"consumer_id": "c1", "mode": "anonymise"})]
    )
    kith.drain()
    facts = kith.documents()["relations"].values()
    marks = {"kith.relations/0": Progress(9)}
    switching = HandOver("h", "me", 2, EPOCH)
    made = corrections([(None, fact) for fact in facts], switching, marks, TOPICS)["kith.relations/0"]
    causes = Counter(decode_change(message.value).data.cause.id for message in made)
    assert causes == {"anonymised": 2, "e3": 1}
    assert not [message for message in made if b"till-" in message.value or b"sale-" in message.value]


def told_of_events(events: list[Any]) -> list[str]:
    plain = Service()
    plain.store.collections["relations"] = stored_state(events)["relations"]
    return list(told_of(plain, 1))


def _lives(service: Service) -> Iterator[Callable[[], Iterator[str]]]:
    """The operations of an operator's day, each by a process of its own."""
    number = 0

    def workshop() -> Workshop:
        nonlocal number
        number += 1
        return service.workshop(f"operator-{number}")

    def built() -> Iterator[str]:
        one = workshop()
        target = service.begin(one)
        yield "begun"
        service.build(one, target, steps=5)
        yield "half"
        service.build(one, target)
        yield "built"

    def switched() -> Iterator[str]:
        one = workshop()
        target = service.registry.read().other
        assert target is not None
        approach(one, target, None)
        yield from hand_over(one, target)

    def dropped() -> Iterator[str]:
        yield from drop(workshop(), lambda _: None)

    yield built
    yield switched
    yield switched
    yield switched
    yield dropped
    yield built
    yield switched


@hypothesis_settings(max_examples=60)
@given(st.data())
def test_stopped_after_any_step_it_goes_on_exactly(data: st.DataObject) -> None:
    """Each operation dies after some step, perhaps twice, while events flow and workers come; then it is done
    again (a switch, unless it was through) and the whole must be as if there had been no operation at all."""
    service = Service()
    sent = 0

    def live() -> None:
        nonlocal sent
        count = data.draw(st.integers(0, 4), label="events")
        service.send(count, start=sent)
        sent += count
        if data.draw(st.integers(0, 9), label="worker") == 0:
            service.start_worker()
        service.work(data.draw(st.integers(0, 3), label="steps"))

    service.send(30)
    sent = 30
    service.work(3)
    for operation in _lives(service):
        before = service.registry.read()
        for _ in range(data.draw(st.integers(0, 2), label="crashes")):
            survived = data.draw(st.integers(0, 12), label="dies after")
            try:
                for number, _step in enumerate(operation()):
                    live()
                    if number >= survived:
                        break
            except (Superseded, Failed):
                pass
            if data.draw(st.booleans(), label="long pause"):
                service.registry.seconds += 31
            live()
            if _through(before, service):
                break
        if not _through(before, service):
            for _step in operation():
                live()
        found = service.registry.read()
        assert found.hand_over is None or service.registry.seconds >= 0
        assert len({found.live, found.other}) == 2
    service.drain()
    service.check()


def _through(before: Any, service: Service) -> bool:
    """Whether the operation has done what it was to do."""
    found = service.registry.read()
    if before.other is None:
        return False  # building can be gone on with
    return bool(found.live != before.live or (found.other is None and found.dropping is None))
