"""Reads rows from Parquet files, some at a time: memory grows with a row group, not with the file."""

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.importer.files import File
from services.importer.mapping import MappingError
from services.importer.row import Row, Rows, shown
from services.importer.text_rows import check_distinct
from services.importer.values import Unreadable

_BATCH = 1_000
_NOT_TEXT = "holds bytes that are no text in UTF-8"
_NO_TIME = "holds a time outside of the years 1 to 9999"
_NO_JSON = "holds a time outside of the years 1 to 9999, or an object that has a name twice"


@contextmanager
def open_parquet(file: File) -> Iterator[Rows]:
    """Raises MappingError, now and while reading, for a file that cannot be read."""
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(file.path.open("rb"))
        with _damage(file, 0):
            opened = stack.enter_context(contextlib.closing(pq.ParquetFile(raw)))
            schema = opened.schema_arrow
        check_distinct(file, schema.names)
        position = 0

        def rows() -> Iterator[Row]:
            nonlocal position
            batches = opened.iter_batches(_BATCH, use_threads=False)
            while True:
                with _damage(file, position):
                    batch = next(batches, None)
                    cells = None if batch is None else [_values(column) for column in batch.columns]
                if batch is None or cells is None:
                    return
                for values in zip(*cells, strict=True) if cells else ():
                    position += 1
                    yield Row(position, dict(zip(schema.names, values, strict=True)))

        names = tuple(name for field in schema for name in _names(field))
        yield Rows(names, rows(), opened.metadata.num_rows, lambda: position)


def _names(field: pa.Field) -> Iterator[str]:
    """A column, and the parts of one of objects as a mapping names them: ``place``, ``place.city``."""
    yield field.name
    if pa.types.is_struct(field.type):
        for part in field.type:
            yield from (f"{field.name}.{name}" for name in _names(part))


@contextmanager
def _damage(file: File, after: int) -> Iterator[None]:
    """Nothing but reading the file happens within: the library raises whatever it stumbles over."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        place = f", after row {after:,}" if after else ""
        raise MappingError(
            f"{file.path}: is not Parquet, or damaged ({type(error).__name__}){place}: write it anew"
        ) from error


def _values(column: pa.Array) -> list[Any]:
    """The cells as the importer takes them: numbers, text, days and times as they are stored, lists and objects as
    JSON has them."""
    column = _plain(column)
    try:
        cells: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except (ValueError, OverflowError, KeyError, TypeError):
        cells = [_cell(scalar) for scalar in column]
    if _is_scalar(column.type):
        return cells
    return [None if cell is None else _json(cell) for cell in cells]


def _is_scalar(kind: pa.DataType) -> bool:
    """Whether a value of this type is taken as Python has it."""
    types = pa.types
    known = (
        types.is_boolean,
        types.is_integer,
        types.is_decimal,
        types.is_date,
        types.is_timestamp,
        types.is_time,
    )
    text = (types.is_string, types.is_large_string, types.is_string_view)
    return any(is_kind(kind) for is_kind in (*known, *text))


def _plain(column: pa.Array) -> pa.Array:
    """The column with all values of types that Python reads exactly, those within lists and objects, too."""
    column = _cast(column, _each(_exact, column.type))
    # As it is written: 0.1 of 32 bits is not 0.10000000149011612.
    written = _cast(column, _each(_text_of_float, column.type))
    return _cast(written, _each(_double, column.type))


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else pc.cast(column, kind, safe=False)


def _text_of_float(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_float32(kind) else kind


def _double(kind: pa.DataType) -> pa.DataType:
    return pa.float64() if pa.types.is_float32(kind) else kind


def _exact(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        # Times of Python have microseconds; an instant is the same in any zone. One of a larger unit may not fit
        # into microseconds: cast, it would be another one.
        return pa.timestamp("us" if kind.unit == "ns" else kind.unit, kind.tz and "UTC")
    if pa.types.is_time(kind):
        return pa.time64("us")
    return pa.float32() if pa.types.is_float16(kind) else kind


def _each(leaf: Callable[[pa.DataType], pa.DataType], kind: pa.DataType) -> pa.DataType:
    """``kind`` with ``leaf`` of each type that has no parts, in place of it."""
    types = pa.types
    if types.is_dictionary(kind):
        return _each(leaf, kind.value_type)
    if types.is_struct(kind):
        return pa.struct([field.with_type(_each(leaf, field.type)) for field in kind])
    if types.is_map(kind):
        return pa.map_(_each(leaf, kind.key_type), _each(leaf, kind.item_type))
    if types.is_large_list(kind):
        return pa.large_list(_each(leaf, kind.value_type))
    if types.is_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(_each(leaf, kind.value_type))
    return leaf(kind)


def _cell(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py(maps_as_pydicts="strict")
    except UnicodeDecodeError:
        # A list or an object has no bytes of its own.
        text = shown(scalar.as_buffer().to_pybytes()) if hasattr(scalar, "as_buffer") else ""
        return Unreadable(text, _NOT_TEXT)
    except (ValueError, OverflowError, KeyError, TypeError):
        return Unreadable("", _NO_JSON if pa.types.is_nested(scalar.type) else _NO_TIME)


def _json(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return Unreadable(
                {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)], "is not a number"
            )
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return Unreadable(shown(value), _NOT_TEXT)
        case UUID():
            return str(value)
        case dict():
            return {str(_json(name)): _json(part) for name, part in value.items()}
        case list():
            return [_json(part) for part in value]
    return value
