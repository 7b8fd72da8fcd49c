"""A worker is stopped past its session's end, holding a slice, and goes on when another has its partitions."""

import os
import signal

import pytest

from shared.local.processes import Process
from tests.fault.load import market_items
from tests.fault.system import System, state_of

EVENTS, SEED = 2_500, 41


def wake(system: System, sleeper: Process, service: str, work: int = 100) -> None:
    """Continue a stopped worker once all its partitions belong to others, who have stored ``work`` events, or as
    many as there are."""
    stored = system.stored(service)
    system.wait_dispossessed(sleeper)
    system.wait(
        f"work of {service} by others",
        lambda: system.stored(service) >= stored + work or not system.loading,
        may_end=[sleeper],
    )
    assert state_of(sleeper) == "T"
    os.kill(sleeper.pid or 0, signal.SIGCONT)


STEPS = (
    "after-claim",
    "after-decode",
    "before-transaction",
    "after-advance",
    "before-commit",
    "after-commit",
    "before-publish",
    "half-published",
    "before-clear",
)


@pytest.mark.fast
def test_three_stopped_at_different_steps(system: System) -> None:
    steps = ("before-transaction", "before-commit", "before-publish")
    sleepers = [system.start("relations", fault=f"{step}:stop:2") for step in steps]
    # Until all are struck: each gets to its fault only while there is work.
    load = system.load(market_items(100_000, SEED), rate=250)
    system.wait_struck(*sleepers)
    system.start_all()
    for sleeper in sleepers:
        wake(system, sleeper, "relations")
    load.cut()
    system.verify()


@pytest.mark.parametrize("step", STEPS)
def test_relations_stopped_at(system: System, step: str) -> None:
    sleeper = system.start("relations", fault=f"{step}:stop:{2 if 'cl' in step else 4}")
    system.load(market_items(EVENTS, SEED), rate=250)
    system.wait_struck(sleeper)
    system.start_all()
    wake(system, sleeper, "relations")
    system.verify()


@pytest.mark.parametrize("step", ["before-transaction", "before-commit"])
def test_analytics_stopped_at(system: System, step: str) -> None:
    sleeper = system.start("analytics", fault=f"{step}:stop:4")
    system.start_all(relations=1, analytics=0)
    system.load(market_items(EVENTS, SEED), rate=250)
    system.wait_struck(sleeper)
    system.start("analytics")
    wake(system, sleeper, "analytics")
    system.verify()
