"""An import from beginning to end: read, convert, publish in batches, write the rejected rows."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from services.importer.as_of import Moment, moments
from services.importer.batch import Batch, Clock
from services.importer.convert import Converter
from services.importer.mapping import Mapping, Source
from services.importer.preflight import check_columns, gather
from services.importer.rejects import Rejects
from services.importer.rows import open_rows
from services.importer.window import BATCH_EVENTS, Window
from shared.contracts.topics import Topics
from shared.runtime.protocols import Publisher
from shared.vault.keys import Vault


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
            counts = Counts(source.name, moment_of[source.name], source.changed is not None)
            report.sources.append(counts)
            batch = Batch(topics, clock, counts, rejected, window, vault)
            _import(source, batch, window, counts, progress)
    return report


def _import(source: Source, batch: Batch, window: Window, counts: Counts, progress: Progress | None) -> None:
    """Convert the rows of a source and pass them on in batches."""
    convert = Converter(source, {name: gather(file) for name, file in source.collect.items()}, counts.moment)
    with open_rows(source) as rows:
        if progress:
            progress.begin(source.name, rows.size)
        for row in rows.rows:
            batch.take(row, convert)
            if counts.read % BATCH_EVENTS == 0:
                batch.pass_on()
                if progress:
                    progress.advance(rows.position(), counts.read, counts.rejected)
        batch.pass_on()
        window.flush()
        counts.notes = [*rows.notes, *convert.notes(), *_respelled(convert.respelled_facts)]
        if progress:
            progress.advance(rows.position(), counts.read, counts.rejected)


def _respelled(facts: int) -> list[str]:
    if not facts:
        return []
    return [
        f"{facts:,} rows without an id contain text that is not in Unicode's form NFC; their ids are made of the "
        "NFC form. Facts that an earlier build of Kith imported from these rows have other ids, and count beside "
        "them"
    ]
