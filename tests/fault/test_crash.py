"""A worker is killed and started again at once: nobody else's partitions pause, and readiness says what does."""

import time
from collections import defaultdict

import httpx
import pytest

from shared.local.processes import Process, free_ports
from tests.fault.conftest import Start
from tests.fault.load import market_items
from tests.fault.system import System

SEED = 23
#: Longer than a worker takes to start here, so that the group does wait for the dead one.
SESSION_SECONDS = 18.0
#: On a machine that does much else; without a rebalance, a partition commits several times a second.
MOST_PAUSED_SECONDS = 4.0


class Progress:
    """The longest time that each position has stood still since the start."""

    def __init__(self, system: System) -> None:
        self._positions = system.database.positions
        self._since: dict[str, float] = {}
        self._next: dict[str, int] = {}
        self.stood: dict[str, float] = defaultdict(float)

    def look(self) -> None:
        now = time.monotonic()
        for found in self._positions.find({"_id": {"$regex": "^relations@.*relations/"}}):
            id, next = found["_id"], found.get("next") or 0
            if self._next.get(id) != next:
                self._since[id], self._next[id] = now, next
            self.stood[id] = max(self.stood[id], now - self._since[id])


@pytest.mark.fast
@pytest.mark.both
def test_one_crashes_and_comes_back_at_once(start_system: Start) -> None:
    """Its partitions stand still for a session at most, those of the others not at all."""
    system = start_system(session_timeout_ms=int(SESSION_SECONDS * 1000))
    ports = free_ports(3)
    for port in ports:
        system.start("relations", relations_port=str(port))
    load = system.load(market_items(100_000, SEED), rate=150)
    system.wait_balanced()
    system.wait_stored(300)
    victim = system.workers[0]
    lost = {id for id, (_, pid) in system.owners("relations").items() if pid == victim.pid and "relations/" in id}
    assert lost, "each of three has some of the busiest topic's four partitions"
    progress = Progress(system)
    progress.look()
    victim.kill()
    system.forget(victim)
    back = system.start("relations", relations_port=str(ports[0]))
    noted = set[int]()

    def taken_over() -> bool:
        progress.look()
        for port in ports[1:]:
            answer = httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False, timeout=10)
            assert answer.status_code == 200, answer.text
            if "waited for a member" in answer.json().get("note", ""):
                noted.add(port)
        return all(pid != victim.pid for _, pid in system.owners("relations").values())

    system.wait("others to have its partitions", taken_over)
    until = time.monotonic() + 2

    def after() -> bool:
        progress.look()
        return time.monotonic() > until

    system.wait("the time after", after)
    others = {id: round(seconds, 1) for id, seconds in progress.stood.items() if id not in lost}
    assert others
    assert max(others.values()) < MOST_PAUSED_SECONDS, (others, system.tails())
    own = max(seconds for id, seconds in progress.stood.items() if id in lost)
    assert own < SESSION_SECONDS + MOST_PAUSED_SECONDS + 2, (dict(progress.stood), system.tails())
    assert noted == set(ports[1:]), ("readiness of the healthy ones said nothing", system.tails())
    system.wait_balanced()
    assert_shared(system, back)
    load.cut()
    system.start("analytics")
    system.verify()


def assert_shared(system: System, process: Process) -> None:
    """Each worker has some of the busiest topic's partitions."""
    topic = f"{system.settings.topic_prefix}.relations/"
    busy = [pid for id, (_, pid) in system.owners("relations").items() if topic in id]
    assert process.pid in busy
