"""The process that writes an export with native code: ``python -m services.exports.native_writer parquet`` to the
standard output, or ``… hyper PATH TABLE``.

Reads the rows as an Arrow stream from the standard input. Exits with status 0 once the file is complete.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa

from services.exports.parquet_file import parquet
from shared.runtime.children import confine


def main() -> None:
    confine()
    source = pa.ipc.open_stream(sys.stdin.buffer)
    if sys.argv[1] == "parquet":
        for chunk in parquet(source.schema, source):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
    else:
        _hyper(source, Path(sys.argv[2]), sys.argv[3])


def _hyper(source: pa.RecordBatchReader, path: Path, table: str) -> None:
    import pantab

    plain = pa.schema([pa.field(field.name, _plain(field.type)) for field in source.schema])
    failed: list[BaseException] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in source:
                yield pa.record_batch([_plain_column(column) for column in batch.columns], schema=plain)
        except BaseException as error:
            failed.append(error)
            raise

    engine = {"log_dir": str(path.parent), "default_database_version": "2"}
    reader = pa.RecordBatchReader.from_batches(plain, batches())
    partial = path.with_suffix(".partial.hyper")
    pantab.frame_to_hyper(reader, partial, table=table, process_params=engine, atomic=False)
    # pantab treats an error of the reader as the end of the rows.
    if failed:
        raise failed[0]
    partial.rename(path)


def _plain_column(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    if pa.types.is_list(column.type):
        texts = [None if one is None else orjson.dumps(one).decode() for one in column.to_pylist()]
        return pa.array(texts, pa.string())
    return column


def _plain(type: pa.DataType) -> pa.DataType:
    """Hyper supports neither dictionaries nor lists. Dictionaries become texts, and lists become JSON."""
    return pa.string() if pa.types.is_dictionary(type) or pa.types.is_list(type) else type


if __name__ == "__main__":
    main()
