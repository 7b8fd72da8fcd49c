"""Messages of the log in the form that is read: CloudEvents JSON structured mode. Pure."""

from collections.abc import Sequence
from typing import Any

from shared.contracts.errors import InvalidEvent
from shared.contracts.wire import is_binary, normal, structured, without_attributes
from shared.runtime.protocols import Record


def in_structured_mode(record: Record) -> Record:
    """The record itself, nearly always. Of a CloudEvent in binary mode, the value in structured mode, without the
    headers that are in it now. Raises InvalidEvent when the headers make no event."""
    if not record.headers or record.value is None or not is_binary(record.headers):
        return record
    value = structured(record.headers, record.value)
    return record._replace(value=value, headers=without_attributes(record.headers))


def readable(record: Record) -> Record:
    """The same, and in the codec's normal form, for who looks at events but does not judge them: what makes no
    event stays as it is."""
    try:
        record = in_structured_mode(record)
        return record if record.value is None else record._replace(value=normal(record.value))
    except InvalidEvent:
        return record


def all_readable(records: Sequence[Record]) -> Sequence[Record]:
    """``readable`` of each that may be in binary mode; the others as they are."""
    if not any(record.headers for record in records):
        return records
    return [readable(record) if record.headers else record for record in records]


def with_structured(items: Sequence[tuple[Record, Any]]) -> Sequence[tuple[Record, Any]]:
    """Records with their events, decoded already, the records in structured mode."""
    if not any(record.headers for record, _ in items):
        return items
    return [(in_structured_mode(record), event) for record, event in items]
