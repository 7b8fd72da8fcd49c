"""An import from beginning to end: read, convert, publish in batches, write down what was rejected."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from services.importer.convert import Converter
from services.importer.mapping import Mapping
from services.importer.preflight import check_columns, gather
from services.importer.rejects import Rejects
from services.importer.rows import BadRow, Row, Rows, open_rows
from services.importer.window import BATCH_EVENTS, Window
from shared import codec
from shared.errors import InvalidEvent
from shared.events import event_key, microseconds
from shared.protocols import Message, Publisher
from shared.topics import Topics


class Progress(Protocol):
    """Is told how an import goes on. ``size`` and ``position`` are those of ``Rows``."""

    def begin(self, source: str, size: int | None) -> None: ...

    def advance(self, position: int, read: int, rejected: int) -> None: ...


@dataclass(slots=True)
class Counts:
    """Rows of one source: ``read == accepted + rejected``."""

    source: str
    read: int = 0
    accepted: int = 0
    rejected: int = 0


@dataclass(slots=True)
class Report:
    """What an import did. Accepted rows have been acknowledged by Kafka, unless it was a dry run."""

    sources: list[Counts] = field(default_factory=list)

    @property
    def read(self) -> int:
        return sum(counts.read for counts in self.sources)

    @property
    def accepted(self) -> int:
        return sum(counts.accepted for counts in self.sources)

    @property
    def rejected(self) -> int:
        return sum(counts.rejected for counts in self.sources)


@dataclass(frozen=True, slots=True)
class Clock:
    """When the events arrive, and how far ahead of that an event may be dated."""

    arrived: datetime
    max_future_seconds: int


def run(
    mapping: Mapping,
    publisher: Publisher | None,
    topics: Topics,
    rejects: Path,
    clock: Clock,
    progress: Progress | None = None,
) -> Report:
    """Import every source of ``mapping``; without a publisher, only check what an import would do.

    Rejected rows go to the file ``rejects``, replacing those of an earlier run; there is no such file when
    there are none. Raises MappingError before anything is published when a file or a column is not there,
    and Unavailable when Kafka is away: running the same import again is then safe and completes it.
    """
    for source in mapping.source:
        check_columns(source)
    report = Report()
    with Rejects(rejects) as rejected, Window(publisher) as window:
        for source in mapping.source:
            counts = Counts(source.name)
            report.sources.append(counts)
            convert = Converter(source, {name: gather(file) for name, file in source.collect.items()})
            with open_rows(source) as rows:
                if progress:
                    progress.begin(source.name, rows.size)
                _import(rows, convert, topics, clock, counts, rejected, window, progress)
    return report


def _import(
    rows: Rows,
    convert: Converter,
    topics: Topics,
    clock: Clock,
    counts: Counts,
    rejected: Rejects,
    window: Window,
    progress: Progress | None,
) -> None:
    for row in rows.rows:
        counts.read += 1
        try:
            window.add(_message(row, convert, topics, clock))
            counts.accepted += 1
        except InvalidEvent as error:
            counts.rejected += 1
            rejected.add(counts.source, row, error)
        if progress and counts.read % BATCH_EVENTS == 0:
            progress.advance(rows.position(), counts.read, counts.rejected)
    window.flush()
    if progress:
        progress.advance(rows.position(), counts.read, counts.rejected)


def _message(row: Row | BadRow, convert: Converter, topics: Topics, clock: Clock) -> Message:
    if isinstance(row, BadRow):
        raise InvalidEvent(row.reason, row.detail)
    event = convert(row.fields)
    codec.check_clock(event, microseconds(clock.arrived), clock.max_future_seconds)
    value = codec.encode(event)
    if len(value) > codec.MAX_EVENT_BYTES:
        raise InvalidEvent("too_large", f"{len(value)} bytes, and an event has at most {codec.MAX_EVENT_BYTES}")
    return Message(topics.of(event), event_key(event), value)
