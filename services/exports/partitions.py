"""Parquet files by day, in a folder of the form that Spark, DuckDB, pandas and polars read. Needs pyarrow."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from services.exports.arrow import record_batch, schema_of
from services.exports.columns import Row
from services.exports.parquet_file import COMPRESSION, GROUP_ROWS
from services.exports.source import Export
from shared.http.parameters import BadParameter

#: Most buffered rows, over all days.
MAX_WAITING = 200_000
#: Most open files. A day whose file was closed for another one gets a second file.
MAX_OPEN = 128


def write_by_day(export: Export, folder: Path, max_waiting: int = MAX_WAITING, max_open: int = MAX_OPEN) -> int:
    """Write ``folder/date=2026-11-21/part-0.parquet`` and so on; returns how many files. The days are in UTC: of
    relations when they happened, of relationships the latest, of aggregates their own.

    The rows are not ordered by day, so they are buffered; when the buffer is full, the day with the most rows is
    written as a row group. Raises BadParameter for a dataset without a day.
    """
    if export.day is None:
        raise BadParameter("partition-by", f"{export.name} have no day")
    days = _Days(folder, schema_of(export), max_open)
    waiting: dict[str, list[Row]] = {}
    count = 0
    try:
        for rows in export.rows:
            for row in rows:
                waiting.setdefault(_name(row[export.day]), []).append(row)
            count += len(rows)
            while count > max_waiting:
                fullest = max(waiting, key=lambda name: len(waiting[name]))
                count -= len(waiting[fullest])
                days.write(fullest, waiting.pop(fullest))
        for name in sorted(waiting):
            days.write(name, waiting.pop(name))
    finally:
        days.close()
    return days.files


class _Days:
    """A file for each day, and a further one where the first had to be closed for others."""

    def __init__(self, folder: Path, schema: pa.Schema, max_open: int) -> None:
        self._folder = folder
        self._schema = schema
        self._max_open = max_open
        self._open: OrderedDict[str, pq.ParquetWriter] = OrderedDict()
        self._parts: Counter[str] = Counter()

    @property
    def files(self) -> int:
        return self._parts.total()

    def write(self, day: str, rows: Sequence[Row]) -> None:
        if day not in self._open:
            if len(self._open) >= self._max_open:
                self._open.popitem(last=False)[1].close()
            path = self._folder / f"date={day}" / f"part-{self._parts[day]}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open[day] = pq.ParquetWriter(path, self._schema, compression=COMPRESSION, version="2.6")
            self._parts[day] += 1
        self._open.move_to_end(day)
        self._open[day].write_batch(record_batch(self._schema, rows), row_group_size=GROUP_ROWS)

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


def _name(value: datetime | date) -> str:
    return (value.date() if isinstance(value, datetime) else value).isoformat()
