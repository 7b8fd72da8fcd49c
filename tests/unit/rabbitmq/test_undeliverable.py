"""What RabbitMQ has laid aside is counted, also after an outage."""

import asyncio

from services.rabbitmq.metrics import BridgeMetrics
from services.rabbitmq.protocols import Properties
from services.rabbitmq.topology import ASIDE, topology
from services.rabbitmq.undeliverable import Undeliverable
from shared.observability.metrics import new_registry
from tests.support.rabbitmq import MemoryRabbit
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
