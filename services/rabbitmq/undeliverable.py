"""Counts what RabbitMQ has laid aside, which nobody reads by itself."""

import asyncio
import logging

from services.rabbitmq.metrics import BridgeMetrics
from services.rabbitmq.protocols import Connect
from services.rabbitmq.topology import ASIDE
from shared.contracts.errors import Unavailable

log = logging.getLogger(__name__)

_LOOK_SECONDS = 30.0


class Undeliverable:
    """Keeps the metric, on a connection of its own: that of a consumer may wait for room."""

    def __init__(self, connect: Connect, metrics: BridgeMetrics, seconds: float = _LOOK_SECONDS) -> None:
        self._connect, self._metrics, self._seconds = connect, metrics, seconds

    async def run(self) -> None:
        """Count until cancelled. Raises ConfigurationError."""
        while True:
            try:
                await self._count()
            except Unavailable as error:
                log.debug("%s: not counted: %s", ASIDE, error)
            await asyncio.sleep(self._seconds)

    async def _count(self) -> None:
        link = await self._connect()
        try:
            while True:
                self._metrics.undeliverable(await link.count(ASIDE))
                await asyncio.sleep(self._seconds)
        finally:
            await link.close()
