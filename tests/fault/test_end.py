"""SIGTERM under load: every worker ends in time, and the next ones go on exactly where it stopped."""

import time
from collections.abc import Sequence

import pytest

from shared.local.processes import Process
from tests.fault.load import market_items
from tests.fault.log import numbered, read_log
from tests.fault.system import System

SEED = 101
#: Whoever asks for the end (`kith up`, the tests) kills after so many seconds; compose waits longer.
#: What docker-compose.yml, `kith up` and Kubernetes give.
GRACE_SECONDS = 30.0


@pytest.mark.fast
def test_all_are_asked_to_stop_and_others_go_on(system: System) -> None:
    """What they have stored they have published, too, and cleared. One of them is no fork."""
    system.start_all(relations=1)
    system.start_fresh("relations")
    load = system.load(market_items(100_000, SEED), rate=400)
    # Else a partition on its way from one to the other may have neither, and its outbox waits.
    system.wait_balanced()
    system.wait_stored(300)
    end(system, list(system.workers))
    assert system.database.outbox.count_documents({}) == 0, "something is left to be published"
    system.start_all()
    system.wait_stored(300)
    load.cut()
    system.verify()


def test_one_after_the_other_does_nothing_twice(system: System) -> None:
    """With one worker there is no rebalance, so that not even a change may lie in its log twice."""
    load = system.load(market_items(100_000, SEED), rate=500)
    for _ in range(4):
        system.start_all(relations=1)
        system.wait_stored(400)
        system.wait_stored(200, "analytics")
        end(system, list(system.workers))
        assert system.database.outbox.count_documents({}) == 0, "something is left to be published"
    system.start_all(relations=1)
    load.cut()
    system.verify()
    changes = read_log(system.settings, [f"{system.settings.topic_prefix}.relation-changes"])
    numbers = [(origin, number) for each in changes.values() for _, origin, number in numbered(each)]
    assert len(numbers) == len(set(numbers)), "changes were published twice"


def end(system: System, workers: Sequence[Process]) -> None:
    """All of them end in time and well."""
    began = time.monotonic()
    for worker in workers:
        worker.ask_to_stop()
    system.wait("the end of the workers", lambda: not any(w.running for w in workers), 90, workers)
    lasted = time.monotonic() - began
    assert {worker.name: worker.returncode for worker in workers} == {w.name: 0 for w in workers}, system.tails()
    assert lasted < GRACE_SECONDS, (
        f"it took {lasted:.0f} s, and whoever asks kills after {GRACE_SECONDS:.0f}\n{system.tails()}"
    )
    for worker in workers:
        system.forget(worker)


@pytest.mark.fast
@pytest.mark.parametrize("server", ["kafka", "mongo"])
def test_asked_to_stop_while_a_server_is_away(system: System, server: str) -> None:
    """A server is killed. Half of the workers are asked to stop: they cannot finish, and end in time all the same.
    The others wait for the server; they and the next ones find everything."""
    system.start_all()
    load = system.load(market_items(100_000, SEED), rate=400)
    system.wait_balanced()
    system.wait_stored(300)
    node = system.kafka if server == "kafka" else system.mongo
    node.kill()
    time.sleep(2)
    end(system, system.workers[1:])
    node.start()
    system.start_all(relations=1)
    system.wait_stored(200)
    load.cut()
    system.verify()
