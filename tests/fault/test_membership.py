"""Workers join and leave under load, and partitions are added."""

import pytest

from shared.kafka.topics_admin import ensure_topics
from tests.fault.conftest import Start
from tests.fault.load import market_items
from tests.fault.system import System
from tests.fault.test_end import end

SEED = 91
#: The default of production. Nobody who says goodbye is waited for so long.
SESSION_SECONDS = 45.0


@pytest.mark.fast
def test_workers_join_and_leave(start_system: Start) -> None:
    come_and_go(start_system(session_timeout_ms=int(SESSION_SECONDS * 1000)), rounds=2)


@pytest.mark.parametrize("rounds", [12])
def test_workers_join_and_leave_for_long(start_system: Start, rounds: int) -> None:
    come_and_go(start_system(session_timeout_ms=int(SESSION_SECONDS * 1000)), rounds)


def come_and_go(system: System, rounds: int) -> None:
    """Each newcomer gets partitions, the eldest then leaves; all the while events come."""
    system.start_all()
    load = system.load(market_items(100_000, SEED), rate=300)
    system.watch.busy = lambda: load.running
    for _ in range(rounds):
        eldest = {
            service: next(worker for worker in system.workers if worker.name.startswith(service))
            for service in ("relations", "analytics")
        }
        newcomers = {service: system.start(service) for service in eldest}
        for service, newcomer in newcomers.items():
            system.wait(
                f"partitions of {newcomer.name}",
                lambda service=service, pid=newcomer.pid: any(  # type: ignore[misc]
                    owner == pid for _, owner in system.owners(service).values()
                ),
            )
        end(system, list(eldest.values()))
        system.wait_stored(200)
        system.wait_stored(100, "analytics")
    load.cut()
    system.verify()
    assert system.watch.longest_stall < SESSION_SECONDS


@pytest.mark.fast
def test_a_crash_stops_only_what_crashed(start_system: Start) -> None:
    """A worker is killed, and another one joins at once: the group waits for the dead one's session. Only the
    partitions of the dead one stand still, until then."""
    # A machine that stalls for a while is not taken for a partition that stands still.
    session = 24.0
    system = start_system(session_timeout_ms=int(session * 1000))
    system.start_all()
    load = system.load(market_items(100_000, SEED), rate=300)
    system.wait_balanced()
    system.wait_stored(300)
    topic = f"{system.settings.topic_prefix}.relations/"
    owners = {id: pid for id, (_, pid) in system.owners("relations").items() if topic in id}
    # librdkafka may give the topic to one of the two.
    victim = next(worker for worker in system.workers if worker.pid in owners.values())
    lost = {id for id, pid in owners.items() if pid == victim.pid}
    system.watch.stalls.clear()
    victim.kill()
    system.forget(victim)
    system.start("relations")
    system.wait_dispossessed(victim)
    stalls = {id: system.watch.stalls[id] for id in owners}
    waited = min(stalls[id] for id in lost)
    assert waited > session / 2, "nobody had to wait"
    assert max((stalls[id] for id in owners.keys() - lost), default=0.0) < waited, stalls
    system.wait_balanced()
    system.wait_stored(200)
    load.cut()
    system.verify()


def test_partitions_are_added_under_load(start_system: Start) -> None:
    """Keys move to other partitions, so that a fact is written by two of them; clients hear of new partitions
    within half a minute."""
    system = start_system(partitions=2)
    system.start_all()
    load = system.load(market_items(100_000, SEED), rate=200)
    system.wait_stored(600)
    ensure_topics(system.settings.model_copy(update={"partitions": 5}))
    system.grown = True

    def all_read() -> bool:
        stored = {position["_id"] for position in system.database.positions.find({"next": {"$gt": 0}})}
        topic = f"{system.settings.topic_prefix}.relations"
        return all(f"relations@1/{topic}/{number}" in stored for number in range(5)) and all(
            f"analytics@1/{topic.removesuffix('s')}-changes/{number}" in stored for number in range(5)
        )

    system.wait("events of every partition", all_read, 180)
    system.wait_stored(400)
    load.cut()
    system.verify()
