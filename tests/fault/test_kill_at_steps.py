"""``kill -9`` at every step of a slice's way, under load, with another worker beside."""

import pytest

from tests.fault.load import Load, market_items
from tests.fault.points import STEPS
from tests.fault.system import System

EVENTS, SEED = 2_000, 11
#: One per stretch of the way on which different things are lost.
STRETCHES = ("after-advance", "after-commit", "half-published", "after-publish")
#: Steps that are only reached now and then: when a partition is claimed, or when there is nothing else to do.
SELDOM = {"before-claim", "after-claim", "after-drain", "before-clear", "after-clear"}
STEPS_OF_A_SLICE = [step for step in STEPS if step != "after-parcels"]


def endless(system: System) -> Load:
    """Until it is cut: with other workers beside it, a victim gets to its fault only while there is work."""
    return system.load(market_items(100_000, SEED), rate=350)


def go_on(system: System, load: Load, service: str) -> None:
    system.start(service)
    system.wait_stored(300, service)
    load.cut()
    system.verify()


@pytest.mark.fast
@pytest.mark.both
def test_four_killed_at_different_steps(system: System) -> None:
    victims = [system.start("relations", fault=f"{step}:kill:2") for step in STRETCHES]
    system.start_all(relations=1)
    load = endless(system)
    system.wait_killed(*victims)
    go_on(system, load, "relations")


@pytest.mark.parametrize("step", STEPS_OF_A_SLICE)
def test_relations_killed_at(system: System, step: str) -> None:
    victim = system.start("relations", fault=f"{step}:kill:{2 if step in SELDOM else 4}")
    system.start_all(relations=1)
    load = endless(system)
    system.wait_killed(victim)
    go_on(system, load, "relations")


@pytest.mark.fast
def test_killed_while_it_publishes_what_the_last_owner_left(system: System) -> None:
    """One worker dies with a full outbox, and so does the next before it has drained it."""
    first = system.start("relations", fault="before-publish:kill:3")
    system.load(market_items(EVENTS, SEED))
    system.wait_killed(first)
    system.wait_killed(system.start("relations", fault="after-parcels:kill:1"))
    system.wait_killed(system.start("relations", fault="before-clear:kill:1"))
    system.start_all()
    system.verify()


@pytest.mark.parametrize("step", ["after-decode", "after-advance", "after-writes", "after-commit"])
def test_analytics_killed_at(system: System, step: str) -> None:
    victim = system.start("analytics", fault=f"{step}:kill:3")
    system.start_all(relations=1, analytics=1)
    load = endless(system)
    system.wait_killed(victim)
    go_on(system, load, "analytics")
