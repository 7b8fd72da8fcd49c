"""What RabbitMQ has laid aside is counted, also after an outage."""

import asyncio
from collections.abc import Callable

import pytest

from services.rabbitmq.metrics import BridgeMetrics
from services.rabbitmq.protocols import Properties
from services.rabbitmq.topology import ASIDE, topology
from services.rabbitmq.undeliverable import Undeliverable
from shared.observability.metrics import new_registry
from tests.support.rabbitmq import MemoryLink, MemoryRabbit
from tests.support.waiting import PATIENCE_SECONDS


def test_the_metric_follows_the_queue() -> None:
    async def work() -> None:
        rabbit, registry = MemoryRabbit(), new_registry()
        await (await rabbit.connect()).declare(topology(["orders"], None))
        task = asyncio.create_task(Undeliverable(rabbit.connect, BridgeMetrics(registry), 0.001).run())

        async def reaches(count: int) -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while registry.get_sample_value("kith_rabbitmq_undeliverable") != count:
                    await asyncio.sleep(0.001)

        rabbit.send("", ASIDE, b"1", Properties())
        await reaches(1)
        rabbit.end_connections()
        rabbit.send("", ASIDE, b"2", Properties())
        await reaches(2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(work())


def test_a_queue_that_somebody_deletes_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        rabbit, registry = MemoryRabbit(), new_registry()
        places, looks = topology(["orders"], None), 0

        async def connect() -> MemoryLink:
            nonlocal looks
            looks += 1
            return await rabbit.connect()

        await (await rabbit.connect()).declare(places)
        task = asyncio.create_task(Undeliverable(connect, BridgeMetrics(registry), 0.001).run())

        async def until(done: Callable[[], bool]) -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not done():
                    assert not task.done()
                    await asyncio.sleep(0.001)

        def counted(count: int) -> bool:
            return registry.get_sample_value("kith_rabbitmq_undeliverable") == count

        rabbit.send("", ASIDE, b"1", Properties())
        await until(lambda: counted(1))
        del rabbit.queues[ASIDE]
        before = looks
        await until(lambda: looks > before + 3)
        assert len(rabbit.links) <= 2, "each look closes its connection"
        await (await rabbit.connect()).declare(places)
        await until(lambda: counted(0))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(work())
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.startswith(f"{ASIDE}: not counted: RabbitMQ does not have")
