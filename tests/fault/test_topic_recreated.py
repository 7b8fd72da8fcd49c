"""A topic is deleted and made anew: what is stored belongs to a log that is gone. Nobody may go on in silence."""

import pytest
from kafka.admin import KafkaAdminClient

from shared.kafka.python_client.reader import connection
from shared.kafka.topics_admin import ensure_topics
from shared.local.processes import Process
from tests.fault.load import market_items
from tests.fault.system import System
from tests.support.end_to_end import everything

SEED = 111


@pytest.mark.fast
@pytest.mark.both
def test_workers_stop_loudly(system: System) -> None:
    """Those that run then, those that start later, and of both services."""
    system.start_all()
    system.load(market_items(1_200, SEED), rate=1_000)
    system.wait_drained()
    wrong = system.findings()
    assert not wrong, "\n".join(wrong)
    before = everything(system.database)
    recreate(system, "relations", "relation-changes")
    system.load(market_items(200, SEED + 1), rate=1_000).finish()
    stopped(system, *system.workers)
    stopped(system, system.start("relations"), system.start("analytics"))
    after = everything(system.database)
    for name in ("consumers", "providers", "data_keys", "erasures"):
        # Their topics are as they were.
        del before[name], after[name]
    changed = [name for name in before if name != "positions" and before[name] != after[name]]
    assert not changed, f"{changed} changed"
    for id, position in before["positions"].items():
        if "relation" in id.split("/")[1]:
            assert after["positions"][id] == position


def recreate(system: System, *shorts: str) -> None:
    topics = [f"{system.settings.topic_prefix}.{short}" for short in shorts]
    admin = KafkaAdminClient(**connection(system.settings))
    try:
        admin.delete_topics(topics)
        system.wait("the topics' end", lambda: not set(topics) & set(admin.list_topics()))
    finally:
        admin.close()
    ensure_topics(system.settings)


def stopped(system: System, *workers: Process) -> None:
    """Each ends by itself, with a status that says so and a log that says why."""
    for worker in workers:
        system.wait(f"the end of {worker.name}", lambda worker=worker: not worker.running, may_end=workers)  # type: ignore[misc]
        assert worker.returncode == 2, (worker.ending, system.tails())
        told = worker.log.read_text()
        assert "recreated" in told or "does not contain the offset to continue at" in told, told
        system.forget(worker)
