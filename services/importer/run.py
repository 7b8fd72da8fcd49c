"""An import from beginning to end: read, convert, publish in batches, write the rejected rows."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from services.importer.as_of import Moment, moments
from services.importer.convert import Converter
from services.importer.mapping import Mapping
from services.importer.preflight import check_columns, gather
from services.importer.rejects import Rejects
from services.importer.row import BadRow, Row
from services.importer.rows import open_rows
from services.importer.window import BATCH_EVENTS, Window
from shared.contracts import codec
from shared.contracts.errors import InvalidEvent
from shared.contracts.events import Event, event_key
from shared.contracts.topics import Topics
from shared.runtime.protocols import Message, Publisher
from shared.vault.fields import first_plaintext_path, first_token_path
from shared.vault.keys import Vault
from shared.vault.sealing import keys_for, sealed


class Progress(Protocol):
    """Receives the progress of an import. ``size`` and ``position`` are those of ``Rows``."""

    def begin(self, source: str, size: int | None) -> None: ...

    def advance(self, position: int, read: int, rejected: int) -> None: ...


@dataclass(slots=True)
class Counts:
    """The rows of one source: ``read == accepted + rejected``. ``moment`` is the version of its events, unless a
    column contains the time of each row's last change (``changed``)."""

    source: str
    moment: Moment
    changed: bool = False
    read: int = 0
    accepted: int = 0
    rejected: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """The result of an import. Kafka has acknowledged the accepted rows, unless it was a dry run."""

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
    """The arrival time of the events, and how far ahead of it an event may be dated."""

    arrived: datetime
    most_ahead: timedelta


def run(
    mapping: Mapping,
    publisher: Publisher | None,
    topics: Topics,
    rejects: Path,
    clock: Clock,
    progress: Progress | None = None,
    vault: Vault | None = None,
    *,
    path: Path,
    as_of: datetime | None = None,
) -> Report:
    """Import every source of ``mapping``; without a publisher, only check. ``vault`` seals personal values;
    without one they are published in plain text. ``path`` is the mapping file. ``as_of`` is the moment as of which
    all its files state their rows; it overrides mapping and files.

    Rejected rows are written to the file ``rejects``, which replaces that of an earlier run; without rejected rows
    there is no file. Raises MappingError before anything is published if a file or a column is missing, and
    Unavailable if Kafka is: running the same import again is then safe and completes it.
    """
    for source in mapping.source:
        check_columns(source)
    moment_of = moments(mapping, path, as_of, clock.arrived, clock.most_ahead)
    report = Report()
    with Rejects(rejects) as rejected, Window(publisher) as window:
        for source in mapping.source:
            moment = moment_of[source.name]
            counts = Counts(source.name, moment, source.changed is not None)
            report.sources.append(counts)
            convert = Converter(source, {name: gather(file) for name, file in source.collect.items()}, moment)
            with open_rows(source) as rows:
                if progress:
                    progress.begin(source.name, rows.size)
                batch = _Batch(convert, topics, clock, counts, rejected, window, vault)
                for row in rows.rows:
                    batch.take(row)
                    if counts.read % BATCH_EVENTS == 0:
                        batch.pass_on()
                        if progress:
                            progress.advance(rows.position(), counts.read, counts.rejected)
                batch.pass_on()
                window.flush()
                counts.notes = [*rows.notes, *_respelled(convert.respelled_facts)]
                if progress:
                    progress.advance(rows.position(), counts.read, counts.rejected)
    return report


def _respelled(facts: int) -> list[str]:
    if not facts:
        return []
    return [
        f"{facts:,} rows without an id contain text that is not in Unicode's form NFC; their ids are made of the "
        "NFC form. Facts that an earlier build of Kith imported from these rows have other ids, and count beside "
        "them"
    ]


@dataclass(slots=True)
class _Batch:
    """A batch of rows of one source, whose keys are read at once."""

    convert: Converter
    topics: Topics
    clock: Clock
    counts: Counts
    rejected: Rejects
    window: Window
    vault: Vault | None
    waiting: list[tuple[Row, Event]] = field(default_factory=list)

    def take(self, row: Row | BadRow) -> None:
        self.counts.read += 1
        try:
            if isinstance(row, BadRow):
                raise InvalidEvent(row.reason, row.detail)
            self.waiting.append((row, self._event(row)))
        except InvalidEvent as error:
            self._reject(row, error)

    def pass_on(self) -> None:
        """Seal the batch and hand it to the window. Raises Unavailable."""
        waiting, self.waiting = self.waiting, []
        events: list[Event | None] = [event for _, event in waiting]
        if self.vault is not None:
            bare = [n for n, (_, event) in enumerate(waiting) if first_plaintext_path(event) is not None]
            todo = [waiting[n][1] for n in bare]
            for n, event in zip(bare, sealed(todo, keys_for(self.vault, todo)), strict=True):
                events[n] = event
        for (row, _), event in zip(waiting, events, strict=True):
            if event is None:
                erased = InvalidEvent(
                    "suppressed", "is erased; its events are not accepted any more", "data.consumer_id"
                )
                self._reject(row, erased)
            else:
                self.window.add(Message(self.topics.of(event), event_key(event), codec.encode(event)))
                self.counts.accepted += 1

    def _event(self, row: Row) -> Event:
        event = self.convert(row)
        codec.check_clock(event, self.clock.arrived, self.clock.most_ahead)
        if (path := first_token_path(event)) is not None:
            raise InvalidEvent("sealed", "has the form of a value that Kith has sealed", f"data.{path}")
        if (size := len(codec.encode(event))) > codec.MAX_EVENT_BYTES:
            raise InvalidEvent("too_large", f"{size} bytes, but an event has at most {codec.MAX_EVENT_BYTES}")
        return event

    def _reject(self, row: Row | BadRow, error: InvalidEvent) -> None:
        self.counts.rejected += 1
        self.rejected.add(self.counts.source, row, error)
