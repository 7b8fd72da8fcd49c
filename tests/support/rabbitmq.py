"""RabbitMQ in memory, and where the tests find a real one. The contract suite holds the double to the real one."""

import asyncio
import itertools
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import pytest

from services.rabbitmq.protocols import Delivery, Outgoing, Properties, QueueSpec, Refused, Topology
from shared.contracts.errors import ConfigurationError, Unavailable
from shared.local.rabbitmq import find_rabbitmq, server


@dataclass(slots=True)
class _Queue:
    spec: QueueSpec
    #: Body, properties, and how often it was delivered without an acknowledgement.
    messages: deque[tuple[bytes, Properties, int]] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryRabbit:
    """A broker: topic and fanout exchanges, quorum queues with a limit of deliveries, confirms. While
    ``available`` is false nobody connects. ``end_connections`` ends those that there are."""

    def __init__(self) -> None:
        self.exchanges: dict[str, str] = {}
        self.queues: dict[str, _Queue] = {}
        self.bindings: list[tuple[str, str, str]] = []
        self.links: list[MemoryLink] = []
        self.available = True

    async def connect(self) -> "MemoryLink":
        if not self.available:
            raise Unavailable("RabbitMQ: nobody answers")
        link = MemoryLink(self)
        self.links.append(link)
        return link

    def end_connections(self) -> None:
        for link in list(self.links):
            link.end()

    def bind(self, queue: str, exchange: str, pattern: str) -> None:
        self.queues.setdefault(queue, _Queue(QueueSpec(queue, {})))
        self.bindings.append((exchange, pattern, queue))

    def send(self, exchange: str, key: str, body: bytes, properties: Properties) -> bool:
        """Whether a queue takes it. Raises Refused when one is full; the others have it then."""
        if exchange == "":
            names = [key] if key in self.queues else []
        else:
            names = [
                queue
                for name, pattern, queue in self.bindings
                if name == exchange and (self.exchanges[name] == "fanout" or _matches(pattern, key))
            ]
        refusing = [name for name in names if self._is_full(name)]
        for name in names:
            if name not in refusing:
                self.queues[name].messages.append((body, properties, 0))
                self.queues[name].changed.set()
        if refusing:
            raise Refused(0)
        return bool(names)

    def _is_full(self, queue: str) -> bool:
        most = self.queues[queue].spec.arguments.get("x-max-length")
        return isinstance(most, int) and len(self.queues[queue].messages) >= most

    def give_back(self, queue: str, messages: Sequence[tuple[bytes, Properties, int]]) -> None:
        """What is not acknowledged returns to its place, or is laid aside at the limit of deliveries."""
        found = self.queues[queue]
        limit = found.spec.arguments.get("x-delivery-limit")
        for body, properties, count in reversed(messages):
            if isinstance(limit, int) and count >= limit:
                self.send(str(found.spec.arguments["x-dead-letter-exchange"]), queue, body, properties)
            else:
                found.messages.appendleft((body, properties, count + 1))
        found.changed.set()


class MemoryLink:
    """A Link to a MemoryRabbit."""

    def __init__(self, rabbit: MemoryRabbit) -> None:
        self._rabbit = rabbit
        self._consumptions: list[MemoryConsumption] = []
        self.alive = True

    async def declare(self, topology: Topology) -> None:
        self._need()
        for exchange in topology.exchanges:
            if self._rabbit.exchanges.setdefault(exchange.name, exchange.type) != exchange.type:
                raise ConfigurationError(f"RabbitMQ has the exchange {exchange.name} with other arguments")
        for queue in topology.queues:
            found = self._rabbit.queues.setdefault(queue.name, _Queue(queue))
            if dict(found.spec.arguments) != dict(queue.arguments):
                raise ConfigurationError(f"RabbitMQ has the queue {queue.name} with other arguments")
            if queue.bound_to is not None:
                self._rabbit.bindings.append((queue.bound_to, "", queue.name))

    async def check(self, topology: Topology) -> None:
        self._need()
        for exchange in topology.exchanges:
            if exchange.name not in self._rabbit.exchanges:
                raise ConfigurationError(f"RabbitMQ does not have the exchange {exchange.name}")
        for queue in topology.queues:
            if queue.name not in self._rabbit.queues:
                raise ConfigurationError(f"RabbitMQ does not have the queue {queue.name}")

    async def consume(self, queue: str, prefetch: int, most_bytes: int) -> "MemoryConsumption":
        self._need()
        if queue not in self._rabbit.queues:
            raise Unavailable(f"RabbitMQ: there is no queue {queue}")
        consumption = MemoryConsumption(self._rabbit, self, queue, prefetch, most_bytes)
        self._consumptions.append(consumption)
        return consumption

    async def publish(self, lane: str, exchange: str, messages: Sequence[Outgoing]) -> int:  # noqa: ARG002
        self._need()
        if exchange and exchange not in self._rabbit.exchanges:
            raise Unavailable(f"RabbitMQ: there is no exchange {exchange}")
        unrouted, refused = 0, None
        for index, message in enumerate(messages):
            try:
                unrouted += not self._rabbit.send(exchange, message.key, message.body, message.properties)
            except Refused:
                refused = index if refused is None else refused
        if refused is not None:
            raise Refused(refused)
        return unrouted

    async def count(self, queue: str) -> int:
        self._need()
        if queue not in self._rabbit.queues:
            raise ConfigurationError(f"RabbitMQ does not have the queue {queue}")
        return len(self._rabbit.queues[queue].messages)

    async def close(self) -> None:
        self.end()

    def end(self) -> None:
        if self.alive:
            self.alive = False
            self._rabbit.links.remove(self)
            for consumption in self._consumptions:
                consumption.end()

    def _need(self) -> None:
        if not self.alive:
            raise Unavailable("RabbitMQ: the connection is closed")


class MemoryConsumption:
    """A Consumption of a MemoryRabbit."""

    def __init__(self, rabbit: MemoryRabbit, link: MemoryLink, queue: str, prefetch: int, most_bytes: int) -> None:
        self._rabbit, self._link, self._name = rabbit, link, queue
        self._prefetch, self._most_bytes = prefetch, most_bytes
        self._tags = itertools.count(1)
        self._unacknowledged: dict[int, tuple[bytes, Properties, int]] = {}

    async def take(self, most: int) -> Sequence[Delivery]:
        queue = self._rabbit.queues[self._name]
        while True:
            if not self._link.alive:
                raise Unavailable("RabbitMQ: the channel is closed")
            room = min(most, self._prefetch - len(self._unacknowledged))
            held = sum(len(body) for body, *_ in self._unacknowledged.values())
            taken: list[tuple[bytes, Properties, int]] = []
            while queue.messages and len(taken) < room and held < self._most_bytes:
                taken.append(queue.messages.popleft())
                held += len(taken[-1][0])
            if taken:
                break
            queue.changed.clear()
            await queue.changed.wait()
        deliveries = []
        for message in taken:
            tag = next(self._tags)
            self._unacknowledged[tag] = message
            deliveries.append(Delivery(tag, message[0], message[1], message[2] > 0))
        return deliveries

    async def acknowledge(self, tag: int) -> None:
        if not self._link.alive:
            raise Unavailable("RabbitMQ: the channel is closed")
        self._unacknowledged = {each: it for each, it in self._unacknowledged.items() if each > tag}
        self._rabbit.queues[self._name].changed.set()

    def end(self) -> None:
        unacknowledged, self._unacknowledged = self._unacknowledged, {}
        self._rabbit.give_back(self._name, list(unacknowledged.values()))


def _matches(pattern: str, key: str) -> bool:
    """As a topic exchange: ``*`` is a word, ``#`` any number of them."""

    def fits(patterns: list[str], words: list[str]) -> bool:
        if not patterns:
            return not words
        first, rest = patterns[0], patterns[1:]
        if first == "#":
            return any(fits(rest, words[n:]) for n in range(len(words) + 1))
        return bool(words) and first in ("*", words[0]) and fits(rest, words[1:])

    return fits(pattern.split("."), key.split("."))


def missing(error: ConfigurationError) -> NoReturn:
    """Skip the test that has no RabbitMQ; where KITH_TEST_RABBITMQ=required, as in CI, fail it."""
    if os.environ.get("KITH_TEST_RABBITMQ") == "required":
        pytest.fail(str(error))
    pytest.skip(str(error))


@contextmanager
def real_rabbitmq() -> Iterator[str]:
    """The address of a real RabbitMQ: KITH_AMQP, a container with KITH_TEST_SERVERS=docker, or the machine's
    own, started here. See ``missing``."""
    if named := os.environ.get("KITH_AMQP"):
        yield named
        return
    if os.environ.get("KITH_TEST_SERVERS") == "docker":
        from shared.local.containers import rabbitmq

        with rabbitmq() as address:
            yield address
        return
    try:
        find_rabbitmq()
    except ConfigurationError as error:
        missing(error)
    with tempfile.TemporaryDirectory(prefix="kith-rabbitmq-") as folder:
        path = Path(folder)
        with server(path / "data", path / "log" / "rabbitmq.log") as rabbit:
            yield rabbit.uri
