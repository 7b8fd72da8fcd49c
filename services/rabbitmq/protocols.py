"""What the bridge needs of RabbitMQ. ``services.rabbitmq.client`` implements it, and a double in the tests; one
contract suite holds both to the same behaviour. Pure."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from shared.contracts.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties of an AMQP message that have a meaning here. ``headers`` are the application's, with values
    as AMQP has them: text, bytes, numbers, truth values, times."""

    content_type: str | None = None
    content_encoding: str | None = None
    message_id: str | None = None
    type: str | None = None
    timestamp: datetime | None = None
    headers: Mapping[str, object] = field(default_factory=dict)


class Delivery(NamedTuple):
    """A message of a queue. ``tag`` identifies it within its consumption, and counts up. Body and properties are
    the same each time that it is delivered. ``undecodable`` names a property that is not as AMQP has it, or is
    empty."""

    tag: int
    body: bytes
    properties: Properties
    redelivered: bool
    undecodable: str = ""


class Outgoing(NamedTuple):
    """A message to an exchange."""

    key: str
    body: bytes
    properties: Properties


class Refused(Unavailable):
    """A queue does not take a message, as one with ``x-overflow: reject-publish`` that is full. Of what was to be
    published the first ``confirmed`` are; of the others any may have gone to other queues. The connection is as
    good as before."""

    def __init__(self, confirmed: int) -> None:
        super().__init__("RabbitMQ: a queue that is bound to the exchange refuses messages; is one full?")
        self.confirmed = confirmed


class QueueSpec(NamedTuple):
    """A durable queue. ``bound_to`` is the exchange whose messages it gets, besides those sent to its name."""

    name: str
    arguments: Mapping[str, object]
    bound_to: str | None = None


class ExchangeSpec(NamedTuple):
    """A durable exchange of type ``topic`` or ``fanout``."""

    name: str
    type: str


class Topology(NamedTuple):
    exchanges: tuple[ExchangeSpec, ...]
    queues: tuple[QueueSpec, ...]


class Consumption(Protocol):
    """A consumer of one queue."""

    async def take(self, most: int) -> Sequence[Delivery]:
        """Wait for deliveries, and return at most ``most``, in order. Raises Unavailable when the channel or the
        connection is lost: what is not acknowledged will be delivered again."""

    async def acknowledge(self, tag: int) -> None:
        """Acknowledge every delivery up to ``tag``. Raises Unavailable."""


class Link(Protocol):
    """A connection. Every method raises Unavailable when it is lost."""

    async def declare(self, topology: Topology) -> None:
        """Create what is missing. Raises ConfigurationError when something is there with other arguments, or must
        not be created."""

    async def check(self, topology: Topology) -> None:
        """Raise ConfigurationError when something is missing. Its arguments cannot be checked over AMQP."""

    async def consume(self, queue: str, prefetch: int, most_bytes: int) -> Consumption:
        """Consume with at most ``prefetch`` unacknowledged deliveries, of which no further one is read while those
        in hand have ``most_bytes`` or more. Nothing else is read from the connection then, no confirmation
        either: what publishes has one of its own."""

    async def publish(self, lane: str, exchange: str, messages: Sequence[Outgoing]) -> int:
        """Publish in order, on the channel of ``lane``. Returns once all are confirmed, how many of them no queue
        took. Raises Unavailable when some may be missing, and Refused when a queue does not take one."""

    async def count(self, queue: str) -> int:
        """How many messages wait in a queue. Raises ConfigurationError when it is missing."""

    async def close(self) -> None: ...


#: Opens a connection to a RabbitMQ that has what the bridge needs. Raises Unavailable and ConfigurationError.
Connect = Callable[[], Awaitable[Link]]
