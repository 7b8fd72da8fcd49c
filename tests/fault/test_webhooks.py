"""``kill -9`` of a sender at every step, with another one beside: nothing is lost, order holds within a consumer,
and only what was under way is sent twice, under the same id."""

from collections import defaultdict
from datetime import UTC, datetime

import pytest

from services.webhooks.delivery.sender import CONCURRENCY
from services.webhooks.log_reader import LogReader
from services.webhooks.management.endpoints import Endpoints
from services.webhooks.messages.rendering import Renderer
from services.webhooks.schema import BESIDE, COLLECTIONS
from shared.contracts.topics import Topics
from shared.kafka.python_client.reader import open_consumer, partitions_of
from shared.mongo.store import prepare
from tests.fault.load import market_items
from tests.fault.points import WEBHOOK_STEPS
from tests.fault.system import System
from tests.support.receiver import Receiver, receiver

EVENTS, SEED = 600, 17


def endpoints_of(system: System) -> Endpoints:
    prepare(system.database, {**COLLECTIONS, **BESIDE})
    renderer = Renderer(system.database, lambda name: name, lambda _tenant, _consumer: None, None)
    topics = Topics(system.settings.topic_prefix)
    return Endpoints(
        system.database, renderer, None, topics, lambda: LogReader(system.settings), lambda: datetime.now(UTC)
    )


def published(system: System) -> int:
    """The changes of relations of the default tenant; the load has no other."""
    consumer = open_consumer(system.settings)
    try:
        tps = partitions_of(consumer, [Topics(system.settings.topic_prefix).name("relation-changes")])
        ends = consumer.end_offsets(tps)
    finally:
        consumer.close(autocommit=False)
    return sum(ends.values())


def check(system: System, there: Receiver, killed: int) -> None:
    """All changes have arrived, by the numbers of their origins; each origin's consumers in order."""
    system.wait(
        "an empty queue", lambda: not system.database["webhook_deliveries"].find_one({"state": "queued"}), 240
    )
    numbers: dict[str, set[int]] = defaultdict(set)
    last: dict[tuple[str, str], int] = {}
    repeated = 0
    for found in there.received:
        origin, number = found.headers["kith-origin"], int(found.headers["kith-number"])
        subject = (origin, found.body.partition(b'"consumer_id":"')[2].partition(b'"')[0].decode())
        if number in numbers[origin]:
            repeated += 1
        else:
            assert number > last.get(subject, 0), f"{subject}: {number} after {last[subject]}"
            last[subject] = number
        numbers[origin].add(number)
    for origin, seen in numbers.items():
        assert seen == set(range(1, max(seen) + 1)), f"{origin}: some are missing"
    assert sum(len(seen) for seen in numbers.values()) == published(system)
    # Under way when it was killed: requests, and outcomes that were not stored yet.
    assert repeated <= killed * (CONCURRENCY + 1_000)


@pytest.mark.fast
def test_senders_killed_at_different_steps(system: System) -> None:
    with receiver() as there:
        endpoints_of(system).create("default", {"url": there.url, "types": ["relation.changed"]}, "hmac", [], "t")
        victims = [
            system.start("webhooks", fault=f"{step}:kill:{when}")
            for step, when in (("after-post", 40), ("before-settle", 3), ("after-commit", 5))
        ]
        system.start_all(relations=1, analytics=1)
        load = system.load(market_items(100_000, SEED), rate=150)
        # One at a time has the lease: it passes from one that is killed to the next.
        system.wait_killed(*victims)
        system.start("webhooks")
        load.cut()
        system.wait_drained()
        check(system, there, len(victims))


@pytest.mark.parametrize("step", WEBHOOK_STEPS)
def test_a_sender_killed_at(system: System, step: str) -> None:
    with receiver() as there:
        endpoints = endpoints_of(system)
        made = endpoints.create("default", {"url": there.url, "types": ["relation.changed"]}, "hmac", [], "t")
        if step.endswith("feed"):
            endpoints.disable(made.endpoint)
        victim = system.start("webhooks", fault=f"{step}:kill:2")
        system.start_all(relations=1, analytics=1)
        system.load(market_items(EVENTS, SEED), rate=150)
        if step.endswith("feed"):
            system.wait_stored(EVENTS, "webhooks", since=0)
            stored = endpoints.find("default", made.endpoint["_id"].partition(":")[2])
            assert stored is not None
            endpoints.enable(stored)
        system.wait_killed(victim)
        system.start("webhooks")
        system.wait_drained()
        check(system, there, 1)
