"""Exports as Tableau's extract files (``.hyper``). Needs pantab, which brings Tableau's own database engine."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pantab
import pyarrow as pa

from services.exports.arrow import record_batches, schema_of
from services.exports.source import Export

_CHUNK = 1 << 20


def write_hyper(export: Export, path: Path) -> None:
    """One table, named as the dataset is. The engine keeps its log beside the file: give it a folder of its
    own."""
    schema = schema_of(export)
    plain = pa.schema([pa.field(field.name, _plain(field.type)) for field in schema])
    failed: list[BaseException] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in record_batches(export, schema):
                columns = [_plain_column(column) for column in batch.columns]
                yield pa.record_batch(columns, schema=plain)
        except BaseException as error:
            failed.append(error)
            raise

    reader = pa.RecordBatchReader.from_batches(plain, batches())
    engine = {"log_dir": str(path.parent), "default_database_version": "2"}
    name = export.name.rpartition("/")[2]
    try:
        pantab.frame_to_hyper(reader, path, table=name, process_params=engine, atomic=False)
    finally:
        # pantab takes an error for the end of the rows.
        if failed:
            raise failed[0]


def hyper(export: Export) -> Iterator[bytes]:
    """The file, once all of it is written to a temporary place."""
    with tempfile.TemporaryDirectory(prefix="kith-") as folder:
        path = Path(folder) / "export.hyper"
        write_hyper(export, path)
        file = path.open("rb")
    # The file has no name any more: whoever reads slowly, or a process that is killed, leaves nothing behind.
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _plain_column(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    if pa.types.is_list(column.type):
        texts = [None if one is None else orjson.dumps(one).decode() for one in column.to_pylist()]
        return pa.array(texts, pa.string())
    return column


def _plain(type: pa.DataType) -> pa.DataType:
    """Hyper has neither dictionaries nor lists: lists are JSON there."""
    return pa.string() if pa.types.is_dictionary(type) or pa.types.is_list(type) else type
