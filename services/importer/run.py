"""An import from beginning to end: read, convert, publish in batches, write the rejected rows."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from services.importer.as_of import Moment, moments
from services.importer.batch import Batch, Clock
from services.importer.convert import Converter
from services.importer.lacking import Lacking
from services.importer.mapping import Mapping, Source
from services.importer.preflight import check_columns, gather
from services.importer.reading import Collected
from services.importer.rejects import Rejects, refuse_inputs
from services.importer.row import BadRow, Row
from services.importer.rows import open_rows
from services.importer.window import BATCH_EVENTS, Window
from shared.contracts.errors import InvalidEvent
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
    column contains the time of each row's last change (``changed``). Rejected rows of its ``collect`` files are
    counted, too."""

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
    inputs = [file.path for source in mapping.source for file in (source, *source.collect.values())]
    refuse_inputs(rejects, [path, *inputs])
    for source in mapping.source:
        check_columns(source)
    moment_of = moments(mapping, path, as_of, clock.arrived, clock.most_ahead)
    report = Report()
    with Rejects(rejects) as rejected, Window(publisher) as window:
        report.sources += [
            Counts(source.name, moment_of[source.name], source.changed is not None) for source in mapping.source
        ]
        # All lists before the first event: a fault of one of their files ends the import with nothing published.
        lists = [
            _collected(source, counts, rejected)
            for source, counts in zip(mapping.source, report.sources, strict=True)
        ]
        for source, counts, collected in zip(mapping.source, report.sources, lists, strict=True):
            convert = Converter(source, collected, counts.moment)
            before = _seen(source)
            with open_rows(source) as rows:
                lacking = Lacking(source.columns_used() if rows.columns is None else {})
                if progress:
                    progress.begin(source.name, rows.size)
                batch = Batch(topics, clock, counts, rejected, window, vault)
                for row in lacking.watch(rows.rows):
                    batch.take(row, convert)
                    if counts.read % BATCH_EVENTS == 0:
                        batch.pass_on()
                        if progress:
                            progress.advance(rows.position(), counts.read, counts.rejected)
                batch.pass_on()
                window.flush()
                counts.notes += [*rows.notes, *lacking.faults(), *convert.notes()]
                counts.notes += _respelled(convert.respelled_facts)
                if _seen(source) != before:
                    counts.notes.append(
                        "the file has changed while it was read, and what was read may be of both: import it again"
                    )
                if progress:
                    progress.advance(rows.position(), counts.read, counts.rejected)
    return report


def _collected(source: Source, counts: Counts, rejected: Rejects) -> Collected:
    """The lists of a source's other files. Their rejected rows count as rows of the source."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, file in source.collect.items():

        def reject(row: Row | BadRow, error: InvalidEvent, part: str = f"{source.name}.collect.{name}") -> None:
            counts.read += 1
            counts.rejected += 1
            rejected.add(part, row, error)

        found[name], notes = gather(file, f"[[source]] {source.name}: collect.{name}", reject)
        counts.notes += notes
    return found


def _seen(source: Source) -> tuple[int, ...]:
    """What changes with a file. A database is read as of one moment, whatever is written meanwhile."""
    try:
        found = source.path.stat()
    except OSError:
        return ()
    return () if source.format == "sqlite" else (found.st_ino, found.st_size, found.st_mtime_ns)


def _respelled(facts: int) -> list[str]:
    if not facts:
        return []
    return [
        f"{facts:,} rows without an id contain text that is not in Unicode's form NFC; their ids are made of the "
        "NFC form. Facts that an earlier build of Kith imported from these rows have other ids, and count beside "
        "them"
    ]
