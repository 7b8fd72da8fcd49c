"""Changes → messages for the exchange. Pure.

Nothing is folded: a change goes out with its own bytes and its own number, so that a receiver counts it once
however often it comes.
"""

from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from services.rabbitmq.protocols import Outgoing, Properties
from shared.contracts.errors import InvalidEvent
from shared.contracts.topics import CHANGES, Topics
from shared.runtime.protocols import Answer, Ask, Document, Message, Outcome, Record
from shared.runtime.sequence_numbers import NUMBER, ORIGIN

#: Begins the topic of a message that is for RabbitMQ. Kafka allows no such name.
_TO_RABBITMQ = "amqp:"
_CONTENT_TYPE = "application/cloudevents+json"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RabbitProjection:
    """Turns the three change topics into messages. ``effects`` takes them out of an outcome again."""

    name = "rabbitmq"
    version = 1
    numbered = True

    def __init__(self, topics: Topics) -> None:
        self.topics: tuple[str, ...] = tuple(topics.name(short) for short in CHANGES.values())

    def weight(self, record: Record) -> int:  # noqa: ARG002
        return 1

    def decode(self, record: Record) -> Document:
        """The change in a record: a CloudEvent, in JSON. Raises InvalidEvent."""
        if record.value is None:
            raise InvalidEvent("not_json", "the message has no value")
        try:
            change = orjson.loads(record.value)
        except orjson.JSONDecodeError:
            raise InvalidEvent("not_json", "is not JSON") from None
        if not isinstance(change, dict) or not isinstance(change.get("data"), dict):
            raise InvalidEvent("invalid", "is not a change")
        for name in ("id", "type", "time", "tenant"):
            if not isinstance(change.get(name), str):
                raise InvalidEvent("invalid", "is missing or no text", name)
        try:
            key, time = routing_key(change), datetime.fromisoformat(change["time"])
        except (ValueError, AttributeError):
            raise InvalidEvent("invalid", "is not a change") from None
        if len(key.encode()) > 255 or time.tzinfo is None:
            raise InvalidEvent("invalid", "is not a change")
        return change

    def project(self, items: Sequence[tuple[Record, Document]]) -> Generator[Ask, Answer, Outcome]:
        """The changes of a slice of one partition, in order."""
        yield from ()
        return Outcome(messages=[_message(record, change) for record, change in items])


def effects(messages: Sequence[Message]) -> tuple[list[Outgoing], list[Message]]:
    """Of the messages of an outcome those for RabbitMQ, and those for Kafka (dead letters)."""
    outgoing = [_outgoing(message) for message in messages if message.topic.startswith(_TO_RABBITMQ)]
    return outgoing, [message for message in messages if not message.topic.startswith(_TO_RABBITMQ)]


def routing_key(change: Document) -> str:
    """``<tenant>.<type>.<kind>``, as in ``shop.relation.changed.purchase``. The kind is the relation's; of
    one that is retracted, what it was; of a consumer or provider ``erased``, ``closed`` or ``profile``."""
    data: dict[str, Any] = change["data"]
    state = data.get("after") or data.get("before")
    if state is not None:
        kind = state.get("kind") or "profile"
    else:
        kind = "erased" if data.get("erased") else "closed" if data.get("closed") else "profile"
    return f"{change['tenant']}.{change['type']}.{kind}"


def _message(record: Record, change: Document) -> Message:
    numbers = tuple((name, value) for name, value in record.headers if name in (ORIGIN, NUMBER))
    named = tuple((name, change[name].encode()) for name in ("id", "type", "time"))
    # Without a partition, so that it keeps its number and gets no new one.
    return Message(_TO_RABBITMQ + routing_key(change), None, record.value or b"", None, (*named, *numbers))


def _outgoing(message: Message) -> Outgoing:
    stated = {name: value.decode("utf-8", "replace") for name, value in message.headers}
    time = datetime.fromisoformat(stated["time"])
    headers: dict[str, object] = {}
    if ORIGIN in stated and NUMBER in stated:
        headers = {ORIGIN: stated[ORIGIN], NUMBER: int(stated[NUMBER])}
    properties = Properties(
        content_type=_CONTENT_TYPE,
        message_id=stated["id"],
        type=stated["type"],
        # AMQP counts seconds since 1970, and cannot go below. The body has the time as it is.
        timestamp=time if time >= _EPOCH else None,
        headers=headers,
    )
    return Outgoing(message.topic.removeprefix(_TO_RABBITMQ), message.value, properties)
