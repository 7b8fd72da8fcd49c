"""The checker is checked: with a protection switched off, the invariant must not hold.

Protections overlap, so some faults need two of them off; the pairs say which covers which.
"""

import os
import signal

import pytest

from tests.fault.load import market_items, one_day
from tests.fault.system import System

EVENTS, SEED = 1_500, 31


def broken(system: System) -> list[str]:
    """What the checker finds once every message is read. Raises AssertionError when that takes too long, unless
    the checker has found something by then."""
    try:
        system.wait_drained(published=False)
    except AssertionError:
        if not system.watch.wrong:
            raise
    return system.findings()


@pytest.mark.fast
def test_without_versions_disorder_shows(system: System) -> None:
    system.start_all(relations=1, sabotage="no-version")
    system.load(market_items(EVENTS, SEED), rate=1_500)
    assert any(found.startswith("relations ") for found in broken(system))


@pytest.mark.fast
def test_without_numbers_a_change_published_twice_counts_twice(system: System) -> None:
    victim = system.start("relations", fault="after-publish:kill:3")
    system.start("analytics", sabotage="no-numbers")
    # Facts alone: the lot that is published twice must be one that analytics counts, whichever it is.
    system.load(one_day(EVENTS), rate=1_500)
    system.wait_killed(victim)
    system.start("relations")
    found = broken(system)
    assert any("aggregates" in each for each in found), found


@pytest.mark.fast
def test_without_the_outbox_drain_changes_are_lost(system: System) -> None:
    victim = system.start("relations", fault="after-commit:kill:3")
    system.start("analytics")
    # Facts alone: the slice that it dies after must be one with changes, whichever it is.
    system.load(one_day(EVENTS), rate=1_500)
    system.wait_killed(victim)
    system.start("relations", sabotage="no-outbox-drain")
    found = broken(system)
    assert any("reach a reader" in each for each in found), found
    assert any("left in the outbox" in each for each in found), found


def test_without_stored_numbers_readers_stop_counting(system: System) -> None:
    system.start_all(relations=1, sabotage="no-emitted")
    system.load(market_items(EVENTS, SEED), rate=1_500)
    assert any("reach a reader" in found for found in broken(system))


def zombie(system: System, service: str, sabotage: str) -> list[str]:
    """A worker stops before the transaction of its slice; others take its partitions over and do all the work.
    Then it goes on, undisturbed, and once it has, there are more events."""
    sleeper = system.start(service, fault="before-transaction:stop:4", sabotage=sabotage)
    system.start("analytics" if service == "relations" else "relations")
    # So many that no partition's last slice can be the fourth: to repeat that one would change nothing.
    system.load(one_day(3_000), rate=1_500)
    system.wait_struck(sleeper)
    system.start(service, sabotage=sabotage)
    system.wait_dispossessed(sleeper)
    system.wait_drained(published=False)
    os.kill(sleeper.pid or 0, signal.SIGCONT)
    system.wait("the end of its slice, stored or refused", lambda: "is past" in sleeper.log.read_text())
    system.load(one_day(3_200), rate=3_000)
    found = broken(system)
    assert sleeper.running, system.tails()
    return found


@pytest.mark.fast
def test_without_compare_and_set_and_guards_a_zombie_overwrites_aggregates(system: System) -> None:
    """With the guards on, a presence document or an insert makes the slice Stale, and while it waits to be folded
    anew, the worker hears that the partition is no longer its own."""
    found = zombie(system, "analytics", "no-cas,no-guard")
    # Who claims the partition after it reads on from where it has put the position, and may repair the rest.
    assert any("went back" in each or "aggregates" in each for each in found), found


def test_without_compare_and_set_and_guards_a_zombie_overwrites_facts(system: System) -> None:
    """With the guards on, its slice is Stale, folded anew, and found to say nothing new."""
    found = zombie(system, "relations", "no-cas,no-guard")
    assert any("went back" in each or each.startswith("relation") for each in found), found


def test_the_offset_alone_fences_a_zombie(system: System) -> None:
    """The compare-and-set looks at epoch and offset. Of the two, the offset alone keeps everything exact: it only
    rises, and whoever loses the race is fenced. The epoch makes that certain also before the new owner has stored
    anything. So this sabotage cannot be seen; together with the offset's (no-cas) it can."""
    assert zombie(system, "analytics", "no-epoch") == []


def test_without_the_offset_a_commit_whose_answer_is_lost_counts_twice(system: System) -> None:
    """The epoch says nothing about the same worker's second try, unless that begins with a claim of its own."""
    system.start("relations")
    system.start("analytics", sabotage="no-next,no-new-claim", fault="after-commit:lost:2,after-commit:lost:4")
    system.load(market_items(EVENTS, SEED), rate=1_500)
    assert any("aggregates" in found for found in broken(system))
