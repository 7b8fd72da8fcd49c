"""Deliveries of one queue → the door's verdicts. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from services.ingest.door import Accepted, Door, Rejected, Verdict
from services.ingest.limits import Refused
from services.rabbitmq.protocols import Delivery, Properties
from services.rabbitmq.translation import requests_of
from shared.contracts.errors import InvalidEvent

#: The tenant of a queue whose events state their own.
ANY_TENANT = "*"


class Bad(NamedTuple):
    """What can never be accepted: its bytes, the properties of its message, and why."""

    body: bytes
    properties: Properties
    error: InvalidEvent


@dataclass(slots=True)
class Judged:
    """The verdicts on so many ``deliveries``, in order. ``bodies`` are the bytes of the events as they came and
    the properties of their messages, one for each of ``verdicts``. ``unreadable`` are messages without any event.
    ``last`` is the tag of the last delivery, ``size`` the bytes of what they contain, decompressed."""

    last: int = 0
    deliveries: int = 0
    redelivered: int = 0
    size: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    bodies: list[tuple[bytes, Properties]] = field(default_factory=list)
    unreadable: list[Bad] = field(default_factory=list)

    def bad(self) -> list[Bad]:
        """What becomes dead letters."""
        rejected = [
            Bad(*body, _error(verdict))
            for verdict, body in zip(self.verdicts, self.bodies, strict=True)
            if isinstance(verdict, Rejected)
        ]
        return [*self.unreadable, *rejected]

    def accepted(self) -> list[Accepted]:
        return [verdict for verdict in self.verdicts if isinstance(verdict, Accepted)]


def _error(verdict: Rejected) -> InvalidEvent:
    if verdict.reason == "wrong_tenant":
        return InvalidEvent("wrong_tenant", "is not the tenant of the queue in KITH_RABBITMQ_QUEUES", "tenant")
    return InvalidEvent(verdict.reason, verdict.detail, verdict.field)


def judge(
    door: Door, queue: str, tenant: str, deliveries: Iterable[Delivery], arrived: datetime, most_bytes: int
) -> Judged:
    """Judge deliveries of ``queue``, whose events are ``tenant``'s (``*``: that which each states), until what
    they contain has ``most_bytes``; at least one. Raises NotYetUnderstood."""
    judged = Judged()
    bound = None if tenant == ANY_TENANT else tenant
    for delivery in deliveries:
        _judge(door, queue, bound, delivery, arrived, judged)
        judged.last = delivery.tag
        judged.deliveries += 1
        judged.redelivered += delivery.redelivered
        if judged.size >= most_bytes:
            break
    return judged


def _judge(
    door: Door, queue: str, tenant: str | None, delivery: Delivery, arrived: datetime, judged: Judged
) -> None:
    try:
        requests = requests_of(delivery, queue)
    except InvalidEvent as error:
        judged.unreadable.append(Bad(delivery.body, delivery.properties, error))
        judged.size += len(delivery.body)
        return
    for body, headers in requests:
        judged.size += len(body)
        if not headers:
            judged.verdicts.append(door.judge_one(body, arrived, tenant))
            judged.bodies.append((body, delivery.properties))
            continue
        try:
            verdicts = door.judge(body, headers, arrived, tenant)
        except Refused as error:
            judged.unreadable.append(Bad(body, delivery.properties, InvalidEvent("invalid", error.detail)))
            continue
        judged.verdicts.extend(verdicts)
        judged.bodies.extend([(body, delivery.properties)] * len(verdicts))
