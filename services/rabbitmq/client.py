"""RabbitMQ by aiormq: the client below aio-pika. aio-pika's own reconnecting would hide the breaks on which it
depends here what is acknowledged and what is sent again."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import aiormq
from aiormq import Channel
from aiormq.abc import AbstractConnection, DeliveredMessage
from aiormq.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ConnectionNotAllowed,
    DeliveryError,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from services.rabbitmq.frames import basic_of, delivery_of
from services.rabbitmq.lenient import tolerate_properties
from services.rabbitmq.protocols import Delivery, Outgoing, Refused, Topology
from shared.contracts.errors import ConfigurationError, Unavailable

_CONNECT_SECONDS = 15.0
#: A queue whose leader is gone does not answer.
_ANSWER_SECONDS = 30.0
_CLOSE_SECONDS = 3.0
#: Messages on their way to RabbitMQ, per lane. It takes most of them before it confirms the first.
_UNCONFIRMED = 500
_REFUSALS = (AuthenticationError, ProbableAuthenticationError, ConnectionNotAllowed)

# It logs each refused connection with its traceback; the caller logs it once.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)


async def connect(uri: str) -> "RabbitLink":
    """A connection. Raises Unavailable, and ConfigurationError when RabbitMQ refuses the user."""
    tolerate_properties()
    with _translated(connecting=True):
        async with asyncio.timeout(_CONNECT_SECONDS):
            return RabbitLink(await aiormq.connect(uri))


class RabbitLink:
    """A Link."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._lanes: dict[str, Channel] = {}

    async def declare(self, topology: Topology) -> None:
        for exchange in topology.exchanges:
            async with self._channel(f"the exchange {exchange.name}") as channel:
                await channel.exchange_declare(
                    exchange.name, exchange_type=exchange.type, durable=True, timeout=_ANSWER_SECONDS
                )
        for queue in topology.queues:
            async with self._channel(f"the queue {queue.name}") as channel:
                await channel.queue_declare(
                    queue.name,
                    durable=True,
                    arguments=dict(queue.arguments),  # type: ignore[arg-type]
                    timeout=_ANSWER_SECONDS,
                )
                if queue.bound_to is not None:
                    await channel.queue_bind(queue.name, queue.bound_to, timeout=_ANSWER_SECONDS)

    async def check(self, topology: Topology) -> None:
        for exchange in topology.exchanges:
            async with self._channel(f"the exchange {exchange.name}") as channel:
                await channel.exchange_declare(exchange.name, passive=True, timeout=_ANSWER_SECONDS)
        for queue in topology.queues:
            async with self._channel(f"the queue {queue.name}") as channel:
                await channel.queue_declare(queue.name, passive=True, timeout=_ANSWER_SECONDS)

    async def count(self, queue: str) -> int:
        async with self._channel(f"the queue {queue}") as channel:
            found = await channel.queue_declare(queue, passive=True, timeout=_ANSWER_SECONDS)
        return found.message_count or 0

    async def consume(self, queue: str, prefetch: int, most_bytes: int) -> "RabbitConsumption":
        with _translated():
            channel = await self._opened()
            await channel.basic_qos(prefetch_count=prefetch, timeout=_ANSWER_SECONDS)
            consumption = RabbitConsumption(channel, most_bytes)
            _without_tasks(channel, consumption)
            # With a deadline: a queue that was declared just before a crash never answers.
            await channel.basic_consume(queue, consumption.received, timeout=_ANSWER_SECONDS)
        return consumption

    async def publish(self, lane: str, exchange: str, messages: Sequence[Outgoing]) -> int:
        unrouted = 0
        with _translated():
            channel = self._lanes.get(lane)
            if channel is None or channel.is_closed:
                channel = self._lanes[lane] = await self._opened(publisher_confirms=True)
            async with asyncio.timeout(_ANSWER_SECONDS):
                for start in range(0, len(messages), _UNCONFIRMED):
                    try:
                        unrouted += await _publish(channel, exchange, messages[start : start + _UNCONFIRMED])
                    except Refused as refused:
                        raise Refused(start + refused.confirmed) from refused
        return unrouted

    async def close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._connection.close()
        except (AMQPError, OSError, TimeoutError):
            return

    async def _opened(self, *, publisher_confirms: bool = False) -> Channel:
        """A new channel: the concrete class, because its interface lacks an argument."""
        if self._connection.is_closed:
            raise Unavailable("RabbitMQ: the connection is closed")
        async with asyncio.timeout(_ANSWER_SECONDS):
            opened = self._connection.channel(publisher_confirms=publisher_confirms, on_return_raises=False)
            return cast("Channel", await opened)

    @asynccontextmanager
    async def _channel(self, what: str) -> AsyncIterator[Channel]:
        """A channel of its own, because a refusal closes it."""
        with _declaring(what):
            channel = await self._opened()
            yield channel
            await channel.close()


class RabbitConsumption:
    """A Consumption on a channel of its own."""

    def __init__(self, channel: Channel, most_bytes: int) -> None:
        self._channel = channel
        self._waiting: deque[DeliveredMessage] = deque()
        self._wake = asyncio.Event()
        self._most_bytes = most_bytes
        #: Tag and size of each message that is not acknowledged, in order, and the sum of the sizes.
        self._unacknowledged: deque[tuple[int, int]] = deque()
        self._held = 0
        self._room = asyncio.Event()
        self._cancelled = False
        channel.closing.add_done_callback(lambda _: self._wake.set())
        channel.on_consumer_cancel_callbacks.add(self._cancel)

    async def received(self, message: DeliveredMessage) -> None:
        await self.room()
        self.keep(message)

    async def room(self) -> None:
        """Wait until another message may be read. AMQP's prefetch counts messages, whatever their size; what is
        not read here waits at RabbitMQ's end of the connection."""
        while self._held >= self._most_bytes:
            self._room.clear()
            await self._room.wait()

    def keep(self, message: DeliveredMessage) -> None:
        size = len(message.body)
        self._unacknowledged.append((message.delivery_tag or 0, size))
        self._held += size
        self._waiting.append(message)
        self._wake.set()

    async def take(self, most: int) -> Sequence[Delivery]:
        while self._cancelled or not self._waiting or self._channel.is_closed:
            if self._cancelled:
                raise Unavailable("RabbitMQ has ended the consumer, as it does when the queue is deleted")
            if self._channel.is_closed or self._channel.closing.done():
                raise Unavailable("RabbitMQ: the channel is closed")
            self._wake.clear()
            await self._wake.wait()
        return [delivery_of(self._waiting.popleft()) for _ in range(min(most, len(self._waiting)))]

    async def acknowledge(self, tag: int) -> None:
        with _translated():
            await self._channel.basic_ack(tag, multiple=True)
        while self._unacknowledged and self._unacknowledged[0][0] <= tag:
            self._held -= self._unacknowledged.popleft()[1]
        self._room.set()

    def _cancel(self, _: object) -> None:
        self._cancelled = True
        self._wake.set()


def _without_tasks(channel: Channel, consumption: RabbitConsumption) -> None:
    """Give the messages of this channel to ``consumption`` as they are read. aiormq makes a task for each, which
    costs as much as reading it."""

    async def deliver(frame: Basic.Deliver) -> None:
        await consumption.room()
        header = await channel._get_frame()
        assert isinstance(header, ContentHeader)
        consumption.keep(await channel._read_content(frame, header))

    channel._on_deliver_frame = deliver  # type: ignore[method-assign]


async def _publish(channel: Channel, exchange: str, messages: Sequence[Outgoing]) -> int:
    """Publish side by side; the channel keeps the order. Returns how many came back. Raises Refused."""
    sending = [
        asyncio.ensure_future(
            channel.basic_publish(
                message.body,
                exchange=exchange,
                routing_key=message.key,
                properties=basic_of(message.properties),
                mandatory=True,
                wait=False,
            )
        )
        for message in messages
    ]
    try:
        # What was refused is known once all are answered.
        answers = await asyncio.gather(*sending, return_exceptions=True)
    finally:
        for each in sending:
            each.cancel()
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    for error in failed:
        if not isinstance(error, DeliveryError):
            raise error
    if failed:
        raise Refused(answers.index(failed[0])) from failed[0]
    return sum(isinstance(answer, DeliveredMessage) for answer in answers)


@contextmanager
def _declaring(what: str) -> Iterator[None]:
    """Refusals of a declaration, which a retry does not mend."""
    try:
        with _translated():
            yield
    except Unavailable as unavailable:
        error = unavailable.__cause__
        if isinstance(error, ChannelAccessRefused):
            raise ConfigurationError(f"RabbitMQ: the user may not use {what}: {_reason(error)}") from error
        if isinstance(error, ChannelNotFoundEntity):
            advice = "Create it, or let Kith do it: KITH_RABBITMQ_DECLARE=on"
            raise ConfigurationError(f"RabbitMQ does not have {what}. {advice}") from error
        if isinstance(error, ChannelPreconditionFailed):
            advice = "Delete it while it is empty, or use it as it is: KITH_RABBITMQ_DECLARE=off"
            found = f"RabbitMQ has {what} with other arguments: {_reason(error)}"
            raise ConfigurationError(f"{found}. {advice}") from error
        raise


@contextmanager
def _translated(*, connecting: bool = False) -> Iterator[None]:
    # Instead of opening the virtual host, RabbitMQ closes the connection.
    refused = (*_REFUSALS, InvalidFrameError) if connecting else _REFUSALS
    try:
        yield
    except refused as error:
        # Not for good: passwords are rotated, and a server that starts knows no users yet.
        raise Unavailable("RabbitMQ refuses the user, or the virtual host, that KITH_AMQP names") from error
    except ChannelInvalidStateError as error:
        raise Unavailable("RabbitMQ: the channel is closed") from error
    except (AMQPError, OSError, TimeoutError, asyncio.InvalidStateError) as error:
        raise Unavailable(f"RabbitMQ: {_reason(error)}") from error
    except asyncio.CancelledError as error:
        # When a connection closes, aiormq cancels what waits for it. That is no cancellation of this task.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable("RabbitMQ: the connection is closed") from error
    except Exception as error:
        # So it ends what waits when it knows no reason, as when the server closes between two frames.
        if type(error) is not Exception:
            raise
        raise Unavailable(f"RabbitMQ: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    parts = [str(part) for part in error.args if isinstance(part, str)]
    return " ".join(parts) or type(error).__name__
