"""A bridge to RabbitMQ, killed at every step; RabbitMQ and Kafka killed and back; poison in the queue: nothing is
lost in either direction, facts are exact, and a consumer's events stay in order."""

import asyncio
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from services.rabbitmq.client import connect
from services.rabbitmq.protocols import Outgoing, Properties
from services.rabbitmq.topology import topology
from shared.contracts.errors import ConfigurationError
from shared.contracts.limits import MAX_BODY_BYTES
from shared.contracts.topics import Topics
from shared.kafka.python_client.reader import open_consumer, partitions_of
from shared.local.rabbitmq import RabbitServer, find_rabbitmq, server
from tests.fault.load import event
from tests.fault.points import RABBITMQ_STEPS
from tests.fault.system import System
from tests.support.rabbitmq import missing

QUEUE, CHANGES = "orders", "changes"
CONSUMERS, PART, POISON_EVERY = 17, 300, 50


@pytest.fixture(scope="module")
def rabbit() -> Iterator[RabbitServer]:
    """A RabbitMQ that the test may kill: never one that KITH_AMQP names."""
    try:
        find_rabbitmq()
    except ConfigurationError as error:
        missing(error)
    with (
        tempfile.TemporaryDirectory(prefix="kith-rabbitmq-") as folder,
        server(Path(folder) / "data", Path(folder) / "log" / "rabbitmq.log") as started,
    ):
        yield started


class Orders:
    """Sends numbered events, some of them poison, and knows what has to come of them."""

    def __init__(self, system: System, rabbit: RabbitServer) -> None:
        self.system, self.rabbit = system, rabbit
        self.sent = 0

    async def declare(self) -> None:
        link = await connect(self.rabbit.uri)
        await link.declare(topology([QUEUE], "kith"))
        await link.close()
        connection = await aio_pika.connect(self.rabbit.uri)
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(CHANGES, durable=True, arguments={"x-queue-type": "quorum"})
            await queue.bind("kith", "#")

    async def send(self, count: int = PART) -> None:
        numbers = range(self.sent, self.sent + count)
        link = await connect(self.rabbit.uri)
        assert await link.publish("load", "", [_message(n) for n in numbers]) == 0
        await link.close()
        self.sent += count

    async def changes(self, most: int, seconds: float) -> list[tuple[str, int, dict[str, Any]]]:
        """Origin, number and change of every message in the queue of changes that comes so soon, in order."""
        link = await connect(self.rabbit.uri)
        consumption = await link.consume(CHANGES, 2 * most, 64 * MAX_BODY_BYTES)
        found: list[tuple[str, int, dict[str, Any]]] = []
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for each in await consumption.take(most):
                        headers = each.properties.headers
                        number = headers["kith-number"]
                        assert isinstance(number, int)
                        found.append((str(headers["kith-origin"]), number, json.loads(each.body)))
        except TimeoutError:
            await link.close()  # they return
        return found

    @property
    def good(self) -> list[int]:
        return [n for n in range(self.sent) if n % POISON_EVERY]

    def wait_stored(self) -> None:
        """Until all good events are facts, and all others dead letters."""
        database = self.system.database

        def stored() -> bool:
            facts, letters = database["relations"], database["dead_letters"]
            bad = self.sent - len(self.good)
            return facts.count_documents({}) == len(self.good) and letters.count_documents({}) == bad

        self.system.wait(f"{self.sent} messages to be stored", stored)


def _message(n: int) -> Outgoing:
    data = {"relation_id": f"r{n}", "kind": "purchase", "consumer_id": f"c{n % CONSUMERS}", "provider_id": "p"}
    body = event("relation.recorded", f"e{n}", {**data, "amount": n, "currency": "EUR"})
    if n % POISON_EVERY == 0:
        del body["time"]
    properties = Properties("application/cloudevents+json", None, f"e{n}")
    return Outgoing(QUEUE, json.dumps(body).encode(), properties)


def bridge_of(system: System, rabbit: RabbitServer, **options: str) -> Any:
    return system.start(
        "rabbitmq",
        amqp=rabbit.uri,
        rabbitmq_port="0",
        rabbitmq_queues=json.dumps({QUEUE: "default"}),
        rabbitmq_prefetch="100",
        **options,
    )


def order_in_kafka(system: System) -> dict[str, list[int]]:
    """By consumer, the numbers of the events in Kafka, of each the first."""
    consumer = open_consumer(system.settings, auto_offset_reset="earliest")
    found: dict[str, list[int]] = defaultdict(list)
    try:
        partitions = partitions_of(consumer, [Topics(system.settings.topic_prefix).name("relations")])
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        while any(consumer.position(each) < end for each, end in ends.items()):
            for records in consumer.poll(timeout_ms=1000).values():
                for record in records:
                    told = json.loads(record.value)
                    number = int(told["id"][1:])
                    if number not in (seen := found[told["data"]["consumer_id"]]):
                        seen.append(number)
    finally:
        consumer.close(autocommit=False)
    return found


def check(orders: Orders) -> None:
    system = orders.system
    facts = {each["relation_id"]: each["amount"] for each in system.database["relations"].find()}
    assert facts == {f"r{n}": n for n in orders.good}
    for consumer, numbers in order_in_kafka(system).items():
        assert numbers == sorted(numbers), consumer
    published = asyncio.run(_until_all_went_out(orders))
    seen: dict[str, int] = {}
    counted: dict[str, int] = {}
    for origin, number, change in published:
        if number == seen.get(origin, 0) + 1:
            seen[origin] = number
            if change["type"] == "relation.changed":
                counted[change["data"]["relation_id"]] = change["data"]["after"]["amount"]
    assert counted == facts


async def _until_all_went_out(orders: Orders) -> Sequence[tuple[str, int, dict[str, Any]]]:
    for seconds in range(2, 20):
        found = await orders.changes(4 * orders.sent, seconds)
        ids = {change["id"] for _, _, change in found if change["type"] == "relation.changed"}
        if len(ids) >= len(orders.good):
            return found
    raise AssertionError(f"of {len(orders.good)} changes {len(ids)} went out\n{orders.system.tails()}")


@pytest.mark.fast
def test_a_bridge_and_its_broker_are_killed(system: System, rabbit: RabbitServer) -> None:
    orders = _begun(system, rabbit)
    for fault in ("before-acknowledge:kill:2", "after-apply:kill:1"):
        system.wait_killed(bridge_of(system, rabbit, fault=fault))
    bridge_of(system, rabbit)
    orders.wait_stored()
    asyncio.run(orders.send())
    rabbit.kill()
    rabbit.start()
    orders.wait_stored()
    check(orders)


def test_kafka_is_killed_while_a_bridge_works(system: System, rabbit: RabbitServer) -> None:
    orders = _begun(system, rabbit)
    bridge_of(system, rabbit)
    orders.wait_stored()
    system.kafka.kill()
    asyncio.run(orders.send())
    system.kafka.start()
    orders.wait_stored()
    check(orders)


@pytest.mark.parametrize("step", RABBITMQ_STEPS)
def test_a_bridge_killed_at(system: System, rabbit: RabbitServer, step: str) -> None:
    orders = _begun(system, rabbit)
    system.wait_killed(bridge_of(system, rabbit, fault=f"{step}:kill:1"))
    bridge_of(system, rabbit)
    orders.wait_stored()
    check(orders)


def _begun(system: System, rabbit: RabbitServer) -> Orders:
    """Messages wait in a queue, and facts will be stored; no bridge runs."""
    orders = Orders(system, rabbit)
    asyncio.run(_emptied(rabbit))
    asyncio.run(orders.declare())
    system.start("relations")
    asyncio.run(orders.send())
    return orders


async def _emptied(rabbit: RabbitServer) -> None:
    connection = await aio_pika.connect(rabbit.uri)
    async with connection:
        channel = await connection.channel()
        for name in (QUEUE, CHANGES):
            await channel.queue_delete(name)
