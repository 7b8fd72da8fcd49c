"""The messages of aiormq and pamqp, to and from those of this service."""

from datetime import datetime

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from services.rabbitmq.lenient import Undecodable
from services.rabbitmq.protocols import Delivery, Properties

#: Headers that a quorum queue adds to what it delivers again (the second one from 4.3 on). They differ from one
#: delivery to the next, and are no part of the message.
_COUNTS = frozenset({"x-delivery-count", "x-acquired-count"})
#: The properties that have a meaning here.
_READ = ("content_type", "content_encoding", "message_id", "message_type", "timestamp", "headers")


def basic_of(properties: Properties) -> Basic.Properties:
    """The properties of a message that is published, which RabbitMQ keeps on disk."""
    return Basic.Properties(
        content_type=properties.content_type,
        message_id=properties.message_id,
        message_type=properties.type,
        timestamp=properties.timestamp,
        delivery_mode=2,
        headers=dict(properties.headers),  # type: ignore[arg-type]
    )


def delivery_of(message: DeliveredMessage) -> Delivery:
    """A message that was delivered."""
    found = message.header.properties
    undecodable = next((name for name in _READ if isinstance(getattr(found, name), Undecodable)), "")
    headers = {} if isinstance(found.headers, Undecodable) else found.headers or {}
    properties = Properties(
        found.content_type,
        found.content_encoding,
        found.message_id,
        found.message_type,
        found.timestamp if isinstance(found.timestamp, datetime) else None,
        {name: value for name, value in headers.items() if name not in _COUNTS},
    )
    assert message.delivery_tag is not None
    return Delivery(message.delivery_tag, message.body, properties, bool(message.redelivered), undecodable)
