"""Reads records with a header name that is not UTF-8. Kafka accepts them. kafka-python 3.0.12 reports them as
corrupt, and can then never read past one."""

from typing import Any

from kafka.errors import CorruptRecordError
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.util import decode_varint


def read_any_header_name() -> None:
    """Make kafka-python read such records without their headers in this process, as the librdkafka reader does.
    Idempotent."""
    memory_records.DefaultRecordBatch = _Batch


class _Batch(DefaultRecordBatch):  # type: ignore[misc]
    """kafka-python's own batch. An ordinary record costs nothing more."""

    _buffer: bytearray
    _pos: int

    def __next__(self) -> DefaultRecord:
        if self._next_record_index >= self._num_records:
            return super().__next__()  # ends the batch, or raises why it cannot end there
        try:
            try:
                record = self._read_msg()
            except UnicodeDecodeError:
                record = self._read_without_headers()
        except (ValueError, IndexError) as error:
            raise CorruptRecordError(f"Found invalid record structure: {error!r}") from error
        self._next_record_index += 1
        return record

    next = __next__

    def _read_without_headers(self) -> DefaultRecord:
        whole, start = self._buffer, self._pos
        length, body = decode_varint(whole, start)
        self._buffer, self._pos = _Lenient(whole[start : body + length]), 0
        try:
            record = self._read_msg()
            start += self._pos
        finally:
            self._buffer, self._pos = whole, start
        record._headers = []
        return record


class _Lenient(bytearray):
    """Bytes whose slices decode without errors."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _Lenient(found) if isinstance(place, slice) else found

    def decode(self, *_: str) -> str:
        return super().decode("utf-8", "replace")
