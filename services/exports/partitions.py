"""Parquet files by day, in a folder of the form that Spark, DuckDB, pandas and polars read. Needs pyarrow."""

import fcntl
import os
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from shutil import rmtree

import pyarrow as pa
import pyarrow.parquet as pq

from services.exports.arrow import record_batch, schema_of
from services.exports.columns import Row
from services.exports.parquet_file import COMPRESSION, GROUP_ROWS
from services.exports.source import Export
from shared.contracts.errors import ConfigurationError
from shared.http.parameters import BadParameter

#: Most buffered rows, over all days.
MAX_WAITING = 200_000
#: Most open files. A day whose file was closed for another one gets a second file.
MAX_OPEN = 128


def write_by_day(
    export: Export,
    folder: Path,
    max_waiting: int = MAX_WAITING,
    max_open: int = MAX_OPEN,
    *,
    personal: bool = False,
) -> int:
    """Write ``folder/date=2026-11-21/part-0.parquet`` and so on; returns how many files. The days are in UTC: of
    relations when they happened, of relationships the latest, of aggregates their own. ``folder`` is new or empty,
    and gets the days once all of them are written. ``personal``: only the owner may read what is written.

    The rows are not ordered by day, so they are buffered; when the buffer is full, the day with the most rows is
    written as a row group. Raises BadParameter for a dataset without a day, and ConfigurationError for a folder
    that cannot be used.
    """
    if export.day is None:
        raise BadParameter("partition-by", f"{export.name} have no day")
    with _complete(folder, 0o700 if personal else 0o777) as partial:
        return _write(export, _Days(partial, schema_of(export), max_open, personal), max_waiting)


@contextmanager
def _complete(folder: Path, mode: int) -> Iterator[Path]:
    """A folder to write days into, which get to ``folder`` when the block ends without an error. After an error
    nothing of it is left.

    A new folder appears at once. An existing one may be a mount or the current directory, which cannot be
    replaced: its days are named one by one.
    """
    existing = folder.exists()
    if existing and not folder.is_dir():
        raise ConfigurationError(f"{folder} is a file: choose a folder")
    # Readers of such folders skip names that begin with a dot.
    partial = folder / ".partial" if existing else folder.with_name(f"{folder.name}.partial")
    if existing and any(path != partial for path in folder.iterdir()):
        raise ConfigurationError(
            f"{folder} is not empty: the files of two exports must not mix; choose an empty folder"
        )
    if partial.exists():
        # An export that was killed has left it.
        if not partial.is_dir() or not all(path.name.startswith("date=") for path in partial.iterdir()):
            raise ConfigurationError(f"{partial} is in the way: remove it, or choose another folder")
        with _held(partial):
            rmtree(partial)
    try:
        partial.mkdir(mode=mode, parents=True)
    except FileExistsError:
        raise _busy(partial) from None
    with _held(partial):
        yield from _published(partial, folder, existing)


def _published(partial: Path, folder: Path, existing: bool) -> Iterator[Path]:
    """Yields the partial folder, and then gives its days to ``folder``."""
    named: list[Path] = []
    try:
        yield partial
        if not existing:
            partial.rename(folder)
            return
        for day in sorted(partial.iterdir()):
            # Listed first: an interruption may come right after the renaming.
            named.append(folder / day.name)
            day.rename(named[-1])
        partial.rmdir()
    except BaseException:
        for path in (partial, *named):
            rmtree(path, ignore_errors=True)
        raise


@contextmanager
def _held(partial: Path) -> Iterator[None]:
    """The lock of a partial folder, which ends with its process. Raises ConfigurationError if another one has it,
    or has removed or replaced the folder before this one had it."""
    try:
        handle = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise _busy(partial) from None
    try:
        # A file system without locks lets all in.
        with suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _busy(partial) from None
        if not partial.exists() or not os.path.samestat(partial.stat(), os.fstat(handle)):
            raise _busy(partial)
        yield
    finally:
        os.close(handle)


def _busy(partial: Path) -> ConfigurationError:
    return ConfigurationError(f"{partial}: another export writes there: choose another folder")


def _write(export: Export, days: "_Days", max_waiting: int) -> int:
    assert export.day is not None
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

    def __init__(self, folder: Path, schema: pa.Schema, max_open: int, personal: bool) -> None:
        self._folder = folder
        self._schema = schema
        self._max_open = max_open
        self._personal = personal
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
            path.parent.mkdir(mode=0o700 if self._personal else 0o777, exist_ok=True)
            path.touch(mode=0o600 if self._personal else 0o666)
            self._open[day] = pq.ParquetWriter(path, self._schema, compression=COMPRESSION, version="2.6")
            self._parts[day] += 1
        self._open.move_to_end(day)
        self._open[day].write_batch(record_batch(self._schema, rows), row_group_size=GROUP_ROWS)

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()


def _name(value: datetime | date) -> str:
    return (value.date() if isinstance(value, datetime) else value).isoformat()
