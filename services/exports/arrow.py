"""Exports as Arrow record batches. Needs pyarrow."""

import json
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from services.exports.columns import Row, Type
from services.exports.parquet_file import GROUP_ROWS
from services.exports.source import Export

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
    if export.about:
        about["kith.measure"] = json.dumps(dict(export.about))
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


def table(export: Export) -> pa.Table:
    """All of it in memory, for frames."""
    schema = schema_of(export)
    batches = list(record_batches(export, schema))
    return pa.Table.from_batches(batches, schema).unify_dictionaries()
