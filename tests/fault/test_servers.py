"""The broker and MongoDB are killed, stopped and started again under load, and step down."""

import time

import pytest

from tests.fault.load import market_items
from tests.fault.system import PATIENCE_SECONDS, System

EVENTS, SEED = 100_000, 51
AWAY_SECONDS = 3.0


@pytest.mark.parametrize(
    ("server", "how"),
    [
        ("kafka", "SIGKILL"),
        ("kafka", "SIGTERM"),
        ("mongo", "SIGKILL"),
        ("mongo", "SIGTERM"),
    ],
)
def test_ended_and_started_again(system: System, server: str, how: str) -> None:
    system.start_all()
    load = system.load(market_items(EVENTS, SEED), rate=400)
    system.wait_stored(400)
    node = system.kafka if server == "kafka" else system.mongo
    if how == "SIGKILL":
        node.kill()
    else:
        node.stop()
    time.sleep(AWAY_SECONDS)
    node.start()
    system.wait_stored(400)
    load.cut()
    system.wait_drained(2 * PATIENCE_SECONDS)
    system.verify()


def test_both_are_killed_twice(system: System) -> None:
    system.start_all()
    load = system.load(market_items(EVENTS, SEED + 1), rate=300)
    for _ in range(2):
        system.wait_stored(250)
        system.mongo.kill()
        system.kafka.kill()
        system.mongo.start()
        system.kafka.start()
    system.wait_stored(400)
    load.cut()
    system.wait_drained(2 * PATIENCE_SECONDS)
    system.verify()


def test_the_primary_steps_down(system: System) -> None:
    system.start_all()
    load = system.load(market_items(EVENTS, SEED + 2), rate=400)
    system.wait_stored(400)
    system.client.admin.command("replSetStepDown", 3, force=True)
    system.wait_stored(400)
    load.cut()
    system.verify()
