"""Changes → messages for the exchange. Pure.

Nothing is folded: a change goes out with its own bytes and its own number, so that a receiver counts it once
however often it comes.
"""

from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from typing import Any

from services.rabbitmq.protocols import Outgoing, Properties
from shared.contracts.changes import read_change
from shared.contracts.errors import InvalidEvent
from shared.contracts.topics import CHANGES, Topics
from shared.runtime.protocols import Answer, Ask, Document, Outcome, Record
from shared.runtime.relation_changes import ReadsChanges
from shared.runtime.sequence_numbers import NUMBER, ORIGIN

_CONTENT_TYPE = "application/cloudevents+json"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RabbitProjection(ReadsChanges):
    """The three change topics; its effects are messages."""

    name = "rabbitmq"
    version = 1

    def __init__(self, topics: Topics) -> None:
        self.topics: tuple[str, ...] = tuple(topics.name(short) for short in CHANGES.values())

    def decode(self, record: Record) -> Document:
        """The change in a record: a CloudEvent, in JSON. Raises InvalidEvent."""
        change = read_change(record.value)
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
        return Outcome(effects=[outgoing(record, change) for record, change in items])


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


def outgoing(record: Record, change: Document) -> Outgoing:
    """The message of a change, with the bytes of the record that holds it."""
    headers = dict(record.headers)
    time = datetime.fromisoformat(change["time"])
    numbers: dict[str, object] = {}
    if ORIGIN in headers and NUMBER in headers:
        # Their forms were checked when the record was accepted.
        numbers = {ORIGIN: headers[ORIGIN].decode(), NUMBER: int(headers[NUMBER])}
    properties = Properties(
        content_type=_CONTENT_TYPE,
        message_id=change["id"],
        type=change["type"],
        # AMQP counts seconds since 1970, and cannot go below. The body has the time as it is.
        timestamp=time if time >= _EPOCH else None,
        headers=numbers,
    )
    return Outgoing(routing_key(change), record.value or b"", properties)
