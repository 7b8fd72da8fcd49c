"""What the bridge demands of a RabbitMQ: the real one, and the double of the unit tests."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Protocol

import aiormq
import pytest
from pamqp.commands import Basic

from services.rabbitmq.client import connect
from services.rabbitmq.protocols import (
    Consumption,
    Delivery,
    ExchangeSpec,
    Link,
    Outgoing,
    Properties,
    QueueSpec,
    Refused,
)
from services.rabbitmq.protocols import Topology as Declared
from services.rabbitmq.topology import ASIDE, QUEUE_ARGUMENTS, topology
from shared.contracts.errors import ConfigurationError, Unavailable
from tests.support.rabbitmq import MemoryRabbit, real_rabbitmq

SECONDS = 60
#: Bytes in hand that no test but one comes near.
MANY = 1_000_000


class Rabbit(Protocol):
    async def connect(self) -> Link: ...


class RealRabbit:
    def __init__(self, uri: str) -> None:
        self._uri = uri

    async def connect(self) -> Link:
        return await connect(self._uri)


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    with real_rabbitmq() as found:
        yield found


@pytest.fixture(params=["memory", "real"])
def rabbit(request: pytest.FixtureRequest) -> Rabbit:
    return MemoryRabbit() if request.param == "memory" else RealRabbit(request.getfixturevalue("uri"))


@pytest.fixture
def name() -> str:
    return f"q-{secrets.token_hex(6)}"


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(SECONDS):
            await work()

    asyncio.run(within())


async def take(consumption: Consumption, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    while len(found) < count:
        found += await consumption.take(count - len(found))
    return found


def plain(key: str, *bodies: bytes) -> list[Outgoing]:
    return [Outgoing(key, body, Properties(message_id=secrets.token_hex(8))) for body in bodies]


def test_a_message_arrives_as_it_was_sent(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        await link.declare(topology([name], None))
        properties = Properties(
            "application/json",
            None,
            "m1",
            "relation.recorded",
            datetime(2026, 3, 1, 12, tzinfo=UTC),
            {"cloudEvents:source": "shop", "n": 3, "yes": True},
        )
        assert await link.publish("p", "", [Outgoing(name, b"\x00body", properties)]) == 0
        [delivery] = await take(await link.consume(name, 10, MANY), 1)
        assert (delivery.body, delivery.properties, delivery.redelivered) == (b"\x00body", properties, False)
        await link.close()

    run(work)


def test_what_is_not_acknowledged_comes_again_in_order_and_the_rest_does_not(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        await link.declare(topology([name], None))
        await link.publish("p", "", plain(name, *(b"%d" % n for n in range(6))))
        consumption = await link.consume(name, 4, MANY)
        first = await take(consumption, 4)
        await consumption.acknowledge(first[1].tag)
        unsettled = [*first[2:], *await take(consumption, 2)]
        await link.close()
        with pytest.raises(Unavailable):
            await consumption.take(1)
        with pytest.raises(Unavailable):
            await consumption.acknowledge(unsettled[-1].tag)
        again = await rabbit.connect()
        deliveries = await take(await again.consume(name, 10, MANY), 4)
        assert [delivery.body for delivery in deliveries] == [b"2", b"3", b"4", b"5"]
        assert all(delivery.redelivered for delivery in deliveries)
        # Without the count of deliveries: a dead letter is known again by what its message says.
        assert [delivery.properties for delivery in deliveries] == [before.properties for before in unsettled]
        await again.close()

    run(work)


def test_no_more_arrive_than_the_prefetch(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        await link.declare(topology([name], None))
        await link.publish("p", "", plain(name, *(b"%d" % n for n in range(5))))
        consumption = await link.consume(name, 3, MANY)
        assert len(await take(consumption, 3)) == 3
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await consumption.take(1)
        await link.close()

    run(work)


def test_large_messages_are_not_read_beyond_the_bytes_in_hand(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        await link.declare(topology([name], None))
        large = [b"%d" % n * 500_000 for n in range(8)]
        await link.publish("p", "", plain(name, *large))
        consumption = await link.consume(name, 100, MANY)
        found = await take(consumption, 2)
        for missing in range(6, 0, -2):
            # Two have as much as may be in hand; the others come once these are acknowledged.
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await consumption.take(1)
            await consumption.acknowledge(found[-1].tag)
            found += await take(consumption, 2)
            assert len(found) == 8 - missing + 2
        assert [delivery.body for delivery in found] == large
        # What waits to be read keeps no connection from closing.
        other = await rabbit.connect()
        await other.publish("p", "", plain(name, *large))
        await other.close()
        await link.close()

    run(work)


def test_changes_reach_the_queues_that_are_bound_and_others_are_counted(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        exchange = f"x-{name}"
        await link.declare(topology([], exchange))
        assert await link.publish("p", exchange, plain("shop.relation.changed.view", b"1", b"2")) == 2
        aside = QueueSpec(name, {"x-queue-type": "quorum"}, bound_to=f"f-{name}")
        await link.declare(Declared((ExchangeSpec(f"f-{name}", "fanout"),), (aside,)))
        assert await link.publish("p", f"f-{name}", plain("any", b"3", b"4")) == 0
        deliveries = await take(await link.consume(name, 10, MANY), 2)
        assert [delivery.body for delivery in deliveries] == [b"3", b"4"]
        await link.close()

    run(work)


def test_a_message_that_ends_its_consumer_too_often_is_laid_aside(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        few = {**QUEUE_ARGUMENTS, "x-delivery-limit": 1, "x-dead-letter-exchange": f"f-{name}"}
        aside = QueueSpec(f"a-{name}", {"x-queue-type": "quorum"}, bound_to=f"f-{name}")
        await link.declare(Declared((ExchangeSpec(f"f-{name}", "fanout"),), (aside, QueueSpec(name, few))))
        await link.publish("p", "", plain(name, b"poison"))
        for _ in range(2):
            victim = await rabbit.connect()
            await take(await victim.consume(name, 1, MANY), 1)
            await victim.close()
        [delivery] = await take(await link.consume(f"a-{name}", 1, MANY), 1)
        assert delivery.body == b"poison"
        await link.close()

    run(work)


def test_a_declaration_can_be_repeated_and_other_arguments_are_refused(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        for _ in range(2):
            await link.declare(topology([name], f"x-{name}"))
        await link.check(topology([name], f"x-{name}"))
        with pytest.raises(ConfigurationError, match=f"the queue {name} with other arguments"):
            await link.declare(Declared((), (QueueSpec(name, {"x-queue-type": "quorum"}),)))
        with pytest.raises(ConfigurationError, match="with other arguments"):
            await link.declare(Declared((ExchangeSpec(f"x-{name}", "fanout"),), ()))
        await link.close()

    run(work)


def test_what_is_missing_is_named_and_not_made(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        await link.declare(topology(["other"], None))
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=f"does not have the queue {name}"):
                await link.check(topology([name], None))
        with pytest.raises(ConfigurationError, match="does not have the exchange x-"):
            await link.check(topology([], f"x-{name}"))
        await link.check(Declared((ExchangeSpec(ASIDE, "fanout"),), ()))
        await link.close()

    run(work)


def test_an_exchange_that_is_gone_is_an_outage_and_not_a_success(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        with pytest.raises(Unavailable):
            await link.publish("p", f"x-{name}", plain("a.b.c", b"1"))
        await link.close()

    run(work)


def test_a_queue_that_is_full_refuses_and_the_others_have_the_message(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        exchange, full, other = f"f-{name}", f"full-{name}", f"other-{name}"
        small = {"x-queue-type": "classic", "x-max-length": 2, "x-overflow": "reject-publish"}
        queues = (QueueSpec(full, small, exchange), QueueSpec(other, {"x-queue-type": "quorum"}, exchange))
        await link.declare(Declared((ExchangeSpec(exchange, "fanout"),), queues))
        with pytest.raises(Refused, match="is one full") as refused:
            await link.publish("p", exchange, plain("any", b"1", b"2", b"3", b"4"))
        assert refused.value.confirmed == 2
        assert await link.count(full) == 2
        found = await take(await link.consume(other, 10, MANY), 4)
        assert [each.body for each in found] == [b"1", b"2", b"3", b"4"]
        # The connection and its lanes go on.
        consumption = await link.consume(full, 10, MANY)
        await consumption.acknowledge((await take(consumption, 2))[-1].tag)
        await until(lambda: link.count(full), 0)
        assert await link.publish("p", exchange, plain("any", b"3")) == 0
        await link.close()

    run(work)


async def until(asked: Callable[[], Awaitable[int]], wanted: int) -> None:
    while await asked() != wanted:
        await asyncio.sleep(0)


def test_a_connection_that_is_closed_does_nothing(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        await link.declare(topology([name], None))
        await link.close()
        for attempt in (link.consume(name, 1, MANY), link.publish("p", "", plain(name, b"1"))):
            with pytest.raises(Unavailable):
                await attempt

    run(work)


def test_a_queue_that_is_deleted_ends_its_consumer(uri: str, name: str) -> None:
    async def work() -> None:
        link = await connect(uri)
        await link.declare(topology([name], None))
        consumption = await link.consume(name, 1, MANY)
        other = await aiormq.connect(uri)
        await (await other.channel()).queue_delete(name)
        with pytest.raises(Unavailable, match="the queue is deleted"):
            await consumption.take(1)
        await other.close()
        await link.close()

    run(work)


class Written(Basic.Properties):
    """Properties in these bytes."""

    def __init__(self, flags: int, value: bytes) -> None:
        super().__init__()
        self._written = flags.to_bytes(2) + value

    def marshal(self) -> bytes:
        return self._written


def test_a_property_that_cannot_be_decoded_harms_no_other_message(uri: str, name: str) -> None:
    bad = [
        Written(Basic.Properties.flags["timestamp"], (1_700_000_000_000_000).to_bytes(8)),
        Written(Basic.Properties.flags["message_id"], b"\x02\xff\xfe"),
    ]

    async def work() -> None:
        link = await connect(uri)
        await link.declare(topology([name], None))
        sender = await aiormq.connect(uri)
        channel = await sender.channel()
        for number, properties in enumerate([Basic.Properties(), bad[0], Basic.Properties(), bad[1]]):
            await channel.basic_publish(b"%d" % number, routing_key=name, properties=properties)
        assert await link.count(name) == 4
        found = await take(await link.consume(name, 10, MANY), 4)
        assert [(each.body, each.undecodable) for each in found] == [
            (b"0", ""),
            (b"1", "timestamp"),
            (b"2", ""),
            (b"3", "message_id"),
        ]
        await sender.close()
        await link.close()

    run(work)


def test_the_messages_of_a_queue_are_counted(rabbit: Rabbit, name: str) -> None:
    async def work() -> None:
        link = await rabbit.connect()
        await link.declare(topology([name], None))
        assert await link.count(name) == 0
        await link.publish("p", "", plain(name, b"1", b"2"))
        assert await link.count(name) == 2
        with pytest.raises(ConfigurationError, match="does not have the queue"):
            await link.count(f"{name}-other")
        await link.close()

    run(work)


def test_nobody_answers() -> None:
    async def work() -> None:
        with pytest.raises(Unavailable):
            await connect("amqp://guest:guest@127.0.0.1:1/")

    run(work)


def test_a_wrong_password_is_named(uri: str) -> None:
    async def work() -> None:
        with pytest.raises(Unavailable, match="refuses the user"):
            await connect(uri.replace("kith:", "kith:x"))

    run(work)


def test_a_virtual_host_that_is_not_there_is_named(uri: str) -> None:
    async def work() -> None:
        with pytest.raises(Unavailable, match="refuses the user, or the virtual host"):
            await connect(f"{uri.rstrip('/')}/nowhere")

    run(work)
