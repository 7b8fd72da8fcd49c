"""Sequence numbers on messages, so that a reader of changes counts each exactly once. Pure.

Publishing after the commit may repeat messages (a crash before the outbox is cleared). When a broker fails during
it, there may even be a gap, which the repetition fills. So a projection numbers its changes without a gap, per
position (``kith-origin``), in its own transaction, and a reader accepts number n + 1 after n. A lower number is a
duplicate; a higher one will be redelivered.
"""

import re
from collections.abc import Iterable

from shared.contracts.errors import InvalidEvent
from shared.runtime.protocols import Message, Record

ORIGIN = "kith-origin"
NUMBER = "kith-number"
_MOST_ORIGIN_BYTES = 400  # a position's name: a projection, a topic (249 characters at most) and a partition
# The form that assign_numbers() writes, with no more digits than MongoDB can store.
_DIGITS = re.compile(rb"[1-9][0-9]{0,17}")


def assign_numbers(messages: Iterable[Message], origin: str, emitted: int) -> tuple[list[Message], int]:
    """The messages, those with a partition numbered from ``emitted`` + 1 on, and the last number assigned."""
    numbered = []
    named = (ORIGIN, origin.encode())
    for message in messages:
        topic, key, value, partition, headers = message
        if partition is not None:
            emitted += 1
            message = Message(topic, key, value, partition, (*headers, named, (NUMBER, b"%d" % emitted)))
        numbered.append(message)
    return numbered, emitted


def place_of(record: Record) -> dict[str, int]:
    """Origin and number of a record that was accepted; empty where it has none."""
    headers = dict(record.headers)
    return {headers[ORIGIN].decode(): int(headers[NUMBER])} if ORIGIN in headers and NUMBER in headers else {}


class SequenceFilter:
    """Accepts each numbered record once, in order. ``seen`` is origin → highest number so far.

    ``trimmed``: retention has deleted the beginning of the log, so the first number of an origin need not be 1.
    Records without a number are accepted. A malformed number raises InvalidEvent.
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
