"""Counts what RabbitMQ has laid aside, which nobody reads by itself."""

import asyncio
import logging

from services.rabbitmq.metrics import BridgeMetrics
from services.rabbitmq.protocols import Connect
from services.rabbitmq.topology import ASIDE
from shared.contracts.errors import ConfigurationError, Unavailable

log = logging.getLogger(__name__)

_LOOK_SECONDS = 30.0


class Undeliverable:
    """Keeps the metric, on a connection of its own: that of a consumer may wait for room."""

    def __init__(self, connect: Connect, metrics: BridgeMetrics, seconds: float = _LOOK_SECONDS) -> None:
        self._connect, self._metrics, self._seconds = connect, metrics, seconds
        #: Whether the log says so since it was last counted.
        self._refused = False

    async def run(self) -> None:
        """Count until cancelled. No metric ends the bridge: what is wrong for good ends what needs it."""
        while True:
            try:
                await self._count()
            except Unavailable as error:
                log.debug("%s: not counted: %s", ASIDE, error)
            except ConfigurationError as error:
                # As when somebody deletes the queue, which is declared again with the next connection.
                log.log(logging.DEBUG if self._refused else logging.WARNING, "%s: not counted: %s", ASIDE, error)
                self._refused = True
            await asyncio.sleep(self._seconds)

    async def _count(self) -> None:
        link = await self._connect()
        try:
            while True:
                self._metrics.undeliverable(await link.count(ASIDE))
                self._refused = False
                await asyncio.sleep(self._seconds)
        finally:
            await link.close()
