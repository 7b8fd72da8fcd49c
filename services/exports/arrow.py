"""Exports as Arrow record batches and Parquet files. Needs pyarrow."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from services.exports.columns import Row, Type
from services.exports.source import Export

#: Rows of a row group: the most that is in memory.
GROUP_ROWS = 50_000
COMPRESSION = "zstd"

TYPES: Mapping[Type, pa.DataType] = {
    "text": pa.string(),
    "choice": pa.dictionary(pa.int32(), pa.string()),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
    "day": pa.date32(),
    "texts": pa.list_(pa.string()),
    "json": pa.string(),
}


def schema_of(export: Export) -> pa.Schema:
    """The columns with their descriptions, and the origin and time of the export."""
    about = {
        "kith.dataset": export.name,
        "kith.tenant": export.tenant,
        "kith.as_of": export.as_of.isoformat(),
    }
    fields = [
        pa.field(column.name, TYPES[column.type], metadata={"description": column.description})
        for column in export.columns
    ]
    return pa.schema(fields, metadata=about)


def record_batch(schema: pa.Schema, rows: Sequence[Row]) -> pa.RecordBatch:
    return pa.record_batch(
        [pa.array([row.get(field.name) for row in rows], field.type) for field in schema], schema=schema
    )


def record_batches(export: Export, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows, GROUP_ROWS at a time."""
    waiting: list[Row] = []
    for rows in export.rows:
        waiting += rows
        if len(waiting) >= GROUP_ROWS:
            yield record_batch(schema, waiting[:GROUP_ROWS])
            del waiting[:GROUP_ROWS]
    if waiting:
        yield record_batch(schema, waiting)


def parquet(export: Export) -> Iterator[bytes]:
    """A Parquet file (2.6, zstd, dictionaries), a row group at a time."""
    schema = schema_of(export)
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression=COMPRESSION, version="2.6") as writer:
        for batch in record_batches(export, schema):
            writer.write_batch(batch, row_group_size=GROUP_ROWS)
            yield sink.taken()
    yield sink.taken()


def table(export: Export) -> pa.Table:
    """All of it in memory, for frames."""
    schema = schema_of(export)
    batches = list(record_batches(export, schema))
    return pa.Table.from_batches(batches, schema).unify_dictionaries()


class _Sink(io.RawIOBase):
    """An append-only file whose written part can be taken out."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return len(part)

    def tell(self) -> int:
        return self._size

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)
