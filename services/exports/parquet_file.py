"""Parquet files from Arrow batches. Needs pyarrow; imports nothing else, because each export starts a process."""

import io
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: Rows of a row group: the most that is in memory.
GROUP_ROWS = 50_000
COMPRESSION = "zstd"


def parquet(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """A Parquet file (2.6, zstd, dictionaries), a row group at a time."""
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression=COMPRESSION, version="2.6") as writer:
        for batch in batches:
            writer.write_batch(batch, row_group_size=GROUP_ROWS)
            yield sink.taken()
    yield sink.taken()


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
