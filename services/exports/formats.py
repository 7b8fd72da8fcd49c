"""The formats of exports."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from services.exports.source import Export
from services.exports.text import BOM, csv_lines, json_lines
from shared.measures.query import NotInstalled


@dataclass(frozen=True, slots=True)
class Format:
    """``chunks`` yields the bytes of an export. It raises NotInstalled before anything is read."""

    media_type: str
    extension: str
    chunks: Callable[[Export], Iterator[bytes]]
    #: The answer begins with the first chunk, so that a failure up to there is answered as a problem. That of
    #: Tableau's files comes when everything is written, that of Parquet with the first row group.
    awaited: bool = False


def _csv(export: Export) -> Iterator[bytes]:
    return csv_lines(export.columns, export.rows)


def _csv_excel(export: Export) -> Iterator[bytes]:
    yield BOM
    yield from csv_lines(export.columns, export.rows)


def _jsonl(export: Export) -> Iterator[bytes]:
    return json_lines(export.columns, export.rows)


def _parquet(export: Export) -> Iterator[bytes]:
    if find_spec("pyarrow") is None:
        raise NotInstalled("Parquet needs pyarrow: install Kith's extra exports")
    from services.exports.native import parquet

    return parquet(export)


def _hyper(export: Export) -> Iterator[bytes]:
    if find_spec("pantab") is None or find_spec("pyarrow") is None:
        raise NotInstalled("Tableau's files need pantab and pyarrow: install Kith's extra exports")
    from services.exports.native import hyper

    return hyper(export)


FORMATS: Mapping[str, Format] = {
    "csv": Format("text/csv; charset=utf-8; header=present", "csv", _csv),
    # Without the mark Excel reads UTF-8 in the code page of its machine.
    "csv-excel": Format("text/csv; charset=utf-8; header=present", "csv", _csv_excel),
    "jsonl": Format("application/x-ndjson", "jsonl", _jsonl),
    "parquet": Format("application/vnd.apache.parquet", "parquet", _parquet, awaited=True),
    "hyper": Format("application/octet-stream", "hyper", _hyper, awaited=True),
}
