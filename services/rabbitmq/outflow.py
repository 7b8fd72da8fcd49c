"""Changes out: RabbitMQ confirms them before the position moves."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import CancelledError
from itertools import takewhile

from services.rabbitmq.metrics import BridgeMetrics
from services.rabbitmq.protocols import Connect, Link, Outgoing, Refused
from shared.contracts.errors import Unavailable
from shared.runtime.protocols import Claim, Progress

#: A backstop: a connection fails before.
_SECONDS = 120.0


class Outflow:
    """The Target of the sink: the exchange. A crash before the position moves repeats changes, in order and with
    the same numbers; so does a worker who has lost its partition. A receiver counts them once by these.

    A queue that refuses a message, because it is full, holds up the changes of all partitions that have one for
    it. What was confirmed before that message is not sent again; what follows it is, little by little, so that
    other queues do not fill with repetitions. The queue itself may have taken some of what follows before the
    message that it refused: to it, they come first in the wrong order, and then again in the right one.

    Called by other threads. The connection belongs to ``loop``, and is opened when it is needed. Each partition
    has a channel of its own.
    """

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
        #: By lane what was confirmed of a slice before a message was refused. Its position has not moved, so that
        #: the next slice begins with it.
        self._confirmed: dict[str, Sequence[Outgoing]] = {}
        #: By lane how many have gone on since a message was refused, if one ever was.
        self._gone_on: dict[str, int] = {}

    def claimed(self, claim: Claim) -> Progress | None:  # noqa: ARG002 - an exchange stores nothing
        return None

    def apply(self, claim: Claim, after: Progress, effects: Sequence[Outgoing]) -> None:  # noqa: ARG002
        """Return when RabbitMQ has confirmed all messages. Raises Unavailable when some may be missing."""
        if not effects:
            return
        if self._loop.is_closed():
            raise Unavailable("RabbitMQ: the bridge is stopping")
        try:
            asyncio.run_coroutine_threadsafe(self._publish(claim.position, effects), self._loop).result(_SECONDS)
        except (TimeoutError, CancelledError, RuntimeError) as error:  # the loop has ended
            raise Unavailable("RabbitMQ: no confirmation, because the bridge is stopping") from error

    async def close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _publish(self, lane: str, messages: Sequence[Outgoing]) -> None:
        link = await self._opened()
        try:
            await self._send(link, lane, messages)
        except Refused:
            raise
        except Unavailable:
            self._confirmed.clear()
            if self._link is link:
                self._link = None
            await link.close()
            raise

    async def _send(self, link: Link, lane: str, messages: Sequence[Outgoing]) -> None:
        confirmed = self._confirmed.pop(lane, ())
        pairs = zip(confirmed, messages, strict=False)
        done = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if done == len(messages) < len(confirmed):
            self._confirmed[lane] = confirmed[done:]
        while done < len(messages):
            # After a refusal one message, then two, four, and so on, however the slices are cut: at most as many
            # are repeated as have gone on, and one.
            gone_on = self._gone_on.get(lane)
            part = messages[done : None if gone_on is None else done + gone_on + 1]
            try:
                unrouted = await link.publish(lane, self._exchange, part)
            except Refused as refused:
                self._confirmed[lane], self._gone_on[lane] = messages[: done + refused.confirmed], 0
                self._metrics.published(refused.confirmed, 0)
                raise
            self._metrics.published(len(part), unrouted)
            done += len(part)
            if gone_on is not None:
                self._gone_on[lane] = gone_on + len(part)

    async def _opened(self) -> Link:
        async with self._opening:
            if self._link is None:
                self._link = await self._connect()
            return self._link
