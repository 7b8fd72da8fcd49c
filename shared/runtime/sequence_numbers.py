"""Numbers on messages, so that a reader of changes counts each exactly once. Pure.

Publishing after the commit may repeat messages (a crash before the outbox is cleared) and, when a broker
fails in the middle, even leave a gap that is filled by the repetition. So a projection numbers its changes
without a gap, per position (``kith-origin``), in its own transaction, and a reader takes number n + 1 after n:
what is lower is a repetition, what is higher comes again.
"""

import re
from collections.abc import Iterable

from shared.contracts.errors import InvalidEvent
from shared.runtime.protocols import Message, Record

ORIGIN = "kith-origin"
NUMBER = "kith-number"
_MOST_ORIGIN_BYTES = 400  # a position's name: a projection, a topic (249 characters at most) and a partition
# What number() writes, and no more than MongoDB can store.
_DIGITS = re.compile(rb"[1-9][0-9]{0,17}")


def assign_numbers(messages: Iterable[Message], origin: str, emitted: int) -> tuple[list[Message], int]:
    """The messages with numbers from ``emitted`` + 1 on those that name a partition, and the last number."""
    numbered = []
    named = (ORIGIN, origin.encode())
    for message in messages:
        topic, key, value, partition, headers = message
        if partition is not None:
            emitted += 1
            message = Message(topic, key, value, partition, (*headers, named, (NUMBER, b"%d" % emitted)))
        numbered.append(message)
    return numbered, emitted


class SequenceFilter:
    """Lets each numbered record through once, in order. ``seen`` is origin → highest number so far.

    ``trimmed`` says that the log's beginning is gone (retention), so that the first number met of an origin
    need not be 1. Records without a number pass; one that is not a number raises InvalidEvent.
    """

    def __init__(self, seen: dict[str, int], *, trimmed: bool) -> None:
        self.seen = seen
        self._trimmed = trimmed
        self.repeated = 0
        self.ahead = 0

    def accept(self, record: Record) -> bool:
        if not record.headers:
            return True
        headers = dict(record.headers)
        if ORIGIN not in headers or NUMBER not in headers:
            return True
        if not _DIGITS.fullmatch(headers[NUMBER]):
            raise InvalidEvent("invalid", "is not a number", NUMBER)
        if len(headers[ORIGIN]) > _MOST_ORIGIN_BYTES:
            raise InvalidEvent("invalid", "is too long", ORIGIN)
        try:
            origin, found = headers[ORIGIN].decode(), int(headers[NUMBER])
        except UnicodeDecodeError:
            raise InvalidEvent("invalid", "is not text in UTF-8", ORIGIN) from None
        expected = self.seen[origin] + 1 if origin in self.seen else found if self._trimmed else 1
        if found != expected:
            self.repeated += found < expected
            self.ahead += found > expected
            return False
        self.seen[origin] = found
        return True
