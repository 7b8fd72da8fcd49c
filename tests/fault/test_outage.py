"""MongoDB is unavailable for a while, and events keep coming: nothing is given up, and memory stays flat."""

import time

import pytest

from shared.local.processes import Process
from tests.fault.conftest import Start
from tests.fault.load import market_items
from tests.fault.system import PATIENCE_SECONDS, System, memory_mb
from tests.support.plain_http import request

SEED = 61
AWAY_SECONDS = 150.0
#: A worker may take so much more (MB) while it waits: what it has fetched by then, and the driver's threads.
ROOM_MB = 40.0


@pytest.mark.timeout(900)
def test_mongodb_is_away_under_load(system: System) -> None:
    system.start_all()
    load = system.load(market_items(100_000, SEED), rate=150)
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
    load.cut()
    system.wait_drained(2 * PATIENCE_SECONDS)
    assert system.database.dead_letters.count_documents({}) == 0
    system.verify()


def test_the_worker_says_that_it_waits(start_system: Start) -> None:
    """A worker that has events and cannot store them is not ready, after the time that the setting says."""
    system = start_system(stuck_seconds=2)
    worker = system.start("relations")
    system.start("analytics")
    load = system.load(market_items(100_000, SEED), rate=200)
    system.wait_stored(300)
    system.wait("readiness", lambda: health(worker) == 200)
    system.mongo.kill()
    system.wait("unreadiness", lambda: health(worker) == 503)
    system.mongo.start()
    system.wait("readiness", lambda: health(worker) == 200)
    system.wait_stored(100)
    load.cut()
    system.verify()


def health(worker: Process) -> int:
    (line,) = [line for line in worker.log.read_text().splitlines() if "url=" in line]
    url = line.partition("url=")[2].split()[0]
    return request("GET", f"{url}/health/ready").status_code
