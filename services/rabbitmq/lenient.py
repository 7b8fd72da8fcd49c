"""Lets pamqp, which decodes AMQP's frames, read properties that are not as the specification has them.

RabbitMQ passes on what a publisher has written: text that is no UTF-8, a time in microseconds. pamqp raises, and
its connection ends with every message in flight; so would the next one, at the same message.
"""

import struct
from typing import cast

from pamqp import common, decode


class Undecodable(str):
    """Stands for a property that cannot be decoded: its bytes, escaped."""

    __slots__ = ()


def tolerate_properties() -> None:
    """Replace the decoders of pamqp, for the whole process. May be called again."""
    decode.METHODS["shortstr"] = _short_str
    decode.METHODS["timestamp"] = _timestamp
    decode.METHODS["table"] = _table
    decode.TABLE_MAPPING[b"T"] = _time_in_table


def _short_str(value: bytes) -> tuple[int, str]:
    try:
        return decode.short_str(value)
    except UnicodeDecodeError:
        end = 1 + value[0]
        return end, _escaped(value[1:end])


def _timestamp(value: bytes) -> tuple[int, common.FieldValue]:
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        if len(value) < 8:
            raise
        return 8, _escaped(value[:8])


def _time_in_table(value: bytes) -> tuple[int, common.FieldValue]:
    """A header's time, or its number where that is none."""
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        if len(value) < 8:
            raise
        return 8, int.from_bytes(value[:8])


def _table(value: bytes) -> tuple[int, common.FieldTable]:
    try:
        return decode.field_table(value)
    except (ValueError, OverflowError, RecursionError, struct.error):
        end = 4 + int.from_bytes(value[:4])
        if len(value) < max(4, end):
            raise
        return end, cast("common.FieldTable", _escaped(value[4:end]))


def _escaped(value: bytes) -> Undecodable:
    return Undecodable(value.decode("ascii", "backslashreplace"))
