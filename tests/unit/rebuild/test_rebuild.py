"""Building a version beside the live one, switching and dropping, in memory."""

from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from services.rebuild.build import BuildingStore, LiveBounds, Superseded, build, offsets
from services.rebuild.handover import Failed, hand_over
from services.rebuild.versions import begin, drop
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.runtime.runner import Runner
from shared.testing.memory_registry import MemoryRegistry
from shared.versions.generations import Generations
from tests.support.rebuild import Service, switch


@pytest.fixture
def service() -> Service:
    return Service()


def test_a_version_is_built_beside_the_live_one_without_side_effects(service: Service) -> None:
    service.send(60)
    service.drain()
    log = {p: list(records) for p, records in service.kith.log.records.items()}
    letters = dict(service.store.collections["dead_letters"])
    assert letters
    for letter in service.store.collections["dead_letters"].values():
        letter["discard_reason"] = "seen"
    context = service.context()
    target = service.begin(context)
    service.build(context, target)
    assert target == 2
    assert service.documents(2) == service.documents(1)
    assert service.kith.log.records == log, "something was published again"
    assert not service.store.outbox
    assert all(one["discard_reason"] == "seen" for one in service.store.collections["dead_letters"].values())


def test_it_never_passes_the_live_version(service: Service) -> None:
    service.send(12)
    service.drain()
    service.send(40, start=12)
    context = service.context()
    target = service.begin(context)
    reached = offsets(service.registry, 1)
    service.build(context, target, steps=50)
    assert offsets(service.registry, 2) == reached
    service.work(3)
    service.build(context, target)
    assert offsets(service.registry, 2) == offsets(service.registry, 1)


def test_a_rebuild_goes_on_where_it_was(service: Service) -> None:
    service.send(60)
    service.drain()
    context = service.context("one")
    target = service.begin(context)
    service.build(context, target, steps=4)
    first = offsets(service.registry, 2)
    assert 0 < sum(first.values()) < sum(offsets(service.registry, 1).values())
    again = service.context("two")
    assert service.begin(again) == target
    service.build(again, target)
    assert service.documents(2) == service.documents(1)


def test_the_process_that_was_there_before_gives_way(service: Service) -> None:
    service.send(60)
    service.drain()
    one, two = service.context("one"), service.context("two")
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
    builder, other = service.context("builder"), service.context("other")
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
        assert not service.registry.positions(2)
    service.registry.seconds += 31
    service.send(20, start=60)
    service.drain()
    service.check()


def test_a_claim_that_crosses_the_end_of_its_version_is_void(service: Service) -> None:
    """The version is dropped between the look before a claim and the claim itself."""
    service.send(20)
    service.drain()
    context = service.context("builder")
    target = service.begin(context)
    service.build(context, target)
    store = BuildingStore(replace(context, registry=Crossing(service)), target)
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
            list(drop(self._service.context("other"), lambda _: None))
        return found


def test_switch_and_rollback_and_drop(service: Service) -> None:
    service.send(50)
    service.drain()
    context = service.context()
    target = service.begin(context)
    service.build(context, target)
    service.send(30, start=50)
    service.work(4)
    assert switch(context, target)[-1] == "version 2 is live"
    assert {stand.owner for stand in service.registry.positions(2).values()} == {"worker-0"}
    service.drain()
    service.check()
    assert service.documents(1) != service.documents(2), "the old version has moved on"

    assert switch(context, 1)[-1] == "version 1 is live"
    service.send(30, start=80)
    service.drain()
    service.check()

    list(drop(context, lambda _: None))
    assert not any(service.documents(2).values())
    assert not [id for id in service.store.positions if id.startswith("relations@2")]
    service.send(10, start=110)
    service.drain()
    service.check()
    assert service.begin(context) == 3, "a number was given twice"


def test_the_first_version_can_be_dropped_and_workers_go_on(service: Service) -> None:
    service.send(50)
    service.drain()
    context = service.context()
    service.build(context, service.begin(context))
    switch(context, 2)
    list(drop(context, lambda _: None))
    assert not any(service.documents(1).values())
    service.send(20, start=50)
    service.start_worker()
    service.drain()
    service.check()


def test_the_live_version_and_what_is_not_there_cannot_be_dropped(service: Service) -> None:
    with pytest.raises(ConfigurationError, match="the only one"):
        list(drop(service.context()))
    with pytest.raises(Failed, match="not beside"):
        list(hand_over(service.context(), 2))


def test_a_third_version_waits_until_the_one_kept_is_dropped(service: Service) -> None:
    service.send(5)
    service.drain()
    context = service.context()
    service.build(context, service.begin(context))
    switch(context, 2)
    with pytest.raises(ConfigurationError, match="kept for a rollback"):
        service.begin(context)


def test_a_log_without_its_beginning_is_not_rebuilt_by_chance(service: Service) -> None:
    service.send(60)
    service.drain()
    service.kith.log.trim(max(service.kith.inputs, key=service.kith.log.end), 2)
    with pytest.raises(ConfigurationError, match="begins at 2"):
        service.begin(service.context())
    assert service.registry.read().building is None
    assert begin(service.context(), service.firsts, incomplete=True) == 2


def test_a_hand_over_that_died_ends_by_itself(service: Service) -> None:
    service.send(50)
    service.drain()
    context = service.context()
    service.build(context, service.begin(context))
    service.send(30, start=50)
    stopped = hand_over(context, 2)
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
    context = service.context()
    service.build(context, service.begin(context))
    steps = hand_over(context, 2)
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
    context = service.context(publisher=Broken())
    service.build(context, service.begin(context))
    service.send(20, start=20)
    service.kith.publisher.available = False
    service.work(3)
    assert service.store.outbox
    with pytest.raises(Failed, match="no brokers"):
        list(hand_over(context, 2))
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
    context = service.context()
    target = service.begin(context)
    service.build(context, target)
    assert any(step.startswith("published") for step in switch(context, target))
    service.drain()
    service.check()
