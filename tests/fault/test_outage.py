"""MongoDB is away for a while, and events keep coming: nothing is given up, and memory stays flat."""

import time

import httpx
import pytest

from shared.local.processes import Process, tail
from tests.fault.load import market_items
from tests.fault.system import PATIENCE_SECONDS, System, memory_mb

EVENTS, SEED = 6_000, 61
AWAY_SECONDS = 30.0
#: A worker may take so much more (MB) while it waits: what it has fetched by then, and the driver's threads.
ROOM_MB = 40.0


def test_mongodb_is_away_under_load(system: System) -> None:
    system.start_all()
    load = system.load(market_items(EVENTS, SEED), rate=150)
    system.wait_stored(400)
    system.mongo.kill()
    time.sleep(5)
    before = {worker.name: memory_mb(worker) for worker in system.workers}
    began, peak = time.monotonic(), dict(before)
    while time.monotonic() - began < AWAY_SECONDS:
        for worker in system.workers:
            worker.check()
            peak[worker.name] = max(peak[worker.name], memory_mb(worker))
        time.sleep(0.5)
    assert load.running, "events stopped coming"
    system.mongo.start()
    assert all(peak[name] < before[name] + ROOM_MB for name in before), (before, peak)
    system.wait_drained(2 * PATIENCE_SECONDS)
    assert system.database.dead_letters.count_documents({}) == 0
    system.verify()


@pytest.mark.fast
def test_a_worker_is_asked_to_stop_while_mongodb_is_away(system: System) -> None:
    """It cannot finish, and ends within the grace period all the same; the next one finds everything."""
    system.start_all(relations=1)
    system.load(market_items(1_500, SEED), rate=400)
    system.wait_stored(300)
    system.mongo.kill()
    time.sleep(2)
    began = time.monotonic()
    for worker in system.workers:
        worker.ask_to_stop()
    system.wait("the end of the workers", lambda: not any(w.running for w in system.workers), 60, system.workers)
    lasted = time.monotonic() - began
    statuses = [worker.returncode for worker in system.workers]
    for worker in list(system.workers):
        system.forget(worker)
    system.mongo.start()
    system.start_all()
    system.verify()
    assert lasted < 15, f"it took {lasted:.0f} s, and whoever asks kills after 15"
    assert statuses == [0, 0]


@pytest.mark.fast
def test_the_worker_says_that_it_waits(system: System) -> None:
    (worker,) = system.workers or [system.start("relations")]
    system.start("analytics")
    system.load(market_items(600, SEED), rate=1_000)
    system.wait_stored(300)
    assert health(worker) == 200
    system.mongo.kill()
    began = time.monotonic()
    while health(worker) == 200:
        assert time.monotonic() - began < PATIENCE_SECONDS, f"it still claims to be ready\n{system.tails()}"
        time.sleep(1)
    system.mongo.start()
    system.wait("readiness", lambda: health(worker) == 200)
    system.verify()


def health(worker: Process) -> int:
    (line,) = [line for line in tail(worker.log, 200).splitlines() if "url=" in line]
    url = line.partition("url=")[2].split()[0]
    return httpx.get(f"{url}/health/ready", trust_env=False, timeout=10).status_code
