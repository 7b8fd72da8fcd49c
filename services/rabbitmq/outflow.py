"""Changes out: RabbitMQ confirms them before the position moves."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from services.rabbitmq.metrics import BridgeMetrics
from services.rabbitmq.projection import effects
from services.rabbitmq.protocols import Connect, Link, Outgoing
from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Answer, Ask, Claim, OutboxBatch, Outcome, Progress, Slice, Store


class Exchange(Protocol):
    def publish(self, lane: str, messages: Sequence[Outgoing]) -> None:
        """Return when RabbitMQ has confirmed all, in order. Raises Unavailable when some may be missing."""


class ConfirmedStore:
    """``store``, which stores a slice once the exchange has confirmed its changes. A crash in between repeats
    them, in order and with the same numbers. So does another owner of the partition who is late."""

    def __init__(self, store: Store, exchange: Exchange) -> None:
        self._store, self._exchange = store, exchange

    def claim(self, position: str, owner: str) -> tuple[Claim, Progress]:
        return self._store.claim(position, owner)

    def unpublished(self, position: str) -> list[OutboxBatch]:
        return self._store.unpublished(position)

    def read(self, ask: Ask) -> Answer:
        return self._store.read(ask)

    def commit(self, slice: Slice) -> list[OutboxBatch]:
        outgoing, letters = effects(slice.outcome.messages)
        if outgoing:
            self._exchange.publish(slice.claim.position, outgoing)
        return self._store.commit(replace(slice, outcome=Outcome(slice.outcome.writes, letters)))

    def clear(self, unpublished: Sequence[str]) -> None:
        self._store.clear(unpublished)


class Outflow:
    """The exchange, for other threads. Its connection belongs to ``loop``, and is opened when it is needed."""

    def __init__(
        self,
        exchange: str,
        connect: Connect,
        loop: asyncio.AbstractEventLoop,
        metrics: BridgeMetrics,
    ) -> None:
        self._exchange, self._loop, self._metrics = exchange, loop, metrics
        self._connect = connect
        self._opening = asyncio.Lock()
        self._link: Link | None = None

    def publish(self, lane: str, messages: Sequence[Outgoing]) -> None:
        """See ``Exchange``."""
        if self._loop.is_closed():
            raise Unavailable("the bridge is stopping")
        asyncio.run_coroutine_threadsafe(self._publish(lane, messages), self._loop).result()

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _publish(self, lane: str, messages: Sequence[Outgoing]) -> None:
        link = await self._opened()
        try:
            unrouted = await link.publish(lane, self._exchange, messages)
        except Unavailable:
            if self._link is link:
                self._link = None
            await link.close()
            raise
        self._metrics.published(len(messages), unrouted)

    async def _opened(self) -> Link:
        async with self._opening:
            if self._link is None:
                self._link = await self._connect()
            return self._link
