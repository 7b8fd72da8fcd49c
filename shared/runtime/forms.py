"""Messages of the log in the form that is read: CloudEvents in JSON, structured mode. Pure."""

from collections.abc import Sequence
from typing import Any

from shared.contracts.errors import InvalidEvent
from shared.contracts.wire import check_headers, is_binary, normal, stated_in, structured, without_attributes
from shared.runtime.protocols import Record


def in_structured_mode(record: Record) -> Record:
    """The record in structured mode. A record that is not in binary mode, as nearly all, is returned as it is. The
    value of a CloudEvent in binary mode includes the headers that belong to it. Raises InvalidEvent when the
    headers do not make an event, or contradict the one in the value."""
    if not record.headers or record.value is None:
        return record
    if not is_binary(record.headers):
        if stated := stated_in(record.headers):
            check_headers(stated, record.value)
        return record
    value = structured(record.headers, record.value)
    return record._replace(value=value, headers=without_attributes(record.headers))


def readable(record: Record) -> Record:
    """The record in structured mode and in the codec's normal form, for display. A record that is not an event is
    returned as it is."""
    try:
        record = in_structured_mode(record)
        return record if record.value is None else record._replace(value=normal(record.value))
    except InvalidEvent:
        return record


def all_readable(records: Sequence[Record]) -> Sequence[Record]:
    """``readable`` of each record that may be in binary mode; the others unchanged."""
    if not any(record.headers for record in records):
        return records
    return [readable(record) if record.headers else record for record in records]


def with_structured(items: Sequence[tuple[Record, Any]]) -> Sequence[tuple[Record, Any]]:
    """Pairs of record and decoded event, with each record in structured mode."""
    if not any(record.headers for record, _ in items):
        return items
    return [(in_structured_mode(record), event) for record, event in items]
